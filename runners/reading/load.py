"""Recipes: what a run does, as one TOML file, validated as a whole before any work starts."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.names import unknown
from runners.reading.check import load_parts, located, part_problems, unless_replaced
from runners.recipe.override import override
from runners.recipe.paths import anchored
from runners.recipe.problems import problems_of
from runners.recipe.schema import Recipe
from runners.recipe.shipped import familiar, mended, recipe_names, shipped

__all__ = ["load_recipe", "recipe_names", "recipe_of", "revise", "validate"]


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), seed: int | None = None) -> Recipe:
    """Reads a recipe by name or path, applies ``key=value`` overrides, and validates the whole.

    Args:
        name_or_path: one of ``recipe_names()``, or the path of a TOML file.
        overrides: ``section.key=value``, the value as TOML or plain text.
        seed: replaces the recipe's.

    Raises:
        ValueError: everything that is wrong, each with its key and what would be right.
        FileNotFoundError: there is no such file.
    """
    values, folders = _read(name_or_path)
    for text in overrides:
        override(values, text)
    if seed is not None:
        values["seed"] = seed
    return _checked(values, f"recipe {name_or_path}", folders)


def recipe_of(given: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that Python code means: a name, a path, the values of one, or one that was read.

    Raises:
        ValueError: as ``load_recipe``.
    """
    if isinstance(given, Recipe):
        return revise(given, overrides) if overrides else given
    if isinstance(given, Mapping):
        values = copy.deepcopy(dict(given))
        for text in overrides:
            override(values, text)
        return _checked(values, "this recipe", [Path.cwd()])
    return load_recipe(str(given), overrides)


def revise(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` overrides applied.

    Raises:
        ValueError: as ``load_recipe``.
    """
    values = recipe.model_dump(mode="json")
    for text in overrides:
        override(values, text)
    return _checked(values, f"recipe {recipe.name} with these changes", [Path.cwd()])


def validate(values: dict[str, Any], what: str) -> Recipe:
    """The recipe these values make, its paths absolute; its parts are not looked at.

    Raises:
        ValueError: everything that is wrong with them, one line each.
    """
    try:
        return Recipe.model_validate(anchored(values, Path.cwd()))
    except ValidationError as error:
        raise _refusal(what, problems_of(error)) from None


def _checked(values: dict[str, Any], what: str, folders: Sequence[Path]) -> Recipe:
    """The recipe these values make, valid in itself and in all that it names.

    Raises:
        ValueError: everything that is wrong, one line each.
    """
    values = anchored(values, Path.cwd())
    problems: list[str] = []
    recipe: Recipe | None
    replaced: frozenset[str] = frozenset()
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems = problems_of(error)
        recipe, replaced = mended(values)
        if recipe is None or familiar(recipe):  # a mistyped key is told without loading PyTorch
            raise _refusal(what, problems) from None
    failing = load_parts(recipe)
    recipe = located(recipe, folders)
    found = part_problems(recipe, complete=not failing)
    if problems := [*problems, *failing, *unless_replaced(found, replaced)]:
        raise _refusal(what, problems)
    return recipe


def _refusal(what: str, problems: Sequence[str]) -> ValueError:
    return ValueError("\n".join([f"{what} is not valid:", *(f"  {problem}" for problem in problems)]))


def _read(name_or_path: str) -> tuple[dict[str, Any], list[Path]]:
    """The values of a recipe, and the folders that paths in it may begin at."""
    path = Path(name_or_path).expanduser()
    if name_or_path in recipe_names():  # whatever else is called so in this folder
        return shipped(name_or_path), [Path.cwd()]
    if path.suffix != ".toml" and not path.is_file():
        raise ValueError(unknown("recipe", name_or_path, recipe_names()) + " A path ends in .toml.")
    if not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}. Recipes by name: {', '.join(recipe_names())}")
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name_or_path} is not valid TOML: {error}") from None
    folder = path.resolve().parent
    return anchored(values, folder), [folder, Path.cwd()]
