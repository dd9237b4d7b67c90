"""The chosen networks drawn: each layer as wide as its time and as high as its channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby

from results.numbers import brief, count, milliseconds, percent
from results.records import FrontEntry, LayerRecord, Value
from results.report.markup import Html, absent, facts, html, join, legend, paragraph, tag
from results.report.sources import Sources

KINDS = 8
_IN_THE_SHAPE = {"inputs", "outputs", "channels", "activation", "classes"}  # said by the drawing already


def networks(run: Sources) -> Html:
    """The networks that became artifacts, else those of the front, and the largest."""
    if run.summary is None:
        return absent("The search has not finished, so there is no network to draw.")
    chosen = [entry for card in run.cards if (entry := run.entry(card.name))] or list(run.summary.front)
    if run.summary.largest is not None and run.summary.largest not in chosen:
        chosen = [*chosen, run.summary.largest]
    kinds = list(dict.fromkeys(layer.kind for entry in reversed(chosen) for layer in entry.layers))
    colours = {kind: f"k{place % KINDS}" for place, kind in enumerate(kinds)}
    timed = all(layer.latency_ms is not None for entry in chosen for layer in entry.layers)
    longest = max((_total(entry, timed) for entry in chosen), default=1.0) or 1.0
    parts: list[Html] = []
    if kinds:
        parts += [
            paragraph(
                f"Each layer is as wide as {f'its {run.how} time' if timed else 'any other'} and as high as "
                "its channels; all networks are drawn to the same scale, so a shorter one is a faster "
                "one. These are the networks as found, before compression."
                + ("" if timed else f" Layers without a {run.how} time are why widths are equal."),
            ),
            legend(("band", colours[kind], kind) for kind in kinds),
        ]
    parts += [_network(entry, colours, longest, timed, run.how) for entry in chosen]
    return join(parts)


def _total(entry: FrontEntry, timed: bool) -> float:
    return sum(_width(layer, timed) for layer in entry.layers)


def _width(layer: LayerRecord, timed: bool) -> float:
    return (layer.latency_ms or 0.0) if timed else 1.0


def _network(entry: FrontEntry, colours: Mapping[str, str], longest: float, timed: bool, how: str) -> Html:
    about = (
        f"{percent(entry.accuracy)} on validation data, {milliseconds(entry.measured_ms)} {how}, "
        f"{count(entry.macs)} MACs, {count(entry.params)} parameters"
    )
    heading = tag("h3", entry.name, " ", tag("small", about))
    if not entry.layers:
        return join([heading, facts((name, str(value)) for name, value in entry.arch.items())])
    stages = [
        _stage(list(layers), colours, timed)
        for _, layers in groupby(entry.layers, key=lambda layer: layer.output_shape)
    ]
    return tag(
        "div",
        heading,
        _silhouette(entry, colours, longest, timed),
        tag("div", *stages, class_="stages"),
        _sum(entry, how) if timed else "",
        class_="network",
    )


def _silhouette(entry: FrontEntry, colours: Mapping[str, str], longest: float, timed: bool) -> Html:
    """The layers in a row, centred on a line, as bars of time and channels."""
    full, height = 940.0, 96.0
    most = max(layer.output_shape[0] for layer in entry.layers if layer.output_shape)
    bars, at = [], 0.0
    for layer in entry.layers:
        width = full * _width(layer, timed) / longest
        channels = layer.output_shape[0] if layer.output_shape else 1
        tall = height * max(0.1, math.sqrt(channels / most))
        tip = f"{layer.name}: {_words(layer)}, {_shape(layer)}"
        if layer.latency_ms is not None:
            tip += f", {brief(layer.latency_ms)}"
        bars.append(
            f'<rect class="block {colours[layer.kind]}" x="{at:.1f}" y="{(height - tall) / 2:.1f}" '
            f'width="{max(width - 1.5, 0.5):.1f}" height="{tall:.1f}" '
            f'rx="2"><title>{html(tip)}</title></rect>'
        )
        at += width
    return Html(
        f'<svg class="silhouette" viewBox="0 0 {full:.0f} {height:.0f}" preserveAspectRatio="none" '
        f'role="img" '
        f'aria-label="{html(f"The layers of {entry.name}")}">{"".join(bars)}</svg>'
    )


def _stage(layers: list[LayerRecord], colours: Mapping[str, str], timed: bool) -> Html:
    """The layers between two changes of shape."""
    chips = [
        tag(
            "li",
            tag("b", layer.kind),
            tag("span", _sizes(layer)),
            tag("i", brief(layer.latency_ms)) if timed and layer.latency_ms is not None else "",
            class_=colours[layer.kind],
        )
        for layer in layers
    ]
    return tag("div", tag("h4", _shape(layers[0])), tag("ol", *chips), class_="stage")


def _shape(layer: LayerRecord) -> str:
    channels, *places = layer.output_shape or (0,)
    unit = "channels" if places else "outputs"
    return ", ".join([f"{channels} {unit}", *(["\u00d7".join(map(str, places))] if places else [])])


def _words(layer: LayerRecord) -> str:
    return " ".join(part for part in (layer.kind, _sizes(layer)) if part)


def _sizes(layer: LayerRecord) -> str:
    return ", ".join(_size(name, value) for name, value in layer.sizes.items() if name not in _IN_THE_SHAPE)


def _size(name: str, value: Value) -> str:
    if name == "kernel":
        return f"{value}\u00d7{value}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _sum(entry: FrontEntry, how: str) -> Html:
    total = sum(layer.latency_ms or 0.0 for layer in entry.layers)
    slowest = max(entry.layers, key=lambda layer: layer.latency_ms or 0.0)
    share = (slowest.latency_ms or 0.0) / total if total else 0.0
    return paragraph(
        f"Its layers take {milliseconds(total)} when each is called alone. A network pays what a call "
        f"costs only once, so the corrected prediction is {milliseconds(entry.predicted_ms)}; "
        f"{milliseconds(entry.measured_ms)} were {how}. The slowest layer is {slowest.name} with "
        f"{percent(share, 0)} of the sum.",
        kind="note",
    )
