"""Gates on channels, learned while the weights stand still."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from compress.pruning.importance import CRITERIA, LOSS, Material
from compress.pruning.members import Member, by_place, readers


@CRITERIA.register("learned_gates", needs={LOSS})
class LearnedGates:
    """Gate of each channel, learned against its price.

    "Hard-Attention Gates with Gradient Routing for Endoscopic Image Computing" (Roffo et al., 2024): gates in
    [0, 1] that a pass of their own trains while the weights stand still. A gate scales what reads the
    channel; all begin open and each costs ``price`` of the loss for as far as it is open. A channel's score
    is its gate's mean over the steps, which tells also those apart that end shut. The weights, which the
    paper trains in between, are trained after the cut.

    Args:
        steps: Optimizer steps, a forward and backward pass each.
        learning_rate: Learning rate of Adam on the gates.
        price: Share of the first loss that all gates cost together when they are open.
    """

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=1)] = 40,
        learning_rate: Annotated[float, Field(gt=0)] = 0.1,
        price: Annotated[float, Field(ge=0)] = 0.5,
    ) -> None:
        self._steps, self._learning_rate, self._price = steps, learning_rate, price
        self._gates: dict[nn.Module, Tensor] = {}

    def look(self, material: Material) -> None:
        """Trains the gates of all groups together."""
        loss, network = material.given_loss(), material.network
        modules = [parts[0].dep.target.module for _, parts in material.groups]
        gates = [torch.ones(group.channels, requires_grad=True) for group, _ in material.groups]
        reading = [readers(parts) for _, parts in material.groups]
        opened = [torch.zeros_like(gate) for gate in gates]
        names = {parameter: name for name, parameter in network.named_parameters()}
        optimizer = torch.optim.Adam(gates, self._learning_rate)
        with torch.no_grad():
            scale = self._price * float(loss(network)) / max(1, sum(len(gate) for gate in gates))
        for _ in range(self._steps):
            weights: dict[str, Tensor] = {}
            for gate, layers in zip(gates, reading, strict=True):
                for member in layers:
                    name = names[member.weight]
                    weights[name] = scaled(member, weights.get(name, member.weight.detach()), gate)
            gated = _Gated(network, weights)
            total = loss(gated) + scale * torch.stack([gate.sum() for gate in gates]).sum()
            optimizer.zero_grad()
            torch.autograd.backward(total, inputs=gates)
            optimizer.step()
            with torch.no_grad():
                for gate, each in zip(gates, opened, strict=True):
                    each += gate.clamp_(0, 1)
        self._gates = {module: each / self._steps for module, each in zip(modules, opened, strict=True)}

    def __call__(self, group: Any) -> Tensor:
        """How far the gates were open, in [0, 1], (channels,)."""
        return self._gates[group[0].dep.target.module]


class _Gated(nn.Module):
    """A network that computes with other weights than its own."""

    def __init__(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._network, self._weights = network, weights

    def forward(self, *inputs: Tensor) -> Any:
        return functional_call(self._network, self._weights, inputs)


def scaled(member: Member, weight: Tensor, gate: Tensor) -> Tensor:
    """The weight of a reading layer with what it reads scaled by the channels' gates, of its shape."""
    factors = torch.ones(by_place(member.module, "reads", weight).shape[0], dtype=weight.dtype)
    factors = factors.index_copy(0, member.places, gate.to(weight.dtype)[member.channels])
    entries = torch.arange(weight.numel()).reshape(weight.shape)
    order = by_place(member.module, "reads", entries)  # (places, entries): where each entry stands
    each = torch.empty(weight.numel(), dtype=weight.dtype).index_copy(
        0, order.flatten(), factors.repeat_interleave(order.shape[1])
    )
    return weight * each.reshape(weight.shape)
