"""The choices that a network as it is could have, proposed, and the space of those that are wanted."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from torch import Tensor, nn

from compress.pruning.groups import Refused
from nas.from_network.cutting import Cuttable, Stretches
from nas.from_network.decisions import (
    Decision,
    Depth,
    Expansion,
    Kernel,
    Width,
    network_space,
)
from nas.from_network.ordering import by_importance, in_order
from results.names import unknown
from runners.adopting.blocks import Chain, find_chains, find_kernels
from runners.adopting.experiment import Experiment
from runners.adopting.flows import Traced
from runners.adopting.groups import Group, find_groups, layout, movable
from runners.adopting.taken_up import INSIDE, TensorOutput, taken_up
from search_spaces.choice import Choice, Role, Value
from search_spaces.space import SearchSpace, Shape

_SHARES = (0.5, 0.75, 1.0)  # of channels
_DEPTHS = 4  # proposed, at most
_LEAST = 2  # units of a group: of one a grouped convolution would be a dense one


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustable:
    """Something that a choice can decide.

    Attributes:
        name: name of the choice.
        role: role of the choice.
        values: values that are proposed; the last is what the network has.
        step: step between values that there can be, from the least on; 0 where there is none.
        least: least value.
        about: layers, blocks or the convolution that it is about, in words.
        decision: what a value decides.
    """

    name: str
    role: Role
    values: tuple[Value, ...]
    step: float
    least: float
    about: str
    decision: Decision

    def check(self, values: Sequence[Value]) -> None:
        """Refuses values that the network cannot have.

        Raises:
            ValueError: names the choice, the value, and what is right.
        """
        most = float(self.values[-1])
        for value in values:
            number = not isinstance(value, bool) and isinstance(value, int | float)
            fits = number and self.least <= float(value) <= most
            if not fits or (self.step and (float(value) - self.least) % self.step):
                steps = f", in steps of {self.step:g}" if self.step else ""
                raise ValueError(
                    f"choice {self.name!r} takes {self.least:g} to {most:g}{steps} (the network has "
                    f"{most:g}), not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a network as it is could have less of.

    Attributes:
        network: the whole network, as it is cut: attention opened, output a tensor, the most important
            channels of each group first.
        input_shape: shape of an input, (C, H, W).
        findings: what there is to choose, in the network's order.
        refused: what stays as it is, each with the reason.
        groups: groups of channels.
    """

    network: nn.Module
    input_shape: Shape
    findings: tuple[Adjustable, ...]
    refused: tuple[Refused, ...]
    groups: tuple[Group, ...]

    def space(
        self, choices: Mapping[str, Sequence[Value]] | None = None, *, name: str = "network"
    ) -> SearchSpace:
        """The space of the networks with these values.

        Args:
            choices: values of each choice, ascending; what is not named stays as the network has it. All
                that is proposed where none are given.
            name: name of the space.

        Raises:
            ValueError: an unknown choice, or a value that the network cannot have.
        """
        known = {one.name: one for one in self.findings}
        wanted = {one.name: one.values for one in self.findings} if choices is None else dict(choices)
        for key, values in wanted.items():
            if key not in known:
                raise ValueError(unknown("choice", key, known))
            known[key].check(values)
        if not wanted:
            raise ValueError("a space needs a choice, and none is given")
        made = [Choice(key, tuple(wanted[key]), role=one.role) for key, one in known.items() if key in wanted]
        decisions = {one.name: known[one.name].decision for one in made}
        attributes = [one for group in self.groups for one in group.attributes]
        whole = Cuttable(self.network, layout(self.groups), attributes)
        return network_space(
            name, whole, _with_parents(made, decisions), decisions, input_shape=self.input_shape
        )


def propose(network: nn.Module, example: Tensor, *, by_weights: bool = True) -> Proposal:
    """Finds out what a finished network can have less of, by experiments on a copy with random weights.

    Args:
        network: any module that takes one tensor and gives a tensor, or something with ``logits``, as
            classifiers of transformers do; it is left untouched.
        example: some inputs, (B, C, H, W); one is enough.
        by_weights: whether channels and heads are put in the order of their weights first, so that narrower
            networks keep the most important ones; the whole network computes what it did.

    Raises:
        ValueError: it does not run on the example, or cannot be traced.
    """
    whole = taken_up(network, example)
    experiment = Experiment(Traced(whole, example))
    groups, refused = find_groups(experiment)
    chains, kept = find_chains(experiment)
    order = {name: at for at, (name, _) in enumerate(whole.named_modules())}
    inside = INSIDE if isinstance(whole, TensorOutput) else ""
    found = [
        *((order[chain.blocks[0]], _depth(chain, chains)) for chain in chains),
        *((order[group.name], _channels(group, groups, whole)) for group in groups),
        *((order[conv], _kernel(conv, side)) for conv, side in find_kernels(experiment)),
    ]
    findings = [
        replace(one, name=one.name.removeprefix(inside), about=one.about.replace(f" {inside}", " "))
        for _, one in sorted(found, key=lambda one: one[0])
    ]
    if by_weights:
        places = layout(groups)
        whole = in_order(whole, places, by_importance(whole, places, movable(experiment, groups)))
    return Proposal(
        network=whole,
        input_shape=tuple(example.shape[1:]),
        findings=tuple(_told_apart(findings)),
        refused=tuple(replace(one, root=one.root.removeprefix(inside)) for one in (*refused, *kept)),
        groups=tuple(groups),
    )


def space_of_network(network: nn.Module, example: Tensor, *, name: str = "network") -> SearchSpace:
    """The space of all that is proposed for a finished network; see ``propose``.

    A supernet of it begins with the network's weights, and ``space.largest()`` is the network, but for the
    order of its channels.
    """
    return propose(network, example).space(name=name)


# -- findings -------------------------------------------------------------------------------------


def _depth(chain: Chain, chains: Collection[Chain]) -> Adjustable:
    n = len(chain.blocks)
    first = 1 if n < _DEPTHS else n // 2
    several = sum(other.holder == chain.holder for other in chains) > 1
    name = chain.blocks[0] if several or not chain.holder else chain.holder
    return Adjustable(
        name=f"{name}.depth",
        role="depth",
        values=_spread(first, n, _DEPTHS),
        step=1,
        least=1,
        about=f"blocks that stay of {chain.blocks[0]} to {chain.blocks[-1]}",
        decision=Depth(blocks=chain.blocks),
    )


def _kernel(conv: str, side: int) -> Adjustable:
    values = tuple(range(3, side + 1, 2)) if side < 9 else _odd_spread(side)
    return Adjustable(
        name=f"{conv}.kernel",
        role="kernel",
        values=values,
        step=2,
        least=1,
        about="depthwise convolution",
        decision=Kernel(conv=conv),
    )


def _odd_spread(side: int) -> tuple[int, ...]:
    return tuple(sorted({max(side // 3 | 1, 3), (2 * side // 3) | 1, side}))


def _channels(group: Group, groups: Sequence[Group], whole: nn.Module) -> Adjustable:
    layers = [*dict.fromkeys(name for flow in group.flows for name in flow.producers)]
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    about = f"channels of {', '.join(layers[:3])}{more}"
    if group.heads:
        values = _units(group.units, [share * group.units for share in _SHARES])
        return Adjustable(
            name=f"{_place(layers)}.heads",
            role="size",
            values=values,
            step=1,
            least=_LEAST,
            about=f"{about}; {group.run} to a head",
            decision=Width(group=group.name, each=1),
        )
    over = _expands(group, groups, whole)
    if over is not None:
        ratio = group.width / sum(one.length for one in over)
        ratios: tuple[Value, ...] = tuple(
            dict.fromkeys(_plain(round(share * ratio * 2) / 2) for share in _SHARES if share * ratio >= 1)
        )
        return Adjustable(
            name=f"{_place(layers)}.expansion",
            role="size",
            values=ratios,
            step=0.0,
            least=0.25,
            about=f"{about}; times what comes in",
            decision=Expansion(group=group.name, units=group.units, each=group.run, over=over),
        )
    aligned = 8 if group.width >= 32 else 4 if group.width >= 16 else 1
    step = math.lcm(aligned, group.run) // group.run
    step = step if group.units % step == 0 else 1
    shares = [int(share * group.units / step + 0.5) * step for share in _SHARES]
    return Adjustable(
        name=f"{_place(layers)}.width",
        role="size",
        values=tuple(units * group.run for units in _units(group.units, shares)),
        step=group.run,
        least=_LEAST * group.run,
        about=about,
        decision=Width(group=group.name, each=group.run),
    )


def _units(most: int, wanted: Sequence[float]) -> tuple[int, ...]:
    return tuple(sorted({max(round(one), _LEAST) for one in wanted} | {most}))


def _spread(first: int, last: int, n: int) -> tuple[int, ...]:
    count = min(n, last - first + 1)
    return tuple(sorted({round(first + (last - first) * at / max(count - 1, 1)) for at in range(count)}))


def _plain(number: float) -> Value:
    return int(number) if number == int(number) else number


def _place(layers: Sequence[str]) -> str:
    """The place that layers share: the module that holds them all, or the first where nothing does."""
    names = [name.removeprefix(INSIDE) for name in layers]
    return _shared(names) or names[0]


def _shared(names: Sequence[str]) -> str:
    """The name of the innermost module that holds all of these; empty for the network."""
    alike = takewhile(
        lambda step: len(set(step)) == 1, zip(*(name.split(".") for name in names), strict=False)
    )
    return ".".join(step[0] for step in alike)


def _expands(group: Group, groups: Sequence[Group], whole: nn.Module) -> Stretches | None:
    """What comes into the block that the channels are inside of; None where they are inside of none.

    They are where the layers that they come out of and go into are of one block, and where the first makes
    them of fewer channels and some layer makes fewer of them again.
    """
    if len(group.flows) > 1:
        return None
    flow = group.flows[0]
    names = (*flow.producers, *flow.consumers)
    block = _shared(names)
    if not block or not flow.consumers:
        return None
    first = whole.get_submodule(flow.producers[0])
    outs = [_outputs(whole.get_submodule(name)) for name in flow.consumers]
    if not isinstance(first, nn.Linear | nn.Conv1d | nn.Conv2d) or max(outs) >= group.width:
        return None
    incoming = (flow.producers[0], "weight", 1)
    stretches = layout(groups).get(incoming)
    came = _inputs(first)
    if getattr(first, "groups", 1) > 1 or came >= group.width or (2 * group.width) % came:
        return None
    if stretches is None:
        return None  # of what always comes in, as of an image, the channels are no ratio
    return stretches


def _outputs(layer: nn.Module) -> int:
    return layer.weight.shape[0]  # type: ignore[return-value, index]


def _inputs(layer: nn.Module) -> int:
    return layer.weight.shape[1]  # type: ignore[return-value, index]


def _told_apart(findings: Sequence[Adjustable]) -> list[Adjustable]:
    """The findings, those of one name by the layer that leads them."""
    names = [one.name for one in findings]
    told = []
    for one in findings:
        if names.count(one.name) > 1 and isinstance(one.decision, Width | Expansion):
            kind = one.name.rpartition(".")[2]
            one = replace(one, name=f"{one.decision.group.removeprefix(INSIDE)}.{kind}")
        told.append(one)
    return told


# -- choices --------------------------------------------------------------------------------------


def _with_parents(choices: Sequence[Choice], decisions: Mapping[str, Decision]) -> list[Choice]:
    """The choices, each inside a block that may go active where the block stays.

    Parents come first, as choices are in the network's order and the first block of several always stays.
    """
    depths = [(one, decision.blocks) for one in choices if isinstance(decision := decisions[one.name], Depth)]
    made = []
    for choice in choices:
        places = _places(decisions[choice.name])
        for depth, blocks in depths:  # outer ones come first, so the innermost is what stays
            held = [at for at, block in enumerate(blocks) if all(_within(one, block) for one in places)]
            if held and depth.name != choice.name:
                staying = tuple(value for value in depth.values if int(value) > held[0])
                if len(staying) < len(depth.values):
                    choice = replace(choice, parent=depth.name, parent_values=staying)
        made.append(choice)
    return made


def _places(decision: Decision) -> tuple[str, ...]:
    match decision:
        case Width() | Expansion():
            return (decision.group,)
        case Depth():
            return decision.blocks
        case Kernel():
            return (decision.conv,)


def _within(name: str, block: str) -> bool:
    return name == block or name.startswith(f"{block}.")
