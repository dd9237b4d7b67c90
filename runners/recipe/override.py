"""``--set key=value``: one key of a recipe changed before it is validated."""

from __future__ import annotations

import tomllib
from typing import Any

from results.names import unknown
from runners.recipe.keys import holds_part, holds_parts, standing
from runners.recipe.part import KIND
from runners.recipe.schema import with_own_steps

# Keys of which a recipe gives one: setting it takes the place of the other.
_EITHER = {
    "search.latency_ms": ("speedup",),
    "search.speedup": ("latency_ms",),
    "space.module": ("preset", "network"),
    "space.network": ("preset", "module"),
    "space.preset": ("module", "network"),
}


def override(values: dict[str, Any], text: str) -> None:
    """Applies ``section.key=value`` to a recipe's values, in place; the value is TOML or plain text.

    A key of a part sets one of its settings: ``train.rule.delay=0.4``. In a list of parts the part's name
    says which: ``compress.steps.prune.keep=[0.5]``.

    Raises:
        ValueError: it is written otherwise, or goes through a value that is no section.
    """
    key, equals, given = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ValueError(f"--set {text!r}: write it as key=value, for instance search.latency_ms=0.5")
    try:
        value = tomllib.loads(f"value = {given}")["value"]
    except tomllib.TOMLDecodeError:
        value = given.strip()  # a bare word, a path
    *sections, last = key.split(".")
    if sections[:2] == ["compress", "steps"]:
        values.update(with_own_steps(values))
    here: Any = values
    for depth, section in enumerate(sections, 1):
        here = _inside(here, section, tuple(sections[:depth]), text)
    if isinstance(here, list):  # of parts, and this is the name of one
        here[_place(here, last, text)] = value
        return
    here[last] = value
    for excluded in _EITHER.get(key, ()):
        here.pop(excluded, None)


def _inside(here: Any, name: str, path: tuple[str, ...], text: str) -> Any:
    """What stands under a name, as something that keys can be set in."""
    if isinstance(here, list):
        place = _place(here, name, text)
        here[place] = _table(here[place])
        return here[place]
    inner = here.get(name)
    if inner is None:  # what the schema has there by default, or a new section
        inner = standing(path)
    if holds_part(path) or (isinstance(inner, str) and KIND in here):  # a part, or one that a part is given
        inner = _table(inner)
    elif not isinstance(inner, dict) and not (isinstance(inner, list) and holds_parts(path)):
        raise ValueError(f"--set {text!r}: {name!r} is a value, not a section")
    here[name] = inner
    return inner


def _table(part: Any) -> dict[str, Any]:
    """A part, as a recipe may write it, as a table."""
    return part if isinstance(part, dict) else {KIND: part}


def _place(parts: list[Any], name: str, text: str) -> int:
    """The place in a list of the part of that name."""
    names = [_table(part).get(KIND) for part in parts]
    if name not in names:
        raise ValueError(f"--set {text!r}: {unknown('part of this list', name, names)}")
    if names.count(name) > 1:
        raise ValueError(
            f"--set {text!r}: {name!r} stands in this list more than once; set the list as a whole"
        )
    return names.index(name)
