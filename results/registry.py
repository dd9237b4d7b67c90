"""Parts by name: one registry for each kind of part, and one way to check the settings a recipe gives them.

A *part* is a function or class that is registered under a name: a mixer, a training rule, a searcher, a
compression step, a runtime. Its *settings* are its keyword-only parameters (the fields of a keyword-only
dataclass); what it takes by position is handed to it at work. So a part brings its own settings, typed and
documented where they are used, and nothing else has to be told of them.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from results.names import did_you_mean, unknown

P = TypeVar("P", bound=Callable[..., Any])

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a part.

    Attributes:
        name: keyword in Python and key in a recipe.
        annotation: type, perhaps ``Annotated`` with a range.
        default: value where none is given; ``REQUIRED`` where one must be.
        text: effect and unit, from the part's docstring.
    """

    name: str
    annotation: Any
    default: Any
    text: str

    def check(self, value: object) -> object:
        """The value as the annotation wants it.

        Raises:
            ValueError: another type, or out of range; says what would be right.
        """
        if not _finite(value):
            raise ValueError("Input should be a finite number")
        try:
            checked = TypeAdapter(self.annotation).validate_python(value)
        except ValidationError as error:
            raise ValueError(_nearest(error)) from None
        except PydanticSchemaGenerationError:  # a type of the part's own, which only Python can give
            return value
        refuse_converted(value, checked)
        return checked


def refuse_converted(given: object, checked: object) -> None:
    """Refuses what pydantic made a number or a boolean of, and nobody wrote as one.

    Args:
        given: value as written, perhaps with values inside.
        checked: what was made of it.

    Raises:
        ValueError: text or a boolean for a number, text or a number for a boolean.
    """
    if isinstance(checked, bool | int | float):
        wanted = "boolean" if isinstance(checked, bool) else "number"
        if isinstance(given, bool) != isinstance(checked, bool) or isinstance(given, str | bytes):
            raise ValueError(f"Input should be a valid {wanted}, {_written(given)}")
    elif isinstance(checked, Mapping) and isinstance(given, Mapping) and len(given) == len(checked):
        for one, other in zip(given.values(), checked.values(), strict=True):
            refuse_converted(one, other)
    elif isinstance(checked, list | tuple) and isinstance(given, list | tuple):
        for one, other in zip(given, checked, strict=False):
            refuse_converted(one, other)


def _written(value: object) -> str:
    """What a value is, beside what was wanted."""
    if isinstance(value, str | bytes):
        return "without quotes"
    return "not true or false" if isinstance(value, bool) else "true or false"


def _finite(value: object) -> bool:
    """Whether no number in a value, also deep inside, is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_finite, value))


def _nearest(error: ValidationError) -> str:
    """What was wrong deepest inside: of a type that may be one of several, nearest to what was meant."""
    problem = max(error.errors(), key=lambda one: len(one["loc"]))
    return str(problem["msg"]).removeprefix("Value error, ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered(Generic[P]):
    """A registered part.

    Attributes:
        name: name that recipes call it by.
        part: function or class.
        needs: things it cannot work without (``gradients``, ``sizes``), for whoever calls it to provide.
    """

    name: str
    part: P
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        text = inspect.getdoc(self.part.func if isinstance(self.part, partial) else self.part) or ""
        return text.partition("\n\n")[0].replace("\n", " ")

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings by name, in the order in which they are written."""
        return settings_of(self.part)

    def problems(self, options: Mapping[str, object]) -> list[str]:
        """Everything that is wrong with the options given to it, each line beginning with the option."""
        known, found = self.settings, []
        for name, value in options.items():
            if name not in known:
                valid = f"Its settings: {', '.join(known)}." if known else "It has none."
                found.append(
                    f"{name}: {self.name!r} has no setting {name!r}.{did_you_mean(name, known)} {valid}"
                )
                continue
            try:
                known[name].check(value)
            except ValueError as error:
                found.append(f"{name} = {value!r}: {error}")
        missing = [name for name, one in known.items() if one.default is REQUIRED and name not in options]
        found += [f"{name}: {self.name!r} needs this and has no default" for name in missing]
        return found

    def configured(self, options: Mapping[str, object]) -> P:
        """The part with these settings filled in; it still takes what it takes by position.

        Raises:
            ValueError: everything that is wrong with the options.
        """
        if problems := self.problems(options):
            raise ValueError(f"{self.name}: {'; '.join(problems)}")
        known = self.settings
        checked = {name: known[name].check(value) for name, value in options.items()}
        return typing.cast(P, partial(self.part, **checked)) if checked else self.part


class Registry(Generic[P]):
    """The parts of one kind.

    Args:
        kind: thing that its names stand for, in messages: ``mixer``, ``training rule``.

    Example:
        >>> rules = Registry[Callable[..., list]]("training rule")
        >>> @rules.register("twice")
        ... def twice(moment, *, factor: float = 2.0):
        ...     '''Runs everything twice.'''
        >>> rules.configured("twice", {"factor": 3})  # doctest: +ELLIPSIS
        functools.partial(<function twice at ...>, factor=3.0)
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Registered[P]] = {}

    def register(self, name: str, *, needs: Iterable[str] = ()) -> Callable[[P], P]:
        """Decorator that makes a part known by name.

        Args:
            name: name that recipes call it by.
            needs: things it cannot work without.

        Raises:
            ValueError: the name is taken by another part.
        """

        def registered(part: P) -> P:
            self.add(name, part, needs=needs)
            return part

        return registered

    def add(self, name: str, part: P, *, needs: Iterable[str] = ()) -> None:
        """``register`` as a call, for parts that are made and not written.

        Raises:
            ValueError: the name is taken by another part.
        """
        known = self._entries.get(name)
        if known is not None and known.part != part and not _written_again(known.part, part):
            raise ValueError(
                f"there are two parts named {name!r}: a {self.kind} of that name is registered already, by "
                f"{_where(known.part)}; choose another name for the one in {_where(part)}"
            )
        self._entries[name] = Registered(name=name, part=part, needs=frozenset(needs))

    def __getitem__(self, name: str) -> Registered[P]:
        """The entry of that name.

        Raises:
            ValueError: there is none; names the nearest.
        """
        if name not in self._entries:
            raise ValueError(unknown(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def problems(self, name: str, options: Mapping[str, object], key: str) -> list[str]:
        """Everything that is wrong with a part that a recipe asks for, a line each.

        Args:
            name: name of the part.
            options: its settings.
            key: key of the recipe at which it stands; begins each line.
        """
        if name not in self._entries:
            return [f"{key}: {unknown(self.kind, name, self._entries)}"]
        return [f"{key}.{problem}" for problem in self._entries[name].problems(options)]

    def configured(self, name: str, options: Mapping[str, object]) -> P:
        """The part of that name with these settings filled in.

        Raises:
            ValueError: no such part, or everything that is wrong with the options.
        """
        return self[name].configured(options)


def settings_of(part: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a function or class: its keyword-only parameters, less those that a partial fixes.

    A part that is made and not written, such as a mixer, says its own in an attribute ``settings``.
    """
    own = getattr(part, "settings", None)
    if isinstance(own, Mapping):
        return dict(own)
    callee = part.func if isinstance(part, partial) else part
    texts = _texts(inspect.getdoc(callee) or "")
    fixed = part.keywords if isinstance(part, partial) else {}
    return {
        name: Setting(
            name=name,
            annotation=_annotation(callee, one),
            default=one.default,
            text=texts.get(name, ""),
        )
        for name, one in inspect.signature(part).parameters.items()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and name not in fixed
    }


def _annotation(callee: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The type of a parameter; Any where there is none, or one that only type checkers can look up."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    owners = callee.__mro__ if inspect.isclass(callee) else (callee,)
    places = [vars(sys.modules[owner.__module__]) for owner in owners if owner.__module__ in sys.modules]
    function = inspect.unwrap(callee.__init__ if inspect.isclass(callee) else callee)
    # A module that was loaded by its path is in no list of modules, but its functions know it.
    for names in [getattr(function, "__globals__", {}), *places]:  # inherited fields: those of their class
        try:
            holder = SimpleNamespace(__annotations__={"it": parameter.annotation})
            return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]
        except NameError:
            continue
    return Any


_SECTION = re.compile(r"^(Args|Attributes):\n((?:(?:[ \t]+.*)?\n?)*)", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def _texts(docstring: str) -> dict[str, str]:
    """What a docstring says of each parameter in its sections ``Args`` and ``Attributes``."""
    return {
        name: " ".join(text.split())
        for _, body in _SECTION.findall(docstring)
        for name, text in _ITEM.findall(body)
    }


def _written_again(known: object, part: object) -> bool:
    """Whether a part is another one's next version: a file that changed since it was read brings it anew."""
    return _origin(part) is not None and _origin(known) == _origin(part)


def _origin(part: object) -> tuple[str, str] | None:
    """The file in which a part is written and its name there; None where that is not known."""
    callee: Any = part.func if isinstance(part, partial) else getattr(part, "make", None) or part
    members = [callee, *vars(callee).values()] if inspect.isclass(callee) else [callee]
    codes = [code for one in members if (code := getattr(one, "__code__", None)) is not None]
    files = [code.co_filename for code in codes if not code.co_filename.startswith("<")]
    return (files[0], callee.__qualname__) if files else None


def _where(part: object) -> str:
    callee = part.func if isinstance(part, partial) else getattr(part, "make", None) or part
    return str(getattr(callee, "__module__", None) or type(callee).__module__)
