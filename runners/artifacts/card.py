"""The card of a network that is handed over, from what was found out about it and its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compress.candidate import Candidate
from compress.onnx.export import INPUT_NAME
from compress.onnx.numbers.storage import STORAGES
from compress.onnx.verify import Verification
from compress.steps.cluster import PALETTE
from compress.target import Target
from nas.costs.counts.analytic import Counts
from results.records import (
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    CardWeights,
    LimitMet,
    Reference,
    Value,
)
from results.timing import Timing
from runners.data.prepared import RunData
from runners.targets.hardware import HardwareProfile


def card_of(
    name: str,
    candidate: Candidate,
    *,
    arch: Mapping[str, Value],
    data: RunData,
    target: Target,
    profile: HardwareProfile,
    watts: float | None,
    counts: Counts,
    checked: Verification,
    timing: Timing,
    validation: float,
    steps: Sequence[str],
    limit_ms: float | None,
    broken: Sequence[str] = (),
    reference: Reference | None,
    origin: CardProvenance,
    predicted_ms: float | None = None,
    upper_ms: float | None = None,
    weights: CardWeights | None = None,
) -> Card:
    """The card of a network and its file.

    Args:
        name: Name of the network.
        candidate: Network and file.
        arch: Choice names to values.
        data: Data whose test images the file was run on.
        target: Target that it was measured on.
        profile: Profile of that target, whose limits count too.
        watts: Power that the target draws; None where nobody knows.
        counts: Counts of the network.
        checked: Comparison of file and network on the test images.
        timing: Latency of the file.
        validation: Accuracy of the file on validation data, in [0, 1].
        steps: Compression steps that were kept, in order.
        limit_ms: Latency limit; None where there is none.
        broken: Other limits, not of the profile, that the file breaks, in words.
        reference: Network to set beside it, whatever its ``speedup`` says.
        origin: Recipe and provenance.
        predicted_ms: Latency as predicted before compression; None where nobody did.
        upper_ms: Upper bound of that prediction.
        weights: Accuracies with each set of weights; None where there was no choice.
    """
    content, facts = candidate.file.read_bytes(), target.facts
    broken = (*broken, *broken_limits(profile, watts, counts, timing, len(content), candidate.precision))
    return Card(
        name=name,
        file=f"model{candidate.file.suffix}",
        sha256=hashlib.sha256(content).hexdigest(),
        arch=dict(arch),
        input=CardInput(
            name=INPUT_NAME, shape=(profile.batch, *data.input_shape), dtype=np.dtype(np.float32).name
        ),
        classes=data.classes,
        metric=data.task.metric,
        answer=data.task.answer,
        preprocessing=data.splits.preprocessing,
        accuracy=CardAccuracy(
            validation=validation,
            float_test=checked.accuracy_network,
            exported_test=checked.accuracy_file,
            test_images=checked.images,
        ),
        agreement=Agreement(
            max_difference=checked.max_difference, same_predictions=checked.equal_predictions
        ),
        latency=CardLatency(
            predicted_ms=predicted_ms,
            upper_ms=upper_ms,
            measured_ms=timing.median_ms,
            low_ms=timing.low_ms,
            high_ms=timing.high_ms,
            profile=facts.profile,
            runtime=f"{facts.runtime} {facts.runtime_version}",
            threads=facts.threads,
            batch=facts.batch,
            computed=facts.computed,
        ),
        size_bytes=len(content),
        macs=counts.macs,
        params=counts.params,
        precision=candidate.precision,
        steps_kept=tuple(steps),
        limit=LimitMet(
            latency_ms=limit_ms,
            met=(limit_ms is None or timing.median_ms <= limit_ms) and not broken,
            broken=broken,
        ),
        reference=reference and replace(reference, speedup=reference.latency_ms / timing.median_ms),
        provenance=origin,
        weights=weights,
    )


def broken_limits(
    profile: HardwareProfile,
    watts: float | None,
    counts: Counts,
    timing: Timing,
    size_bytes: int,
    precision: str,
) -> tuple[str, ...]:
    """What the device cannot hold or run of a file, in words."""
    limits = profile.limits
    found = {
        "size_bytes": size_bytes,
        "peak_memory_bytes": counts.peak_memory_bytes // (4 if precision == "int8" else 1),
        "params": counts.params,
        "energy_mj": round(timing.median_ms * (watts or 0.0), 3),
    }
    broken = [
        f"{name} {value:,} over the limit of {getattr(limits, name):,.0f}"
        for name, value in found.items()
        if getattr(limits, name) is not None and value > getattr(limits, name)
    ]
    if limits.energy_mj is not None and watts is None:
        broken.append(f"nobody knows its watts, so nor whether energy_mj is within {limits.energy_mj:g}")
    stored = precision in (*STORAGES, PALETTE) and "fp32" in profile.precisions  # and computed in float
    if precision not in profile.precisions and not stored:
        broken.append(
            f"it runs {' and '.join(profile.precisions)} and this is {precision}; a larger "
            'compress.tolerance, or compress.goal = "fastest", lets quantization be kept'
        )
    return tuple(broken)
