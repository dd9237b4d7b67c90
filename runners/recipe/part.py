"""A part as a recipe names it: its name alone, or a table of its name and its settings."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

KIND = "kind"


class Part(BaseModel):
    """A part and its settings; ``"delayed"`` stands for ``{ kind = "delayed" }``.

    Whether there is such a part, and whether it has these settings, its registry says (``recipe.check``): a
    recipe is read without loading the code of its parts.

    Attributes:
        kind: name of the part in its registry.
        settings: values by name, as TOML and JSON know them; what is left out has the part's default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    settings: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_recipe(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool):
            given = str(given)  # a folder may be called 2024
        if isinstance(given, str) and given:
            return {"kind": given, "settings": {}}
        if isinstance(given, dict) and isinstance(given.get(KIND), str) and given[KIND]:
            return {"kind": given[KIND], "settings": {k: _plain(v) for k, v in given.items() if k != KIND}}
        if isinstance(given, dict) and KIND in given:
            raise ValueError('the kind of a part is its name, as text: { kind = "NAME", ... }')
        if isinstance(given, dict):
            raise ValueError('this table names no part; give its kind too, as in { kind = "NAME", ... }')
        raise ValueError('write it as "NAME", or with settings as { kind = "NAME", setting = value }')

    @model_serializer
    def _to_recipe(self) -> str | dict[str, Any]:
        return {KIND: self.kind, **self.settings} if self.settings else self.kind

    def __str__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.kind} ({settings})" if settings else self.kind


def part(kind: str, **settings: object) -> Part:
    """A part by name, with settings."""
    return Part.model_validate({KIND: kind, **settings})


def _plain(value: Any) -> Any:
    """Tuples as lists, so that what is read back is equal to what was written."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return value
