"""Whether everything a recipe calls by name is there: known before work starts, not an hour into it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from results.names import unknown


def unknown_hardware(name: str) -> list[str]:
    """What is wrong with a hardware profile, by name or path; nothing if it can be read."""
    from runners.targets.profile import load_profile

    try:
        load_profile(name)
    except (ValueError, OSError) as error:
        return [f"profile.hardware: {error}"]
    return []


def unknown_names(
    *, preset: str, mixers: Sequence[str], activation: str, searchers: Sequence[str], rule: str
) -> list[str]:
    """A line for each name that stands for nothing, with its key in the recipe."""
    # Imported here: presets bring PyTorch, and importing recipes should not.
    from nas.rules import RULES
    from nas.search import searcher
    from search_spaces.mixers import MIXERS
    from search_spaces.parts import ACTIVATIONS
    from search_spaces.spaces.presets import PRESETS

    return [
        *_unknown("space.preset", "preset", [preset], PRESETS),
        *_unknown("space.mixers", "mixer", mixers, MIXERS),
        *_unknown("space.activation", "activation", [activation], ACTIVATIONS),
        *_unknown("search.searchers", "searcher", searchers, searcher.searchers()),
        *_unknown("train.rule", "training rule", [rule], RULES),
    ]


def missing_module(module: str) -> list[str]:
    """What is wrong with where a user's own space is looked for; nothing if there is a file."""
    file, colon, function = module.rpartition(":")
    if not (file and colon and function):
        return [f"space.module = {module!r}: write it as path/to/file.py:function"]
    return [] if Path(file).is_file() else [f"space.module: there is no file {file}"]


def short_budgets(searchers: Iterable[str], budget: int) -> list[str]:
    """A line for each searcher whose population the budget does not fill."""
    from nas.search import searcher

    problems = []
    for name in searchers:
        if name in searcher.searchers():
            population = inspect.signature(searcher.searcher(name)).parameters.get("population")
            if population is not None and budget < population.default:
                problems.append(
                    f"search.budget = {budget}: {name} has a population of {population.default} and learns "
                    f"nothing from less; give at least {population.default}"
                )
    return problems


def _unknown(key: str, kind: str, names: Iterable[str], valid: Iterable[str]) -> list[str]:
    known = list(valid)
    return [f"{key}: {unknown(kind, name, known)}" for name in names if name not in known]
