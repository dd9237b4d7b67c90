"""Multiply-accumulates of a network for one input, counted as PyTorch runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop

from search_spaces.layer import Layer


class _Counter(TorchDispatchMode):
    """Adds up the flops of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        flops = _COUNTED.get(func._overloadpacket)
        if flops is not None:
            self.flops += flops(*args, **(kwargs or {}), out_val=output)
        return output


_COUNTED: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    **flop_registry,
}


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions, linear layers, matrix products and attention, for one input.

    Norms are folded away before a network is deployed, and activations and pooling multiply nothing: they are
    not counted. The counts are PyTorch's (``torch.utils.flop_counter``), two of whose flops are one of ours.

    Args:
        module: network, which is put in eval mode.
        input_shape: shape of one input, without the batch.
    """
    device = next((parameter.device for parameter in module.parameters()), None)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # one operator for a whole encoder layer hides the products
    try:
        with torch.no_grad(), _Counter() as counter:
            module.eval()(torch.zeros(1, *input_shape, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.flops // 2


def macs_of_layers(layers: Sequence[Layer]) -> list[int]:
    """Those of each layer as it is built. The global random state is left as it is.

    Raises:
        ValueError: a layer that does not run on its input; says which.
    """
    found = []
    with torch.random.fork_rng(devices=[]):
        for layer in layers:
            try:
                found.append(count_macs(layer.build(), layer.input_shape))
            except Exception as error:  # whatever a user's layer raises
                raise ValueError(
                    f"layer {layer.key} does not run on an input of {layer.input_shape}: {error}"
                ) from error
    return found


def macs_as_built(build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> int:
    """Those of what a constructor makes. Nothing is allocated or computed where its modules allow that.

    The global random state is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return count_macs(build(), input_shape)
        except (RuntimeError, NotImplementedError):  # it looks at values
            return count_macs(build(), input_shape)
