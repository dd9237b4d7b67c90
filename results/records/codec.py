"""Records to JSON and back, checked field by field against their annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

R = TypeVar("R", bound="Record")

Value = bool | int | float | str
"""The value of a choice or a size, as JSON holds it."""

_WORDS = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Record:
    """The base of all records: frozen dataclasses of JSON values, tuples, dicts and other records.

    A record that is a file of its own has a field ``schema`` whose default is the form that this version
    reads and writes; another form is refused as such, not as a list of odd fields.
    """

    def to_json(self) -> Any:
        """The record as a JSON object; tuples become lists."""
        return {name: _plain(getattr(self, name)) for name in _fields(type(self))}

    @classmethod
    def from_json(cls: type[R], value: Any) -> R:
        """The record that ``to_json`` wrote.

        Raises:
            ValueError: the value is not an object, is of another schema, or a field is missing, unknown or of
                another type; the message names it.
        """
        return cls._read(value, cls.__name__)

    @classmethod
    def _read(cls: type[R], value: Any, where: str) -> R:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is a JSON object, not {value!r:.80}")
        fields, hints = _fields(cls), _hints(cls)
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
        return cls(**{name: _typed(hints[name], item, f"{where}.{name}") for name, item in value.items()})


@dataclass(frozen=True, slots=True)
class Wrapped(Record):
    """A record of one field that is a file by itself: its JSON is that of the field, without a name."""

    def to_json(self) -> Any:
        """The field as a JSON value."""
        (name,) = _fields(type(self))
        return _plain(getattr(self, name))

    @classmethod
    def _read(cls: type[R], value: Any, where: str) -> R:
        ((name, hint),) = _hints(cls).items()
        return cls(**{name: _typed(hint, value, where)})


def _fields(kind: type[Record]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


_KNOWN: dict[type[Record], dict[str, Any]] = {}  # resolving annotations takes longer than reading a record


def _hints(kind: type[Record]) -> dict[str, Any]:
    if kind not in _KNOWN:
        hints = typing.get_type_hints(kind)
        _KNOWN[kind] = {name: hints[name] for name in _fields(kind)}
    return _KNOWN[kind]


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _typed(hint: Any, value: Any, where: str) -> Any:
    """The value as its annotation wants it; a ValueError that names the place where it cannot be."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _union(arguments, value, where)
    if origin is dict:
        items = _expect(dict, value, where, "an object")
        if set(map(type, items.values())) <= set(typing.get_args(arguments[1]) or (arguments[1],)):
            return dict(items)  # thousands of archs and scores: no place is named where all is well
        return {key: _typed(arguments[1], item, f"{where}.{key}") for key, item in items.items()}
    if origin is tuple:
        return _tuple(arguments, value, where)
    if issubclass(hint, Record):
        return hint._read(value, where)
    return _scalar(hint, value, where)


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """One kind that may be None, or several kinds of plain values."""
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return _typed(others[0], value, where)
    if type(value) not in others:
        raise ValueError(f"{where} is {' or '.join(_WORDS[kind] for kind in others)}, not {value!r:.80}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = list(value) if isinstance(value, tuple) else _expect(list, value, where, "a list")
    if kinds[-1] is not Ellipsis and len(items) != len(kinds):
        raise ValueError(f"{where} is a list of {len(kinds)}, not of {len(items)}")
    wanted = [kinds[0]] * len(items) if kinds[-1] is Ellipsis else list(kinds)
    return tuple(
        _typed(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(wanted, items, strict=True))
    )


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(value, bool) and hint is not bool:
        raise ValueError(f"{where} is {_WORDS[hint]}, not {value!r}")
    return _expect(hint, value, where, _WORDS[hint])


def _expect(kind: type, value: Any, where: str, words: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where} is {words}, not {value!r:.80}")
    return value
