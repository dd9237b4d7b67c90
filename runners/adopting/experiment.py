"""Smaller networks compared with the whole one, of which what they lack is masked, left out or skipped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compress.pruning.channels import group_of
from compress.pruning.groups import OUTPUTS, equal, in_words
from compress.pruning.masks import mask
from nas.from_network.cutting import Attribute, Cuttable, Place, Stretches
from nas.from_network.ordering import Orders, in_order
from runners.adopting.flows import Flow, Traced


class Experiment:
    """Compares smaller networks with the whole one.

    Args:
        traced: the whole network, its weights random.
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    def problem(
        self,
        places: Mapping[Place, Stretches],
        attributes: Collection[Attribute] = (),
        *,
        units: Mapping[str, int] | None = None,
        masked: Sequence[tuple[Flow, list[int]]] = (),
        dropped: Collection[str] = (),
        kernels: Mapping[str, int] | None = None,
    ) -> str:
        """What is wrong with a smaller network, in words; nothing where it equals the masked one.

        Args:
            places: what each dimension follows.
            attributes: numbers that modules keep of their sizes.
            units: units that are left of each group.
            masked: the channels that are gone then.
            dropped: blocks that go; the masked network skips them.
            kernels: sides of kernels, by the convolution's name; the masked network has zeros around them.
        """
        network, images = self.traced.network, self.traced.images
        try:
            small = Cuttable(network, places, attributes).cut(units or {}, dropped=dropped, kernels=kernels)
            got = _output(small.eval(), images)
        except Exception as error:  # whatever the user's forward raises when its shapes do not fit
            return f"the network does not run without them ({in_words(error)})"
        whole = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        hooks: list[RemovableHandle] = []
        try:
            for flow, channels in masked:
                module = network.get_submodule(flow.root)
                group = group_of(self.traced.graph, module, channels)
                hooks += mask((item.dep, item.idxs) for item in group.items)
            hooks += [network.get_submodule(name).register_forward_hook(_skip) for name in dropped]
            for name, side in (kernels or {}).items():
                _clear_around(network.get_submodule(name), side)
            expected = _output(network, images)
        except Exception as error:  # where the graph is wrong
            return f"the network without them cannot be compared with a masked one ({in_words(error)})"
        finally:
            for hook in hooks:
                hook.remove()
            network.load_state_dict(whole)
        if got.shape != expected.shape:
            return OUTPUTS
        if not expected.isfinite().all():
            return "the network's outputs are not finite with random weights, so nothing can be compared"
        if not equal(got, expected, self.traced.tolerance):
            return "the network without them computes something else than with them masked"
        return ""

    def reorders(self, places: Mapping[Place, Stretches], orders: Orders) -> bool:
        """Whether the network computes the same with its groups of channels in these orders.

        Args:
            places: stretches of each dimension.
            orders: orders of groups.
        """
        network, images = self.traced.network, self.traced.images
        expected, got = _output(network, images), _output(in_order(network, places, orders), images)
        return equal(got, expected, self.traced.tolerance)


def _output(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = network(images)
    return output


def _skip(_: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
    """What a block gives where it does nothing."""
    if isinstance(output, Tensor):
        return given[0]
    return type(output)((given[0], *output[1:]))


@torch.no_grad()
def _clear_around(conv: nn.Module, side: int) -> None:
    weight = conv.weight
    assert isinstance(weight, Tensor)
    inside = torch.zeros_like(weight)
    centre = inside
    for dim in range(2, weight.dim()):
        centre = centre.narrow(dim, (weight.shape[dim] - side) // 2, side)
    centre.fill_(1)
    weight.mul_(inside)
