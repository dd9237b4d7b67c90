"""The steps of compression by the names under which recipes ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from compress.candidate import Candidate, Context, Step
from compress.target import Facts
from results.registry import Registry

STEPS: Registry[Callable[..., Step]] = Registry("compression step")
"""Takes its settings by keyword, gives a ``Step``.

What it ``needs`` is a file format or number format that the target has to have: ``onnx``, ``int8``. A number
format that it needs is the one that it makes.
"""


def makes(names: Iterable[str], precision: str, facts: Facts) -> bool:
    """Whether one of these steps makes files of a number format for a target."""
    return any(precision in STEPS[name].needs and not _missing(name, facts) for name in names)


def step_names(steps: Sequence[Step]) -> list[str]:
    """The names of a job's steps in records: those they are registered under; the second ``prune-2``."""
    names: list[str] = []
    for step in steps:
        name, number = _name(step), 1
        while (numbered := name if number == 1 else f"{name}-{number}") in names:
            number += 1
        names.append(numbered)
    return names


def unmet_needs(step: Step, facts: Facts) -> str:
    """What a step needs and the target does not offer, in words; nothing where it can be tried."""
    name = _name(step)
    missing = _missing(name, facts)
    if not missing:
        return ""
    return (
        f"{name} needs {' and '.join(missing)}; target {facts.profile!r} takes {facts.format} files in "
        f"{' and '.join(facts.precisions)}"
    )


def _missing(name: str, facts: Facts) -> list[str]:
    """File and number formats that a step of that name needs and the target does not take."""
    needs = STEPS[name].needs if name in STEPS else frozenset()
    return sorted(needs - {facts.format, *facts.precisions})


def refuse_int8(current: Candidate, context: Context) -> None:
    """Raises a ValueError where the file is not the target's float one, which alone can be quantized."""
    if current.precision != context.target.facts.float_precision:
        raise ValueError(f"the file is {current.precision} already")


def _name(step: Step) -> str:
    found = (name for name in STEPS if STEPS[name].part is type(step))
    return next(found, type(step).__name__.lower())
