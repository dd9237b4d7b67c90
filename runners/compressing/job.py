"""The folder of a compression, and the data it works with."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from results.files import read_json, remove_parts, write_json
from runners.compressing.goal import Goal
from runners.compressing.options import Options
from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.recipe.schema import Recipe
from runners.run.directory import lock
from runners.run.provenance import provenance
from runners.targets.hardware import HardwareProfile
from runners.training.trainable import OneNetwork

_FEWEST = 32
"""Training images below which nothing can be said: ranges are calibrated and weights trained on them."""


@contextmanager
def opened(out: Path, console: Console | None) -> Iterator[Console]:
    """The folder, locked; what stops the work is in its log too."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; out names a folder")
    if (
        out.exists()
        and not (out / "recipe.json").exists()
        and any(
            one.name not in (".lock", "log.txt", "decoded.safetensors", "provenance.json")
            for one in out.iterdir()
        )
    ):
        raise ValueError(f"{out} is not empty and holds no compressed model; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    handle = lock(out)
    try:
        remove_parts(out)
        speaking = console or Console(out / "log.txt")
        try:
            yield speaking
        except Exception as error:
            with suppress(OSError):  # the disk may be what is full
                speaking.record(f"error: {error}")
            raise
    finally:
        os.close(handle)


def begin(
    out: Path, goal: Goal, options: Options, profile: HardwareProfile, data: str, network: nn.Module
) -> None:
    """Writes down what is done, or refuses to go on with something else.

    What was measured before is gone on with, so of a profile what its file says counts beside its name.

    Raises:
        ValueError: the folder holds another job.
    """
    file = out / "recipe.json"
    now: dict[str, Any] = {
        "name": options.name,
        "model": OneNetwork(network).identity(),
        "data": data,
        "goal": asdict(goal),
        "options": asdict(options),
        "profile": profile.model_dump(mode="json"),
    }
    if file.exists():
        before = read_json(file)
        if not isinstance(before, dict) or "model" not in before:
            raise ValueError(f"{out} holds another run, not a compressed model; choose another folder")
        same = json.loads(json.dumps(now))  # as it is read back
        changed = [f"another {key}" for key in ("model", "data", "profile") if before.get(key) != same[key]]
        changed += [
            f"{name} {before['options'].get(name)} where it is {value} now"
            for name, value in same["options"].items()
            if before["options"].get(name) != value
        ]
        if Goal(**before["goal"]).by_size != goal.by_size:
            changed.append("another goal (its files were chosen by latency, and not by size, or the reverse)")
        if changed:
            raise ValueError(
                f"{out} was begun with {' and with '.join(changed)}; choose another folder, or delete it"
            )
    if not (out / "provenance.json").exists() or not file.exists():
        command = shlex.join(["quarry", *sys.argv[1:]])
        write_json(out / "provenance.json", provenance(options.seed, command).to_json())
    write_json(file, now)


def data_of(recipe: Recipe, options: Options, out: Path, console: Console) -> RunData:
    """The images, checked.

    Raises:
        ValueError: as ``load_data``; too few images, or a mean or deviation of another number of channels.
    """
    splits = load_data(recipe.data, recipe.seed, out / "decoded.safetensors")
    console.say(splits.sentence)
    if len(splits.train) < _FEWEST:
        raise ValueError(
            f"{recipe.data.source} has {len(splits.train)} training images, which are too few to calibrate "
            f"int8 and to train what was cut again: {_FEWEST} or more are needed"
        )
    for name in ("mean", "std"):
        given = getattr(options, name)
        if given is not None and len(given) != recipe.data.channels:
            raise ValueError(
                f"{name} has {len(given)} numbers, and images have {recipe.data.channels} channels"
            )
    if options.std is not None and min(options.std) <= 0:
        raise ValueError(f"std has to be positive, got {options.std}")
    preprocessing = replace(
        splits.preprocessing,
        mean=options.mean or splits.preprocessing.mean,
        std=options.std or splits.preprocessing.std,
    )
    prepare = Prepare(preprocessing=preprocessing, crop_padding=options.crop_padding, flip=options.flip)
    return RunData(
        splits=replace(splits, preprocessing=preprocessing),
        prepare=prepare,
        calibration_images=options.calibration_images,
    )
