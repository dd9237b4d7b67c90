"""The networks that a race trained to the end: their weights, and what they measure with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.failure import reason
from compress.target import Target
from nas.supernet import Supernet
from results.records import FrontEntry, LayerRecord, Scouted
from results.timing import Timing, not_measured
from runners.console import Console
from search_spaces.space import Arch, SearchSpace

WEIGHTS = "networks"
_MEASURE_SECONDS = 2.0  # for each finalist
_TRIES = 3  # to measure one under the limit: all were, before they were trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalists:
    """What finalists are measured with.

    Attributes:
        space: space of the networks.
        target: target that they are measured on.
        limit_ms: limit on the latency.
        run: folder of the run.
        console: console of the run.
    """

    space: SearchSpace
    target: Target
    limit_ms: float
    run: Path
    console: Console

    def entries(self, name: str, field: Sequence[Scouted], accuracies: Sequence[float]) -> list[FrontEntry]:
        """The networks exported with their weights and measured again, fastest first.

        All met the limit before they were trained. Where none does now, other programs are likely to keep the
        device busy: they are measured again, and then taken as they are, as the limit is judged by the files
        that are handed over. One that cannot be exported any more, or does not run, is left out and told.

        Args:
            name: begins the names of the networks.
            field: the networks.
            accuracies: accuracy of each on the validation images.

        Raises:
            ValueError: none of them runs on the target.
        """
        timings = self._timings(field)
        kept = [place for place, timing in enumerate(timings) if timing.status == "measured"]
        if not kept:
            raise ValueError(f"no finalist runs on the target any more: {timings[0].reason}")
        entries = [
            FrontEntry(
                name="",
                arch=one.arch,
                searcher="halving",
                accuracy=accuracy,
                predicted_ms=one.latency_ms or timing.median_ms,
                upper_ms=one.high_ms or timing.high_ms,
                measured_ms=timing.median_ms,
                low_ms=timing.low_ms,
                high_ms=timing.high_ms,
                macs=one.macs,
                params=one.params,
                meets_limit=timing.median_ms <= self.limit_ms,
                layers=_layers(self.space, one.arch),
                precision=one.precision,
            )
            for one, accuracy, timing in ((field[place], accuracies[place], timings[place]) for place in kept)
        ]
        entries.sort(key=lambda entry: entry.measured_ms)
        return [replace(entry, name=f"{name}-{place}") for place, entry in enumerate(entries, 1)]

    def _timings(self, field: Sequence[Scouted]) -> list[Timing]:
        target = self.target
        with TemporaryDirectory(prefix="quarry-") as folder:
            files = [Path(folder) / f"{place}.{target.facts.format}" for place in range(len(field))]
            found: dict[int, Timing] = {}
            for place, (one, file) in enumerate(zip(field, files, strict=True)):
                network = trained(self.space, one.arch, self.run).extract(one.arch).eval()
                try:
                    target.export(network, self.space.input_shape(one.arch), file, precision=one.precision)
                except Exception as error:  # whatever a user's network or an exporter raises
                    found[place] = not_measured("unsupported", reason(error))
            there = [place for place in range(len(field)) if place not in found]
            for _ in range(_TRIES if there else 0):
                measured = target.measure(
                    [files[place] for place in there], budget_s=_MEASURE_SECONDS * len(there)
                )
                found |= dict(zip(there, measured, strict=True))
                if any(timing.median_ms <= self.limit_ms for timing in measured):
                    break
        timings = [found[place] for place in range(len(field))]
        ran = [timing.median_ms for timing in timings if timing.status == "measured"]
        for one, timing in zip(field, timings, strict=True):
            if timing.status != "measured" and ran:
                self.console.warn(
                    f"the finalist of arch {one.arch} is left out, as its file does not run any more: "
                    f"{timing.reason}"
                )
        if not ran or min(ran) <= self.limit_ms:
            return timings
        fastest = min(ran)
        self.console.warn(
            f"no finalist measures under {self.limit_ms:.4g} ms now, the fastest {fastest:.4g} ms; before "
            f"they were trained they did, so the device may be busy. They are compressed all the same"
        )
        return timings


def trained(space: SearchSpace, arch: Arch, run: Path) -> Supernet:
    """The supernet of one network that a race trained to the end.

    Raises:
        FileNotFoundError: it was not among the finalists.
        ValueError: its file is damaged.
    """
    only = space.only(arch)
    return Supernet.load(run / "search" / WEIGHTS / f"{only.fingerprint}.safetensors", only)


def _layers(space: SearchSpace, arch: Arch) -> tuple[LayerRecord, ...]:
    if not space.slots:
        return ()
    return tuple(
        LayerRecord(name=one.name, kind=one.kind, sizes=dict(one.sizes), output_shape=one.output_shape)
        for one in space.lower(arch)
    )
