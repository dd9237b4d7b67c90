"""The mixers known by name, each with the choices and settings that it reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator
from torch import nn

from results.names import unknown
from results.registry import Registry, Setting, settings_of
from search_spaces.choice import Choice, Value

Options = Mapping[str, Mapping[str, Any]]
"""Values of a mixer's choices, and its settings, by mixer and key."""

_GIVEN_BY_THE_SPACE = ("channels", "activation", "mixer", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """A token mixer, by name.

    Attributes:
        name: name in recipes and values; also part of its parameters' names, so mixers never share weights.
        make: makes a module that turns (B, C, H, W) into (B, C, H, W). It is given ``channels``, the mixer's
            choices and settings by name, and ``activation`` where it has that parameter. Settings are its
            other keyword-only parameters. None stands for no mixer at all.
        choices: searched decisions of the mixer's own, without parents. The space makes a choice
            ``stageI.blockJ.NAME`` of each, active where the block has this mixer; mixers of one stage that
            declare a choice of the same name and role share it.
        channel_multiple: widths it can take are multiples of this, or of the setting of this name.
        acting: turns values of its choices, by name, and the shape (C, H, W) it stands at into those that
            compute the same there and stand for all that do, so that equal networks are known as equal. None
            leaves them as they are.
        fixed: settings that were given, by name.

    Raises:
        ValueError: a choice that ``make`` does not take, that has a parent, or that is called as a choice of
            every block is.
    """

    name: str
    make: Callable[..., nn.Module] | None
    choices: tuple[Choice, ...] = ()
    channel_multiple: int | str = 1
    acting: Callable[[Mapping[str, Value], tuple[int, ...]], Mapping[str, Value]] | None = None
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for choice in self.choices:
            where = f"mixer {self.name!r}, choice {choice.name!r}"
            if choice.parent or choice.name in _GIVEN_BY_THE_SPACE or not choice.name.isidentifier():
                raise ValueError(
                    f"{where}: a mixer's choice is called by one word, has no parent, and is none of "
                    f"{', '.join(_GIVEN_BY_THE_SPACE)}"
                )
            if not self._takes(choice.name):
                raise ValueError(f"{where}: its make has no parameter of that name")

    def _takes(self, parameter: str) -> bool:
        if self.make is None:
            return False
        parameters = inspect.signature(self.make).parameters
        return parameter in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())

    def __call__(self, channels: int, *, activation: str, **values: Value) -> nn.Module:
        """The module of these sizes, freshly initialised.

        Args:
            channels: width of the block.
            activation: name of the space's activation, for mixers that use one.
            values: choices and settings by name.
        """
        if self.make is None:
            raise ValueError(f"mixer {self.name!r} has nothing to build")
        given = {"activation": activation} if "activation" in inspect.signature(self.make).parameters else {}
        return self.make(channels, **given, **values)

    @property
    def settings(self) -> dict[str, Setting]:
        """What may be given to it: the values of each of its choices, and its settings proper."""
        known = {} if self.make is None else settings_of(self.make)
        known.pop("activation", None)
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
        return int(self.fixed.get(self.channel_multiple, self.settings[self.channel_multiple].default))

    def configured(self, options: Mapping[str, Any]) -> Mixer:
        """The mixer with these values of its choices and these settings; the options are right."""
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


MIXERS: Registry[Mixer] = Registry("mixer")


def register_mixer(entry: Mixer) -> None:
    """Adds a mixer, which has to obey the prefix rule: what channel j does never depends on the active width.

    Raises:
        ValueError: the name is taken.
    """
    MIXERS.add(entry.name, entry)


def mixer(name: str) -> Mixer:
    """The mixer of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    return MIXERS[name].part


def option_problems(options: Options, mixers: Iterable[str]) -> list[str]:
    """Everything that is wrong with the options of a space's mixers, each line beginning with mixer and key.

    Args:
        options: options by mixer and key.
        mixers: names of the mixers that the space has.
    """
    present = dict.fromkeys(mixers)
    found = []
    for name, given in options.items():
        if name not in present:
            found.append(f"{name}: {unknown('mixer', name, present)}" + _elsewhere(name))
        elif not isinstance(given, Mapping):
            found.append(f"{name} = {given!r}: give its options by name, such as {name}.KEY = VALUE")
        elif name in MIXERS:  # an unknown one is the problem of whoever lists it
            found += [f"{name}.{problem}" for problem in MIXERS[name].problems(given)]
    return found


def _elsewhere(name: str) -> str:
    return f" Mixer {name!r} exists, but this space does not have it." if name in MIXERS else ""


def configured(mixers: Sequence[str], options: Options) -> tuple[Mixer, ...]:
    """The mixers of a stage with their options; values given to one mixer for a shared choice hold for all.

    Raises:
        ValueError: everything that is wrong with the options, or two mixers that share a choice and disagree
            about its role or values.
    """
    whole = shared_out(mixers, options)
    return tuple(mixer(name).configured(whole[name]) for name in mixers)


def shared_out(mixers: Sequence[str], options: Options) -> Options:
    """The options of every mixer, those for shared choices that another was given among them.

    Raises:
        ValueError: everything that is wrong with the options.
    """
    found = [mixer(name) for name in mixers]
    refuse(option_problems(options, mixers))
    given: dict[str, Any] = {}
    for one in found:
        own = options.get(one.name, {})
        given |= {choice.name: own[choice.name] for choice in one.choices if choice.name in own}
    whole: dict[str, Mapping[str, Any]] = {}
    for one in found:
        shared = {choice.name: given[choice.name] for choice in one.choices if choice.name in given}
        whole[one.name] = {**shared, **options.get(one.name, {})}
    refuse(option_problems(whole, mixers))
    return whole


def refuse(problems: Sequence[str]) -> None:
    """Raises a ``ValueError`` that says all of them, if there are any."""
    if problems:
        raise ValueError("mixer options: " + "; ".join(problems))


def choices_of(mixers: Collection[Mixer]) -> dict[str, tuple[Choice, tuple[str, ...]]]:
    """The choices that mixers declare, by name, each with the names of the mixers that read it.

    Raises:
        ValueError: two mixers mean different things by one name.
    """
    found: dict[str, tuple[Choice, tuple[str, ...]]] = {}
    for one in mixers:
        for choice in one.choices:
            known, readers = found.get(choice.name, (choice, ()))
            if (known.role, known.values) != (choice.role, choice.values):
                raise ValueError(
                    f"mixers {readers[0]!r} and {one.name!r} share the choice {choice.name!r} and disagree: "
                    f"{known.values} as a {known.role}, {choice.values} as a {choice.role}. Give both the "
                    f"same values (options of a mixer), or call the choice of one of them otherwise"
                )
            found[choice.name] = (known, (*readers, one.name))
    return found


register_mixer(Mixer(name="identity", make=None))
