"""Groups of channels that a space can have fewer of, each proven by an experiment.

A network cut to the leading channels has to compute what the whole one computes with the others masked.
Where it does not, heads are tried: their size stays, their number follows, and so do the numbers that modules
keep of it. What fails alone may hold together, as an attention inside does with the width around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from compress.pruning.groups import OUTPUTS, Refused, in_words
from nas.from_network.cutting import Attribute, Place, Stretch, Stretches
from runners.adopting.experiment import Experiment
from runners.adopting.flows import Flow

_LONGEST_RUN = 256
_DIVISORS = 8  # tried, of those that a hard-coded size of a head may be
_STRETCHES = 32
_SIZES = re.compile("size|dim|width")  # in the name of what counts channels and not heads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Channels that a space can have fewer of.

    Attributes:
        name: name of the leading layer.
        flows: what goes together.
        run: channels that make a unit, the least that can go.
        attributes: numbers that modules keep of these channels.
        heads: whether units are heads of an attention.
    """

    name: str
    flows: tuple[Flow, ...]
    run: int
    attributes: tuple[Attribute, ...] = ()
    heads: bool = False

    @property
    def width(self) -> int:
        """Channels of the whole network."""
        return self.flows[0].width

    @property
    def units(self) -> int:
        """Units of the whole network."""
        return self.width // self.run

    def unit_of(self, flow: Flow, channels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The unit of each of a flow's channels."""
        return (channels % flow.width) // self.run


def layout(groups: Iterable[Group]) -> dict[Place, Stretches]:
    """What each dimension follows.

    Raises:
        ValueError: channels lie in an order in which what is left is no leading part.
    """
    entries: dict[Place, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    groups = list(groups)
    for at, group in enumerate(groups):
        for flow in group.flows:
            for place, channels in flow.places.items():
                owner, unit = entries.setdefault(
                    place, (np.full(len(channels), -1), np.zeros(len(channels), dtype=np.int64))
                )
                owner[channels >= 0] = at
                unit[channels >= 0] = group.unit_of(flow, channels[channels >= 0])
    return {place: _stretches(groups, *both, place[0]) for place, both in entries.items()}


def _stretches(
    groups: Sequence[Group], owner: NDArray[np.int64], unit: NDArray[np.int64], where: str
) -> Stretches:
    found: list[Stretch] = []
    at = 0
    while at < len(owner):
        rest = owner[at:]
        if owner[at] < 0:
            length = int(np.argmax(rest >= 0)) or len(rest)
            found.append(Stretch(group="", units=1, each=length))
        else:
            group = groups[owner[at]]
            same = (rest == owner[at]) & (unit[at:] == unit[at])
            each = len(same) if same.all() else int(np.argmin(same))
            expected = np.repeat(np.arange(group.units), each)
            length = len(expected)
            if not np.array_equal(unit[at : at + length], expected) or (rest[:length] != owner[at]).any():
                raise ValueError(f"they lie in {where} in an order of which no leading part can be kept")
            found.append(Stretch(group=group.name, units=group.units, each=each))
        at += length
        if len(found) > _STRETCHES:
            raise ValueError(f"they lie in {where} in more than {_STRETCHES} places")
    return tuple(found)


def find_groups(experiment: Experiment) -> tuple[list[Group], list[Refused]]:
    """All groups of a network that can have fewer units, and the channels that stay, each with the reason."""
    flows, refused = experiment.traced.flows()
    groups: list[Group] = []
    failed: list[tuple[Flow, str]] = []
    for flow in flows:
        found, problem = _first_right(experiment, _attempts(experiment, [flow]))
        if found is not None:
            groups.append(found)
        else:
            failed.append((flow, problem))
    for width in sorted({flow.width for flow, problem in failed if problem != OUTPUTS}):
        tied = [flow for flow, problem in failed if flow.width == width and problem != OUTPUTS]
        if len(tied) < 2:
            continue
        found, _ = _first_right(experiment, _attempts(experiment, tied))
        if found is not None:
            groups.append(found)
            failed = [(flow, problem) for flow, problem in failed if flow not in tied]
    refused += [Refused(root=flow.root, channels=flow.channels, reason=problem) for flow, problem in failed]
    return groups, refused


def _first_right(experiment: Experiment, attempts: Iterable[Group]) -> tuple[Group | None, str]:
    """The first that an experiment proves, else what is wrong with the first of all."""
    first = "there are too few of them"
    for at, group in enumerate(attempts):
        # Half of them is a round number of what may be the real unit; one less is not.
        some = {group.units - 1, (group.units + 1) // 2}
        problem = next(filter(None, (check(experiment, [group], {group.name: n}) for n in sorted(some))), "")
        if not problem:
            return group, ""
        first = problem if at == 0 else first
        if problem == OUTPUTS:
            break
    return None, first


def check(experiment: Experiment, groups: Sequence[Group], units: dict[str, int]) -> str:
    """What is wrong with these groups having so many units; nothing where cutting equals masking."""
    try:
        places = layout(groups)
    except ValueError as error:
        return in_words(error)
    gone = [
        (flow, [c for c in range(flow.channels) if (c % flow.width) // group.run >= units[group.name]])
        for group in groups
        if group.name in units
        for flow in group.flows
    ]
    attributes = [one for group in groups for one in group.attributes]
    return experiment.problem(places, attributes, units=units, masked=gone)


def movable(experiment: Experiment, groups: Sequence[Group]) -> list[str]:
    """Names of the groups whose units may stand in any order, each proven by an experiment.

    A ``forward`` that numbers what it takes apart (a bias for each head that no layer holds) has others.
    """
    places, random = layout(groups), torch.Generator().manual_seed(0)
    orders = {one.name: torch.randperm(one.units, generator=random) for one in groups}
    if experiment.reorders(places, orders):
        return list(orders)
    return [name for name, order in orders.items() if experiment.reorders(places, {name: order})]


def _attempts(experiment: Experiment, flows: Sequence[Flow]) -> Iterator[Group]:
    """Ways in which channels may go, the simplest first; all have two units at least."""
    width, name = flows[0].width, flows[0].root
    run = math.lcm(*(flow.run for flow in flows))

    def group(run: int, attributes: Iterable[Attribute] = (), *, heads: bool = False) -> Iterator[Group]:
        if width % run == 0 and width // run > 1:
            yield Group(name=name, flows=tuple(flows), run=run, attributes=tuple(attributes), heads=heads)

    numbers = list(_numbers(experiment, flows))
    alone = len(flows) == 1
    if alone:
        yield from group(run)
    counts = {value for _, _, value in numbers if 1 < value < width and width % value == 0}
    named = {value for _, own, value in numbers if "head" in own}
    for count in sorted(counts, key=lambda one: (one not in named, one)):
        size = math.lcm(run, width // count)
        heads = [
            Attribute(module=module, name=own, group=name, each=size // (width // count))
            for module, own, value in numbers
            if value == count and (count in named) <= ("head" in own) and not _SIZES.search(own)
        ]
        yield from group(size, heads, heads=alone)
        yield from group(size, [*heads, *_widths(numbers, name, width, flows, size)], heads=alone)
    told = list(_widths(numbers, name, width, flows, run))
    if told:
        yield from group(run, told)
    if alone:
        sizes = [size for size in range(2, _LONGEST_RUN) if width % size == 0 and size % run == 0]
        for size in [one for one in sizes if one != run][:_DIVISORS]:
            yield from group(size)


def _numbers(experiment: Experiment, flows: Sequence[Flow]) -> Iterator[tuple[str, str, int]]:
    """Whole numbers that the modules keep which hold the layers of these flows: module, name, value."""
    holders = {name.rpartition(".")[0] for flow in flows for name in (*flow.producers, *flow.consumers)} | {
        place[0] for flow in flows for place in flow.places if place[1] not in ("weight", "bias", "")
    }
    for path in sorted(holders):
        module = experiment.traced.network.get_submodule(path)
        if type(module).__module__.startswith("torch.nn."):
            continue
        for own, value in vars(module).items():
            if type(value) is int and value > 1 and not own.startswith("_"):
                yield path, own, value


def _widths(
    numbers: Iterable[tuple[str, str, int]], name: str, width: int, flows: Sequence[Flow], run: int
) -> Iterator[Attribute]:
    parts = {1, *(flow.parts for flow in flows)}
    for module, own, value in numbers:
        if value % width == 0 and value // width in parts:
            yield Attribute(module=module, name=own, group=name, each=value // width * run)
