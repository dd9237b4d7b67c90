"""An operation that a space knows by name, with the choices and settings that it reads."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator
from torch import nn

from results.registry import Setting, settings_of
from search_spaces.choice import Choice, Value

Options = Mapping[str, Mapping[str, Any]]
"""Values of an operation's choices, and its settings, by operation and key."""

Self = TypeVar("Self", bound="Operation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A mixer or a block, by name.

    Attributes:
        name: name in recipes and values; also part of its parameters' names, so two never share weights.
        make: makes the module. It is given what the space decides (``GIVEN``), the choices and settings by
            name, and ``activation`` where it has that parameter. Settings are its other keyword-only
            parameters. None stands for nothing at all.
        choices: searched decisions of its own, without parents; active where the operation is chosen.
        channel_multiple: widths it can take are multiples of this, or of the setting or all values of the
            choice of this name.
        acting: turns values of its choices, by name, and the shape (C, H, W) it stands at into those that
            compute the same there and stand for all that do, so that equal networks are known as equal. None
            leaves them as they are.
        fixed: settings that were given, by name.

    Raises:
        ValueError: a choice that ``make`` does not take, that has a parent, or that is called as what the
            space decides is.
    """

    KIND: ClassVar[str] = "operation"
    """What it is in messages."""
    GIVEN: ClassVar[tuple[str, ...]] = ()
    """What the space gives to ``make``."""
    TAKEN: ClassVar[tuple[str, ...]] = ()
    """What the space calls choices of its own."""

    name: str
    make: Callable[..., nn.Module] | None
    choices: tuple[Choice, ...] = ()
    channel_multiple: int | str = 1
    acting: Callable[[Mapping[str, Value], tuple[int, ...]], Mapping[str, Value]] | None = None
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        not_free = (*self.GIVEN, *self.TAKEN)
        for choice in self.choices:
            where = f"{self.KIND} {self.name!r}, choice {choice.name!r}"
            if choice.parent or choice.name in not_free or not choice.name.isidentifier():
                raise ValueError(
                    f"{where}: a {self.KIND}'s choice is called by one word, has no parent, and is none of "
                    f"{', '.join(not_free)}"
                )
            if not self._takes(choice.name):
                raise ValueError(f"{where}: its make has no parameter of that name")

    def _takes(self, parameter: str) -> bool:
        if self.make is None:
            return False
        parameters = inspect.signature(self.make).parameters
        return parameter in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())

    def __call__(self, *sizes: int, activation: str, **values: Value) -> nn.Module:
        """The module of these sizes, freshly initialised.

        Args:
            sizes: what ``make`` takes by position: width or widths.
            activation: name of the space's activation, for those that use one.
            values: choices, settings and what else the space decides, by name.

        Raises:
            ValueError: it makes nothing.
        """
        if self.make is None:
            raise ValueError(f"{self.KIND} {self.name!r} has nothing to build")
        given = {"activation": activation} if "activation" in inspect.signature(self.make).parameters else {}
        return self.make(*sizes, **given, **values)

    def values_at(self, values: Mapping[str, Value], shape: tuple[int, ...]) -> dict[str, Value]:
        """The values of its choices that stand for all that compute the same at this shape (C, H, W)."""
        return dict(values if self.acting is None else self.acting(values, shape))

    @property
    def settings(self) -> dict[str, Setting]:
        """What may be given to it: the values of each of its choices, and its settings proper."""
        known = {} if self.make is None else settings_of(self.make)
        known = {name: one for name, one in known.items() if name not in self.GIVEN}
        for choice in self.choices:
            one = known.get(choice.name)
            known[choice.name] = Setting(
                name=choice.name,
                annotation=_values_of(choice, one.annotation if one else Any),
                default=choice.values,
                text=one.text if one else "",
            )
        return known

    @property
    def multiple(self) -> int:
        """The number that its widths are multiples of."""
        if isinstance(self.channel_multiple, int):
            return self.channel_multiple
        for choice in self.choices:
            if choice.name == self.channel_multiple:
                return math.lcm(*(int(value) for value in choice.values))
        return int(self.fixed.get(self.channel_multiple, self.settings[self.channel_multiple].default))

    def refuse_widths(self, widths: tuple[int, ...]) -> None:
        """Refuses widths that it cannot take.

        Raises:
            ValueError: says which, and what they have to be multiples of.
        """
        wrong = [width for width in widths if width % self.multiple]
        if wrong:
            raise ValueError(
                f"{self.KIND} {self.name!r} needs widths that are multiples of {self.multiple}, got {wrong}"
            )

    def configured(self: Self, options: Mapping[str, Any]) -> Self:
        """It with these values of its choices and these settings; the options are right."""
        known = self.settings
        given = {key: known[key].check(value) for key, value in options.items()}
        choices = tuple(
            replace(one, values=cast(tuple[Value, ...], given.pop(one.name, one.values)))
            for one in self.choices
        )
        changed = {key: cast(Value, value) for key, value in given.items() if value != known[key].default}
        return replace(self, choices=choices, fixed={**self.fixed, **changed})


def _values_of(choice: Choice, annotation: Any) -> Any:
    """The type of a choice's values: a list of what ``make`` takes, or one value; in ascending order."""

    def listed(value: object) -> object:
        return value if isinstance(value, list | tuple) else (value,)

    def ordered(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("give one value or more, none twice")
        if not choice.categorical and list(values) != sorted(values):
            raise ValueError("values have to ascend")
        return values

    return Annotated[tuple[annotation, ...], BeforeValidator(listed), AfterValidator(ordered)]
