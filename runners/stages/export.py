"""Stage 5: the files, each run on the whole test set in its own runtime, measured, and given a card."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from compress.onnx.export import export_onnx
from compress.onnx.verify import OnnxFile, Verification, verify
from compress.run import Compressed
from nas.costs.counts.analytic import Counts, count
from results.files import read_json, write_atomic, write_json
from results.records import (
    COMPUTED,
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    CardWeights,
    FrontEntry,
    LimitMet,
    Reference,
)
from runners.measuring.stopwatch import Timing
from runners.run.job import Job
from runners.stages.compress import (
    calibrated,
    chosen_from_front,
    compressed_networks,
    measure_files,
    search_summary,
    spare,
)
from runners.targets.profile import HardwareProfile

MODEL = "model.onnx"
_LARGEST = Path("compress") / "largest.onnx"
_SPARE = 3  # networks that may take the place of chosen ones whose files are too slow
_MAX_FLOAT_DIFFERENCE = 1e-2  # of a logit, between PyTorch and ONNX Runtime in float32


def run_export(job: Job) -> None:
    """Writes ``artifacts/NAME/`` with the model, its card, and a README for each compressed network."""
    test = (job.images(job.splits.test).numpy(), job.splits.test.labels.numpy())
    largest = calibrated(job, job.space.largest())
    largest_file = job.path / _LARGEST
    export_onnx(largest, job.images(job.splits.val, 2), largest_file)
    found, timings = _within_the_limit(job, largest_file)
    reference = Reference(
        name="largest",
        latency_ms=timings[-1].median_ms,
        exported_test=verify(largest_file, largest, test).accuracy_file,
        size_bytes=largest_file.stat().st_size,
        speedup=1.0,
    )
    for (entry, compressed), timing in zip(found, timings[:-1], strict=True):
        int8 = compressed.precision == "int8"
        job.console.say(f"running {entry.name} on {len(job.splits.test)} test images")
        checked = verify(
            compressed.file,
            compressed.network,
            test,
            max_difference=None if int8 else _MAX_FLOAT_DIFFERENCE,
        )
        card = _card(job, entry, compressed, timing, checked, reference, int8=int8)
        folder = job.path / "artifacts" / entry.name
        write_atomic(folder / MODEL, compressed.file.read_bytes())
        write_atomic(folder / "README.md", card.to_markdown())
        write_json(folder / "card.json", card.to_json())  # last: where there is a card, all is there


def _within_the_limit(
    job: Job, largest_file: Path
) -> tuple[list[tuple[FrontEntry, Compressed]], list[Timing]]:
    """The compressed networks, and the timings of their files and then the largest's.

    Where no file is under the limit, faster networks of the front are compressed too, a few.
    """
    limit_ms = search_summary(job).limit_ms
    chosen = chosen_from_front(job)
    found = compressed_networks(job, chosen)
    waiting = spare(job, chosen)[:_SPARE]
    while True:
        timings = measure_files(job, [*(compressed.file for _, compressed in found), largest_file])
        if not waiting or any(timing.median_ms <= limit_ms for timing in timings[:-1]):
            return found, timings
        entry = waiting.pop(0)
        job.console.say(
            f"no file measures under {limit_ms:.4g} ms; compressing {entry.name}, which is faster"
        )
        found += compressed_networks(job, [entry])


def _weights(compressed: Compressed) -> CardWeights | None:
    """The accuracies with inherited, fine-tuned and retrained weights, and which were kept."""
    if not compressed.steps:
        return None
    by_name = {step.step: step for step in compressed.steps}
    offered = [by_name[name] for name in ("finetune", "retrain") if name in by_name]
    after = {step.step: step.accuracy_after for step in offered}
    kept = [step.step for step in offered if step.kept]
    named = {"finetune": "finetuned", "retrain": "retrained"}
    return CardWeights(
        inherited=compressed.steps[0].accuracy_before,
        finetuned=after.get("finetune"),
        retrained=after.get("retrain"),
        kept=named[kept[-1]] if kept else "inherited",
    )


def _card(
    job: Job,
    entry: FrontEntry,
    compressed: Compressed,
    timing: Timing,
    checked: Verification,
    reference: Reference,
    *,
    int8: bool,
) -> Card:
    content = compressed.file.read_bytes()
    limit_ms = search_summary(job).limit_ms
    validation = (job.images(job.splits.val).numpy(), job.splits.val.labels.numpy())
    counts = count(compressed.network, job.splits.input_shape)
    identity = job.target.identity()
    broken = _broken(job.profile, counts, len(content), int8=int8)
    for words in broken:
        job.console.say(f"warning: {entry.name} does not fit profile {job.profile.name}: {words}")
    return Card(
        name=entry.name,
        file=MODEL,
        sha256=hashlib.sha256(content).hexdigest(),
        arch=entry.arch,
        input=_input(job, compressed.file),
        classes=job.splits.classes,
        preprocessing=job.splits.preprocessing,
        accuracy=CardAccuracy(
            validation=verify(compressed.file, compressed.network, validation).accuracy_file,
            float_test=checked.accuracy_network,
            exported_test=checked.accuracy_file,
            test_images=checked.images,
        ),
        agreement=Agreement(
            max_difference=checked.max_difference, same_predictions=checked.equal_predictions
        ),
        latency=CardLatency(
            predicted_ms=entry.predicted_ms,
            upper_ms=entry.upper_ms,
            measured_ms=timing.median_ms,
            low_ms=timing.low_ms,
            high_ms=timing.high_ms,
            profile=job.target.profile.name,
            runtime=f"{identity.runtime} {identity.runtime_version}",
            threads=identity.threads,
            batch=job.target.profile.batch,
            computed=identity.runtime == COMPUTED,
        ),
        size_bytes=len(content),
        macs=counts.macs,
        params=counts.params,
        precision="int8" if int8 else "fp32",
        steps_kept=tuple(step.step for step in compressed.steps if step.kept),
        limit=LimitMet(latency_ms=limit_ms, met=timing.median_ms <= limit_ms and not broken, broken=broken),
        reference=replace(reference, speedup=reference.latency_ms / timing.median_ms),
        provenance=_provenance(job),
        weights=_weights(compressed),
    )


def _broken(profile: HardwareProfile, counts: Counts, size_bytes: int, *, int8: bool) -> tuple[str, ...]:
    """What the device cannot hold or run of a file, in words."""
    limits, precision = profile.limits, "int8" if int8 else "fp32"
    found = {
        "size_bytes": size_bytes,
        "peak_memory_bytes": counts.peak_memory_bytes // (4 if int8 else 1),
        "params": counts.params,
    }
    broken = [
        f"{name} {value:,} over the limit of {getattr(limits, name):,.0f}"
        for name, value in found.items()
        if getattr(limits, name) is not None and value > getattr(limits, name)
    ]
    if precision not in profile.precisions:
        broken.append(
            f"it runs {' and '.join(profile.precisions)} and this is {precision}; a larger "
            "compress.tolerance lets quantization be kept"
        )
    return tuple(broken)


def _input(job: Job, file: Path) -> CardInput:
    shape = (job.target.profile.batch, *job.splits.input_shape)
    return CardInput(name=OnnxFile(file).input_name, shape=shape, dtype=np.dtype(np.float32).name)


def _provenance(job: Job) -> CardProvenance:
    recorded = read_json(job.path / "provenance.json")
    return CardProvenance.from_json({**recorded, "recipe": job.recipe.model_dump(mode="json")})
