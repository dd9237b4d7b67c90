"""The recipes that come with the package; beside running, they lend known names and spare sections."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

from pydantic import ValidationError

from runners.recipe.keys import fields, holds_part, holds_parts
from runners.recipe.schema import Recipe, Space

_NAMING = (
    "task",
    "measure.profile",
    "space.preset",
    *(f"space.{key}" for key in Space().named),
    "space.recursions",
    "space.resolutions",
    "space.strides",
    "space.exits",
    "space.activation",
    "space.options",
    "space.rules",
    "train.rule",
    "race.sieve",
)
_LISTS = ("search.searchers", "compress.steps")
_CODE = ("parts", "space.module", "space.network")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def shipped(name: str) -> dict[str, Any]:
    """The values of a recipe that comes with the package."""
    return tomllib.loads((_folder() / f"{name}.toml").read_text())


def summary(name: str) -> str:
    """The first line of a recipe that comes with the package, which says what it does."""
    return str((_folder() / f"{name}.toml").read_text()).partition("\n")[0].strip("# .")


def familiar(recipe: Recipe) -> bool:
    """Whether all that a recipe names stands in recipes that come with the package, so it is there."""
    known = [Recipe.model_validate(shipped(name)) for name in recipe_names()]
    return (
        not any(_at(recipe, key) for key in _CODE)
        and recipe.data.source in [other.data.source for other in known]
        and all(_at(recipe, key) in [_at(other, key) for other in known] for key in _NAMING)
        and all(any(one in _at(other, key) for other in known) for key in _LISTS for one in _at(recipe, key))
    )


def mended(values: dict[str, Any]) -> tuple[Recipe | None, frozenset[str]]:
    """The recipe with what is wrong in itself left out or replaced, to look at the rest of it.

    Args:
        values: recipe as read, not valid; left untouched.

    Returns:
        A valid recipe, None where too little is left; and the keys at which another recipe's values stand.
    """
    values = copy.deepcopy(values)
    spare = shipped("digits")
    replaced: set[str] = set()
    for _ in range(4):  # what was left out may be missing, a section without it may not hold together
        try:
            return Recipe.model_validate(values), frozenset(replaced)
        except ValidationError as error:
            entries: dict[tuple[str, ...], set[int]] = {}  # places of wrong entries, by the key of their list
            for problem in error.errors():
                path, place = _place(problem["loc"])
                if not path:
                    return None, frozenset()
                if place is None:
                    replaced |= _replace(values, spare, path)
                else:
                    entries.setdefault(path, set()).add(place)
            for path, places in entries.items():
                _leave_out(values, path, places)
    return None, frozenset()


def _place(loc: Sequence[str | int]) -> tuple[tuple[str, ...], int | None]:
    """The key at which something is wrong; where that is in a list, the list's key and the place in it."""
    path: list[str] = []
    for step in loc:
        if isinstance(step, int):
            return tuple(path), step
        path.append(step)
    return tuple(path), None


def _leave_out(values: Any, path: Sequence[str], places: Collection[int]) -> None:
    """Takes the entries at these places out of the list at a key."""
    *sections, last = path
    for section in sections:
        values = values.get(section) if isinstance(values, dict) else None
    if isinstance(values, dict) and isinstance(values.get(last), list | tuple):
        values[last] = [one for place, one in enumerate(values[last]) if place not in places]


def _replace(values: Any, spare: Any, path: Sequence[str]) -> set[str]:
    """Puts at a key what another recipe has there, or nothing; says which keys it changed."""
    *sections, last = path
    for section in sections:
        values, spare = values.get(section), spare.get(section, {})
        if not isinstance(values, dict) or not isinstance(spare, dict):
            return set()
    key = ".".join(path)
    before = values.pop(last, None)
    changed = {key, *(name for name, _ in fields() if name.startswith(f"{key}."))}
    if holds_parts(path):  # without any, the section holds together too
        values[last] = []
        return changed
    if last not in spare:
        return changed
    values[last] = copy.deepcopy(spare[last])
    if isinstance(before, dict) and isinstance(values[last], dict):
        # A section that does not hold together: its parts are looked at.
        kept = {
            name: one
            for name, one in before.items()
            if holds_part([*path, name]) or holds_parts([*path, name])
        }
        values[last] |= kept
        return changed - {key, *(f"{key}.{name}" for name in kept)}
    return changed


def _at(recipe: Recipe, key: str) -> Any:
    found: Any = recipe
    for name in key.split("."):
        found = getattr(found, name)
    return found


def _folder() -> Any:
    return resources.files("runners.recipe")
