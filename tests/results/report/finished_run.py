"""A run's folder as a finished job leaves it, with made-up but plausible numbers."""

import math
from pathlib import Path

import numpy as np

from results.files import append_line, write_atomic, write_json
from results.records import (
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    EpochRecord,
    FrontEntry,
    LatencyCheck,
    LayerRecord,
    LimitMet,
    Machine,
    Manifest,
    PredictorQuality,
    Preprocessing,
    Provenance,
    RecipeRecord,
    Record,
    Reference,
    SearchSummary,
    Session,
    StageSession,
    StageTimes,
    StepRecord,
    TargetRecord,
    TrainingRecord,
    Trial,
    readme,
)

LIMIT_MS = 0.15
PROVENANCE = Provenance(
    seed=0,
    command="quarry run digits --out run --set train.epochs=24",
    date="2026-11-21T04:00:00+00:00",
    commit="0123456789abcdef0123456789abcdef01234567+",
    versions={"python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.31.0", "optuna": "5.0.0"},
    machine=Machine(system="Linux x86_64", processor="Some CPU @ 2.50GHz", cores=2, memory_bytes=2**33),
)
TARGET = TargetRecord(
    profile="cpu-ort",
    summary="",
    runtime="onnxruntime",
    runtime_version="1.31.0",
    threads=1,
    machine="Some CPU @ 2.50GHz, 2 cores, x86_64 Linux",
    precision="fp32",
    limits={},
    computed=False,
)


def write_finished_run(folder: Path, seed: int = 0) -> Path:
    """Writes every record of a run on the digits."""
    rng = np.random.default_rng(seed)
    _about(folder)
    _write(folder / "measure" / "target.json", TARGET)
    _training(folder, rng)
    _trainings(folder)
    _check(folder, rng)
    summary = _search(folder, rng)
    _write(folder / "search" / "front.json", summary)
    for place, entry in enumerate([summary.front[3], summary.front[5]]):
        _steps(folder, entry, int8=place == 0)
        _card(folder, entry, summary)
    return folder


def _write(file: Path, record: Record) -> None:
    write_json(file, record.to_json())


def _about(folder: Path) -> None:
    recipe = {
        "name": "digits",
        "seed": 0,
        "data": {"source": "digits", "height": 8, "width": 8, "channels": 1, "flip": False},
        "train": {"epochs": 24, "batch_size": 64, "learning_rate": 3e-3},
        "search": {"latency_ms": LIMIT_MS, "searchers": ["nsga2", "optuna-tpe"], "budget": 150},
    }
    times = {"train": 81.3, "measure": 52.0, "search": 47.9, "compress": 60.2, "export": 9.8}
    _write(folder / "recipe.json", RecipeRecord(settings=recipe))
    _write(folder / "provenance.json", PROVENANCE)
    _write(folder / "stages.json", StageTimes(seconds=times))
    whole = (
        *(_session(name) for name in ("train", "measure", "search")),
        _session("compress", finished=False),
    )
    commands = ((PROVENANCE.command, whole), ("quarry compress --out run", (_session("compress"),)))
    sessions = tuple(
        Session(command=command, date=PROVENANCE.date, commit=PROVENANCE.commit, versions={}, stages=stages)
        for command, stages in commands
    )
    _write(folder / "run.json", Manifest(sessions=sessions))


def _session(stage: str, *, finished: bool = True) -> StageSession:
    return StageSession(
        stage=stage,
        seed=0,
        began=PROVENANCE.date,
        seconds=60.0,
        cpu_seconds=100.0,
        joules=18_000.0,
        macs={"training": 2e12} if stage == "train" else {"final": 3e11} if stage == "compress" else {},
        finished=finished,
    )


def _trainings(folder: Path) -> None:
    for way, epochs in (("further", 40), ("from scratch", 24)):
        step = "finetune" if way == "further" else "retrain"
        record = TrainingRecord(network="n5", step=step, way=way, epochs=epochs, macs=3e11, seconds=9.0)
        append_line(folder / "compress" / "trainings.jsonl", record.to_json())


def _training(folder: Path, rng: np.random.Generator) -> None:
    for epoch in range(24):
        grown = 1 - math.exp(-(epoch + 1) / 4)
        noise = rng.normal(0, 0.004, 4)
        record = EpochRecord(
            epoch=epoch,
            step=(epoch + 1) * 18,
            loss=2.3 * math.exp(-epoch / 6) + 0.55 + float(noise[3]) * 4,
            learning_rate=3e-3 * (1 + math.cos(math.pi * epoch / 24)) / 2,
            seconds=3.4,
            images_per_second=1250.0 + float(rng.normal(0, 30)),
            watched={
                "largest": float(min(0.1 + 0.885 * grown + noise[0], 1)),
                "smallest": float(min(0.1 + 0.84 * grown + noise[1], 1)),
                "random subnet of 2.10 M MACs": float(min(0.1 + 0.87 * grown + noise[2], 1)),
                "random subnet of 4.80 M MACs": float(min(0.1 + 0.86 * grown + noise[0], 1)),
            },
            alarms=("the largest subnet does worse than the smallest subnet",) if epoch == 2 else (),
        )
        append_line(folder / "train" / "history.jsonl", record.to_json())


def _check(folder: Path, rng: np.random.Generator) -> None:
    predicted = np.sort(rng.uniform(0.05, 0.42, 14))
    measured = predicted * (1 + rng.normal(0, 0.035, 14))
    errors = np.abs(predicted / measured - 1)
    check = LatencyCheck(
        networks=14,
        mape=float(np.mean(errors)),
        within_5_percent=float(np.mean(errors <= 0.05)),
        within_10_percent=float(np.mean(errors <= 0.10)),
        spearman=0.987,
        coverage=0.93,
        upper_coverage=1.0,
        confidence=0.95,
        noise_floor=0.021,
        ceiling_within_5_percent=0.97,
        predicted_ms=tuple(predicted.tolist()),
        low_ms=tuple((predicted * 0.92).tolist()),
        high_ms=tuple((predicted * 1.08).tolist()),
        measured_ms=tuple(measured.tolist()),
        again_ms=tuple((measured * (1 + rng.normal(0, 0.02, 14))).tolist()),
    )
    _write(folder / "measure" / "check.json", check)


def _accuracy(latency_ms: float, rng: np.random.Generator, spread: float) -> float:
    best = 0.985 - 0.06 * math.exp(-latency_ms / 0.04)
    return float(np.clip(best - abs(rng.normal(0, spread)), 0.1, 1.0))


def _search(folder: Path, rng: np.random.Generator) -> SearchSummary:
    for searcher, spread, drift in (("random", 0.02, 0.0), ("nsga2", 0.02, 0.8), ("optuna-tpe", 0.02, 0.6)):
        for ticket in range(150):
            latency = float(rng.uniform(0.03, 0.145))
            accuracy = _accuracy(latency, rng, spread * (1 - drift * ticket / 150) + 0.001)
            failed = searcher == "optuna-tpe" and ticket == 40
            trial = Trial(
                ticket=ticket,
                arch={},
                scores=None if failed else {"accuracy": 0.4 if ticket == 5 else accuracy},
                costs={"latency_ms": latency, "latency_ms_upper": latency * 1.06},
                error="worker died" if failed else "",
                seconds=0.2,
                worker="ray",
                capacity=2,
            )
            append_line(folder / "search" / f"{searcher}.jsonl", trial.to_json())
    front = tuple(
        _entry(f"n{i}", latency, 0.985 - 0.06 * math.exp(-latency / 0.04), depth=1 + i // 3)
        for i, latency in enumerate((0.034, 0.048, 0.066, 0.085, 0.112, 0.139, 0.1502))
    )
    return SearchSummary(
        limit_ms=LIMIT_MS,
        confidence=0.95,
        reference=(0.5, LIMIT_MS),
        front=front,
        largest=_entry("largest", 0.412, 0.984, depth=3, width=48),
        predictors=(
            PredictorQuality(searcher="guided", networks=140, tau=0.71, mean_error=0.004, interval=0.009),
        ),
    )


def _entry(name: str, latency: float, accuracy: float, *, depth: int, width: int = 32) -> FrontEntry:
    layers = _layers(depth, width)
    scale = latency / sum(weight for _, weight in layers)
    return FrontEntry(
        name=name,
        arch={"stage0.width": width, "stage0.depth": depth, "stage1.width": 2 * width, "stage1.depth": depth},
        searcher=name if name == "largest" else ("nsga2", "optuna-tpe")[int(name[1:]) % 2],
        accuracy=accuracy,
        predicted_ms=latency * 1.02,
        upper_ms=latency * 1.08,
        measured_ms=latency,
        low_ms=latency * 0.97,
        high_ms=latency * 1.03,
        macs=int(latency * 2.1e7),
        params=int(latency * 9e5),
        meets_limit=latency <= LIMIT_MS,
        layers=tuple(
            LayerRecord(
                name=layer.name,
                kind=layer.kind,
                sizes=layer.sizes,
                output_shape=layer.output_shape,
                latency_ms=weight * scale,
            )
            for layer, weight in layers
        ),
    )


def _layers(depth: int, width: int) -> list[tuple[LayerRecord, float]]:
    layers: list[tuple[LayerRecord, float]] = []

    def add(name: str, kind: str, shape: tuple[int, ...], weight: float, **sizes: float) -> None:
        layers.append((LayerRecord(name=name, kind=kind, sizes=sizes, output_shape=shape), weight))

    mixers = ("depthwise", "attention", "pooling")
    for stage, (channels, side) in enumerate(((width, 8), (2 * width, 4))):
        shape = (channels, side, side)
        add(
            f"stage{stage}_entry", "entry", shape, 1.4, inputs=1, outputs=channels, kernel=3, stride=1 + stage
        )
        for block in range(depth):
            kind = mixers[(stage + block) % 3]
            sizes = {} if kind == "attention" else {"kernel": 3 + 2 * (block % 3)}
            add(f"stage{stage}_block{block}_{kind}", kind, shape, 1.0 + block / 3, channels=channels, **sizes)
            add(f"stage{stage}_block{block}_mlp", "mlp", shape, 1.6, channels=channels, ratio=2.0)
    add("head", "head", (10,), 0.5, inputs=2 * width, classes=10)
    return layers


def _steps(folder: Path, entry: FrontEntry, *, int8: bool) -> None:
    lines = [
        ("fuse", True, "faster by 12 %, no accuracy lost", "", 0.0, 0.88, 0.98, 1.0, 1.1),
        (
            "prune",
            True,
            "faster by 15 %, accuracy within the tolerance of 1.0 pt",
            "taylor, 25 %",
            -0.004,
            0.85,
            0.7,
            0.72,
            18.2,
        ),
        (
            "quantize",
            int8,
            "faster by 9 %, accuracy within the tolerance"
            if int8
            else "not faster: 0.118 ms against 0.112 ms",
            "int8, per channel",
            -0.001,
            0.91 if int8 else 1.05,
            0.41,
            1.0,
            4.4,
        ),
    ]
    accuracy, latency, size = entry.accuracy, entry.measured_ms, 41_000
    for step, kept, reason, candidate, lost, faster, smaller, fewer, seconds in lines:
        record = StepRecord(
            network=entry.name,
            step=step,
            kept=kept,
            reason=reason,
            candidate=candidate,
            accuracy_before=accuracy,
            accuracy_after=accuracy + lost,
            latency_ms_before=latency,
            latency_ms_after=latency * faster,
            size_bytes_before=size,
            size_bytes_after=int(size * smaller),
            macs_before=entry.macs,
            macs_after=int(entry.macs * fewer),
            params_before=entry.params,
            params_after=int(entry.params * fewer),
            seconds=seconds,
            why=()
            if kept
            else (
                "Conv takes 0.079 ms where it took 0.057 ms",
                "18% of the time (0.021 ms) is spent on conversions between number formats: "
                "5 DequantizeLinear, 4 QuantizeLinear",
            ),
        )
        append_line(folder / "compress" / "steps.jsonl", record.to_json())
        if kept:
            accuracy, latency, size = accuracy + lost, latency * faster, int(size * smaller)


def _card(folder: Path, entry: FrontEntry, summary: SearchSummary) -> None:
    measured = entry.measured_ms * 0.7
    card = Card(
        name=entry.name,
        file="model.onnx",
        sha256="ab" * 32,
        arch=dict(entry.arch),
        input=CardInput(name="images", shape=(1, 1, 8, 8), dtype="float32"),
        classes=tuple("0123456789"),
        preprocessing=Preprocessing(channels=1, height=8, width=8, mean=(0.305,), std=(0.376,)),
        accuracy=CardAccuracy(
            validation=entry.accuracy,
            float_test=entry.accuracy - 0.004,
            exported_test=entry.accuracy - 0.005,
            test_images=360,
        ),
        agreement=Agreement(max_difference=3.2e-6, same_predictions=1.0),
        latency=CardLatency(
            predicted_ms=entry.predicted_ms,
            upper_ms=entry.upper_ms,
            measured_ms=measured,
            low_ms=measured * 0.98,
            high_ms=measured * 1.02,
            profile="cpu-ort",
            runtime="ONNX Runtime 1.31.0",
            threads=1,
            batch=1,
            computed=False,
        ),
        size_bytes=13_480,
        macs=entry.macs,
        params=entry.params,
        precision="int8" if entry.name == "n3" else "fp32",
        steps_kept=("fuse", "prune", "quantize") if entry.name == "n3" else ("fuse", "prune"),
        limit=LimitMet(latency_ms=LIMIT_MS, met=True),
        reference=Reference(
            name="largest",
            latency_ms=summary.largest.measured_ms,
            exported_test=0.981,
            size_bytes=812_000,
            speedup=summary.largest.measured_ms / measured,
        ),
        provenance=CardProvenance.of(PROVENANCE, {"name": "digits"}),
    )
    place = folder / "artifacts" / entry.name
    _write(place / "card.json", card)
    write_atomic(place / "README.md", readme(card))
