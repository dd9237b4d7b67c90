"""Paths of a recipe made absolute: those in a file are seen from its folder, those of ``--set`` from here."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any


def anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's values with every path absolute, so that a run goes on from anywhere.

    Files of parts are always seen from ``folder``; other paths where there is something at them, so that they
    may be looked for elsewhere too. Where the data are, ``runners.data.sources`` says.

    Args:
        values: recipe as read, not validated yet; left untouched.
        folder: folder that relative paths begin at.
    """
    if not isinstance(values, dict):  # of a damaged file; the schema says so
        return values
    values = copy.deepcopy(values)
    if isinstance(parts := values.get("parts"), list):
        values["parts"] = [
            str(_path(spec, folder)) if isinstance(spec, str) and spec.endswith(".py") else spec
            for spec in parts
        ]
    _replace(values, "space", "module", lambda text: _function(text, folder))
    _replace(values, "space", "network", lambda text: str(_path(text, folder)) if text else text)
    _replace(
        values, "measure", "profile", lambda text: found(text, folder) if text.endswith(".toml") else text
    )
    _anchor_teachers(values, folder)
    if isinstance(task := values.get("task"), str):
        values["task"] = _function(task, folder)
    _replace(values, "task", "kind", lambda text: _function(text, folder))
    return values


def _anchor_teachers(values: dict[str, Any], folder: Path) -> None:
    compress = values.get("compress")
    recovery = compress.get("recovery") if isinstance(compress, dict) else None
    teachers = recovery.get("teachers") if isinstance(recovery, dict) else None
    if not isinstance(recovery, dict) or not isinstance(teachers, list):
        return
    recovery["teachers"] = [_teacher(one, folder) for one in teachers]


def _teacher(given: Any, folder: Path) -> Any:
    """A teacher with the functions and files that it names absolute; its other settings are left alone."""
    if isinstance(given, str):
        if ":" in given:
            return _function(given, folder)
        return found(given, folder) if given.endswith(".onnx") else given
    if not isinstance(given, dict):
        return given
    anchors = {"kind": _teacher, "make": _function, "weights": found, "file": found}
    return {
        key: anchors[key](value, folder) if key in anchors and isinstance(value, str) else value
        for key, value in given.items()
    }


def _replace(values: dict[str, Any], section: str, key: str, anchor: Any) -> None:
    inside = values.get(section)
    if isinstance(inside, dict) and isinstance(inside.get(key), str | int):
        inside[key] = anchor(str(inside[key]))


def _path(text: str, folder: Path) -> Path:
    return (folder / Path(text).expanduser()).resolve()


def found(text: str, folder: Path) -> str:
    """An existing file or folder, absolute; anything else as it is."""
    path = _path(text, folder)
    return str(path) if text and path.exists() else text


def _function(text: str, folder: Path) -> str:
    file, colon, function = text.rpartition(":")
    return f"{found(file, folder)}:{function}" if colon and file.endswith(".py") else text
