"""The mixers known by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from results.registry import Registry
from search_spaces.choice import Choice
from search_spaces.operations.operation import Operation, Options
from search_spaces.operations.options import problems_of_options, refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer(Operation):
    """A token mixer: its ``make`` is given ``channels`` and makes what turns (B, C, H, W) into (B, C, H, W).

    The space makes a choice ``stageI.blockJ.NAME`` of each of its choices, active where the block has this
    mixer; mixers of one stage that declare a choice of the same name and role share it.
    """

    KIND: ClassVar[str] = "mixer"
    GIVEN: ClassVar[tuple[str, ...]] = ("channels", "activation")
    TAKEN: ClassVar[tuple[str, ...]] = ("mixer", "ratio")


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
    return problems_of_options(Mixer.KIND, options, mixers, known_mixer)


def known_mixer(name: str) -> Mixer | None:
    """The mixer of that name; None where there is none."""
    return MIXERS[name].part if name in MIXERS else None


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
    refuse(Mixer.KIND, option_problems(options, mixers))
    given: dict[str, Any] = {}
    for one in found:
        own = options.get(one.name, {})
        given |= {choice.name: own[choice.name] for choice in one.choices if choice.name in own}
    whole: dict[str, Mapping[str, Any]] = {}
    for one in found:
        shared = {choice.name: given[choice.name] for choice in one.choices if choice.name in given}
        whole[one.name] = {**shared, **options.get(one.name, {})}
    refuse(Mixer.KIND, option_problems(whole, mixers))
    return whole


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
