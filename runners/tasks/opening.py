"""A task by its name, or by where the code of yours is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.loading import load_object
from results.registry import Registered
from runners.tasks.task import TASKS, Task

_MEMBERS = ("metric", "answer", "outputs", "fitted", "loss", "score", "problem", "logits")


def open_task(kind: str, settings: Mapping[str, Any]) -> Task:
    """The task of that name, or what ``path/to/file.py:name`` leads to, with its settings.

    Args:
        kind: name of a registered task, or a class, function or finished task of yours as
            ``path/to/file.py:name`` or ``package.module:name``.
        settings: settings of it.

    Raises:
        ValueError: no such task, settings that it does not take, or one that lacks something.
    """
    found = _found(kind)
    task = found.configured(settings)()
    if lacking := [name for name in _MEMBERS if not hasattr(task, name)]:
        raise ValueError(
            f"task {kind} has no {', '.join(lacking)}; let it inherit from runners.tasks.Classification or "
            f"another task, and change what differs"
        )
    return task


def task_problems(kind: str, settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with a task as a recipe names it, a line each; its code is imported for it."""
    if kind not in TASKS and ":" not in kind:
        return [
            f"{problem} Or a task of yours, my.py:task" for problem in TASKS.problems(kind, settings, "task")
        ]
    try:
        found = _found(kind)
        if problems := [f"task.{problem}" for problem in found.problems(settings)]:
            return problems
        open_task(kind, settings)
    except (ValueError, OSError, TypeError) as error:
        return [f"task: {error}"]
    except Exception as error:  # code of one's own raises anything
        return [f"task: {kind} fails: {type(error).__name__}: {error}"]
    return []


def _found(kind: str) -> Registered[Any]:
    if kind in TASKS or ":" not in kind:
        return TASKS[kind]
    part: Any = load_object(kind)
    if callable(part):
        return Registered(name=kind, part=part)
    if not hasattr(part, "loss"):
        raise ValueError(f"{kind} is a {type(part).__name__}; right is a task, or a class or function of one")
    return Registered(name=kind, part=lambda: part)  # finished: it takes no settings any more
