"""The recipes that come with the package; beside running, they lend known names and spare sections."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from pydantic import ValidationError

from runners.recipe.keys import holds_part, holds_parts
from runners.recipe.schema import Recipe

_NAMING = (
    "task",
    "measure.profile",
    "space.preset",
    "space.mixers",
    "space.activation",
    "space.options",
    "train.rule",
)
_LISTS = ("search.searchers", "compress.steps")
_CODE = ("parts", "space.module")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def shipped(name: str) -> dict[str, Any]:
    """The values of a recipe that comes with the package."""
    return tomllib.loads((_folder() / f"{name}.toml").read_text())


def familiar(recipe: Recipe) -> bool:
    """Whether all that a recipe names stands in recipes that come with the package, so it is there."""
    known = [Recipe.model_validate(shipped(name)) for name in recipe_names()]
    return (
        not any(_at(recipe, key) for key in _CODE)
        and recipe.data.source in [other.data.source for other in known]
        and all(_at(recipe, key) in [_at(other, key) for other in known] for key in _NAMING)
        and all(any(one in _at(other, key) for other in known) for key in _LISTS for one in _at(recipe, key))
    )


def mended(values: dict[str, Any]) -> Recipe | None:
    """The recipe with what is wrong in itself left out or replaced, to look at the rest of it.

    Args:
        values: recipe as read, not valid; left untouched.

    Returns:
        A valid recipe; None where too little is left.
    """
    values = copy.deepcopy(values)
    spare = shipped("digits")
    for _ in range(4):  # what was left out may be missing, a section without it may not hold together
        try:
            return Recipe.model_validate(values)
        except ValidationError as error:
            for problem in error.errors():
                path = [step for step in problem["loc"] if isinstance(step, str)]
                if not path:
                    return None
                _replace(values, spare, path)
    return None


def _replace(values: Any, spare: Any, path: Sequence[str]) -> None:
    """Puts at a key what another recipe has there; nothing where that has nothing."""
    *sections, last = path
    for section in sections:
        values, spare = values.get(section), spare.get(section, {})
        if not isinstance(values, dict) or not isinstance(spare, dict):
            return
    before = values.pop(last, None)
    if last in spare:
        values[last] = copy.deepcopy(spare[last])
        if isinstance(before, dict):  # a section that does not hold together: its parts are looked at
            kept = {
                key: one
                for key, one in before.items()
                if holds_part([*path, key]) or holds_parts([*path, key])
            }
            values[last] |= kept


def _at(recipe: Recipe, key: str) -> Any:
    found: Any = recipe
    for name in key.split("."):
        found = getattr(found, name)
    return found


def _folder() -> Any:
    return resources.files("runners.recipe")
