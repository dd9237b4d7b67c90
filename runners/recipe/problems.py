"""What pydantic finds wrong with a recipe, in words: the key, what it is, what would be right."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from runners.recipe.keys import MOVED, fields, unknown_key


def problems_of(error: ValidationError) -> list[str]:
    """A line for everything that is wrong, beginning with its key."""
    return [line for problem in error.errors() for line in _lines(problem)]


def _lines(problem: Any) -> list[str]:
    path = [str(step) for step in problem["loc"] if not isinstance(step, int)]
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"])[1:]
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        inner = given if isinstance(given, dict) else {}
        moved = [[*path, name] for name in inner if ".".join([*path, name]) in MOVED]
        return [f"{'.'.join(one)}: {unknown_key(one)}" for one in moved or [path]]
    if problem["type"] == "missing":
        return [f"{key}: this is needed and has no default"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not path:
        return [message]
    written = json.dumps(given, default=str)
    if problem["type"] == "model_type":
        beside = [name.rpartition(".")[2] for name, _ in fields() if name.rpartition(".")[0] == key]
        return [f"{key} = {written}: this is a section; set its keys, {', '.join(beside)}"]
    if problem["type"] == "tuple_type":
        return [f'{key} = {written}: this is a list; write it as ["first", "second"]']
    if len(path) == 1 and isinstance(given, dict):  # of a section as a whole
        return [f"{key}: {message}"]
    return [f"{key} = {written}: {message}"]
