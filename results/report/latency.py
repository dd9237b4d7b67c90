"""How far the latency model can be trusted: networks it has not seen, predicted against measured."""

from __future__ import annotations

from typing import Any

from results.records import COMPUTED
from results.report.chart import Chart, axis, plain
from results.report.markup import (
    Html,
    absent,
    facts,
    join,
    legend,
    milliseconds,
    paragraph,
    percent,
    tag,
)
from results.report.sources import Json, Sources


def latency(run: Sources) -> Html:
    """The device, and the check of the latency table on whole networks."""
    return join([_device(run.device), _check(run)])


def _device(device: Json | None) -> Html:
    """What was measured on, what it can hold, and what it cannot run; nothing in runs of old."""
    if device is None:
        return join([])
    limits = (f"{name} at most {value:,g}" for name, value in device["limits"].items())
    items = [
        ("profile", f"{device['profile']}: {device['summary']}" if device["summary"] else device["profile"]),
        ("runtime", f"{device['runtime']} {device['runtime_version']}, {device['precision']}"),
        ("machine", device["machine"]),
        ("limits of the device", "; ".join(limits) or "none"),
        ("mixers left out of the space", ", ".join(device["left_out"]) or "none"),
    ]
    if device.get("watts"):
        items.append(("power, for energy_mj", f"{device['watts']:.3g} W"))
    items += [(f"{kind} cannot run", reason) for kind, reason in device["cannot_run"].items()]
    parts = [facts(items)]
    if device["runtime"] == COMPUTED:
        words = "Every latency of this run is computed from these constants; nothing was measured."
        parts.append(paragraph(words, kind="alarm"))
    return join(parts)


def _check(run: Sources) -> Html:
    check = run.check
    if run.device is not None and run.device["runtime"] == COMPUTED:
        return join([])  # it would compare the model with itself
    if check is None:
        return absent("The device has not been profiled, so there is no latency model to check.")
    predicted, measured = _numbers(check, "predicted_ms"), _numbers(check, "measured_ms")
    if not predicted or len(predicted) != len(measured):
        return absent("The check of the latency model holds no measured networks.")
    drawing = tag(
        "div",
        _chart(check, predicted, measured).draw(),
        legend(
            [
                ("dot", "c0", "a network the model has not seen, with its prediction interval"),
                ("band", "near", "within 5 % and 10 %"),
            ]
        ),
    )
    return join([tag("div", drawing, _facts(check), class_="pair"), _explanation(check)])


def _numbers(check: Json, name: str) -> list[float]:
    values = check.get(name)
    return [float(value) for value in values] if isinstance(values, list | tuple) else []


def _chart(check: Json, predicted: list[float], measured: list[float]) -> Chart:
    lows, highs = _numbers(check, "low_ms"), _numbers(check, "high_ms")
    everything = [*predicted, *measured, *lows, *highs]
    log = min(everything) > 0
    chart = Chart(
        "Predicted against measured latency of networks the model has not seen",
        axis("measured, ms", everything, plain, log=log),
        axis("predicted, ms", everything, plain, log=log),
        height=380,
    )
    low, high = chart.x.low, chart.x.high
    for share in (0.10, 0.05):
        _band(chart, low, high, share)
    chart.line([low, high], [low, high], "axis-line")
    if len(lows) == len(highs) == len(predicted):
        for x, bottom, top in zip(measured, lows, highs, strict=True):
            chart.whisker(x, max(bottom, low), min(top, high), "c0")
    for x, y in zip(measured, predicted, strict=True):
        tip = f"predicted {milliseconds(y)}, measured {milliseconds(x)}: {100 * (y / x - 1):+.1f} %"
        chart.point(x, y, "c0", tip=tip, radius=4)
    return chart


def _band(chart: Chart, low: float, high: float, share: float) -> None:
    """The networks predicted within a share of what was measured, cut at the frame."""
    steps = [low * (high / low) ** (i / 40) for i in range(41)]
    bottom = [min(max(x * (1 - share), low), high) for x in steps]
    top = [min(max(x * (1 + share), low), high) for x in steps]
    chart.band(steps, bottom, top, "near")


def _facts(check: Json) -> Html:
    def share(name: str, digits: int = 0) -> str:
        value = check.get(name)
        return percent(value, digits) if isinstance(value, int | float) else "not known"

    confidence = share("confidence")
    rank = check.get("spearman")
    return facts(
        [
            ("networks checked", str(check.get("networks", len(_numbers(check, "measured_ms"))))),
            ("mean error", share("mape", 1)),
            ("noise of the machine", share("noise_floor", 1)),
            ("within 5 %", share("within_5_percent")),
            ("a perfect model: within 5 %", share("ceiling_within_5_percent")),
            ("within 10 %", share("within_10_percent")),
            ("rank correlation (Spearman)", f"{rank:.3f}" if isinstance(rank, float | int) else "not known"),
            (f"inside the {confidence} interval", share("coverage")),
            (f"under the {confidence} upper bound", share("upper_coverage")),
        ]
    )


def _explanation(check: Json) -> Html:
    noise: Any = check.get("noise_floor")
    words = (
        f"The machine itself repeats a measurement to {percent(noise)} on average: no model can do "
        "better, and smaller differences mean nothing. "
        if isinstance(noise, float | int)
        else "The networks were measured once, so the noise of the machine is not known. "
    )
    return paragraph(
        "The model adds up the measured latencies of a network's layers and corrects the sum on a few whole "
        "networks. The networks here took no part in either. ",
        words,
        "Coverage is a share of few networks and so only a rough figure.",
        kind="note",
    )
