"""Records to JSON and back, checked field by field against their annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

R = TypeVar("R", bound="Record")


@dataclass(frozen=True, slots=True)
class Record:
    """What records have in common: frozen dataclasses of JSON values, tuples and other records.

    A record that is a file of its own has a field ``schema`` whose default is the form that this version
    reads and writes; another form is refused as such, not as a list of odd fields.
    """

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object; tuples become lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls: type[R], value: Any) -> R:
        """The record that ``to_json`` wrote.

        Raises:
            ValueError: not an object, of another schema, or a field missing, unknown or of another type; the
                message names it.
        """
        return _record(cls, value, cls.__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _record(kind: type[R], value: Any, where: str) -> R:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a JSON object, not {value!r:.80}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if "schema" in fields and value.get("schema", fields["schema"].default) != fields["schema"].default:
        raise ValueError(
            f"{where} is of schema {value['schema']!r:.20}, but this version of Quarry reads schema "
            f"{fields['schema'].default}; use the version that wrote it"
        )
    needed = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in needed if name not in value]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    if surplus := sorted(set(value) - set(fields)):
        raise ValueError(f"{where} has no field {', '.join(surplus)}; its fields are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _typed(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    """The value as its annotation wants it; a ValueError that names the place where it cannot be."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _typed(next(item for item in arguments if item is not type(None)), value, where)
    if origin is dict:
        items = _expect(dict, value, where, "an object").items()
        return {key: _typed(arguments[1], item, f"{where}.{key}") for key, item in items}
    if origin is tuple:
        return _tuple(arguments, value, where)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record(hint, value, where)
    return _scalar(hint, value, where)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = list(value) if isinstance(value, tuple) else _expect(list, value, where, "a list")
    if arguments[-1] is not Ellipsis and len(items) != len(arguments):
        raise ValueError(f"{where} is a list of {len(arguments)}, not of {len(items)}")
    wanted = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
    return tuple(
        _typed(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(wanted, items, strict=True))
    )


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    if isinstance(value, bool) and hint is not bool:
        raise ValueError(f"{where} is {words[hint]}, not {value!r}")
    return _expect(hint, value, where, words[hint])


def _expect(kind: type, value: Any, where: str, words: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where} is {words}, not {value!r:.80}")
    return value
