"""Recipes: what a run does, as one TOML file, validated as a whole before any work starts."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.names import unknown
from runners.recipe.check import check_parts
from runners.recipe.override import override
from runners.recipe.paths import anchored
from runners.recipe.problems import problems_of
from runners.recipe.schema import Recipe


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


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
    what = f"recipe {name_or_path}"
    return check_parts(validate(values, what), what, folders)


def revise(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` overrides applied.

    Raises:
        ValueError: as ``load_recipe``.
    """
    values = recipe.model_dump(mode="json")
    for text in overrides:
        override(values, text)
    what = f"recipe {recipe.name} with these changes"
    return check_parts(validate(values, what), what, [Path.cwd()])


def validate(values: dict[str, Any], what: str) -> Recipe:
    """The recipe these values make, its paths absolute. Whether its parts exist, ``check_parts`` says.

    Raises:
        ValueError: everything that is wrong with them, one line each.
    """
    try:
        return Recipe.model_validate(anchored(values, Path.cwd()))
    except ValidationError as error:
        problems = [f"  {problem}" for problem in problems_of(error)]
        raise ValueError("\n".join([f"{what} is not valid:", *problems])) from None


def _folder() -> Any:
    return resources.files("runners.recipe")


def _read(name_or_path: str) -> tuple[dict[str, Any], list[Path]]:
    """The values of a recipe, and the folders that paths in it may begin at."""
    path = Path(name_or_path).expanduser()
    if name_or_path in recipe_names():  # whatever else is called so in this folder
        content = (_folder() / f"{name_or_path}.toml").read_bytes()
    elif path.is_file():
        content = path.read_bytes()
    elif path.suffix == ".toml":
        raise FileNotFoundError(f"no recipe at {path}. Recipes by name: {', '.join(recipe_names())}")
    else:
        raise ValueError(unknown("recipe", name_or_path, recipe_names()) + " A path ends in .toml.")
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name_or_path} is not valid TOML: {error}") from None
    if name_or_path in recipe_names():
        return values, [Path.cwd()]
    folder = path.resolve().parent
    return anchored(values, folder), [folder, Path.cwd()]
