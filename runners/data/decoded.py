"""Decoded images, kept on the disk: the second command of a run does not decode its data again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from results.files import replace_atomic
from runners.data.raw import Raw, RawSplit, View

_VERSION = 2  # of the file and of how images are decoded: a change of `to_pixels` counts it up


def kept(view: View, source: Path, read: Callable[[], Raw], **settings: str) -> Raw:
    """What ``read`` gives: from the file where it was made from the same data, else read and kept there.

    The data are the same where their files have the same names, sizes and times of change. A file that is
    damaged, or that cannot be written, is not missed.

    Args:
        view: how the images are wanted, and the file that keeps them.
        source: file or folder that is read, whole and alone.
        read: reads and decodes it.
        settings: whatever else the images follow from.
    """
    file = view.decoded
    if file is None:
        return read()
    key = _key(source, view, settings)
    found = _load(file, key)
    if found is None:
        found = read()
        with contextlib.suppress(OSError):  # a full disk costs time, not the run
            _save(file, key, found)
    return found


def _key(source: Path, view: View, settings: dict[str, str]) -> str:
    """What the decoded images follow from, as text."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(f"{path.relative_to(source)} {state.st_size} {state.st_mtime_ns}\n".encode())
    wanted: dict[str, object] = {
        "height": view.height,
        "width": view.width,
        "channels": view.channels,
        "white": view.white,
    }
    if view.answer not in ("class", "binary"):
        wanted["answer"] = view.answer
    return json.dumps([_VERSION, str(source.resolve()), digest.hexdigest(), wanted | settings])


def _load(file: Path, key: str) -> Raw | None:
    """The images, mapped and not copied; None where the file is not there, damaged, or of other data."""
    try:
        with safe_open(file, framework="pt") as content:
            about = content.metadata() or {}
            if about.get("key") != key:
                return None
            arrays = {name: content.get_tensor(name).numpy() for name in content.keys()}  # noqa: SIM118
        if any(about.get(name) != str(zlib.crc32(array.data)) for name, array in arrays.items()):
            return None
    except (OSError, SafetensorError):
        return None
    splits = {name.partition("/")[0] for name in arrays}
    return Raw(
        {split: RawSplit(arrays[f"{split}/pixels"], arrays[f"{split}/labels"]) for split in splits},
        tuple(json.loads(about["classes"])),
    )


def _save(file: Path, key: str, raw: Raw) -> None:
    arrays: dict[str, np.ndarray] = {}
    for split, content in raw.splits.items():
        arrays[f"{split}/pixels"] = np.ascontiguousarray(content.pixels)
        arrays[f"{split}/labels"] = np.ascontiguousarray(content.labels)
    about = {name: str(zlib.crc32(array.data)) for name, array in arrays.items()}
    about |= {"key": key, "classes": json.dumps(raw.classes)}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    replace_atomic(file, lambda temporary: save_file(tensors, temporary, about))
