"""Multiply-accumulates of a network for one input, counted by fvcore."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from search_spaces.layer import Layer

# Not multiply-accumulates of the deployed network: norms are folded away, pooling adds and compares.
_UNCOUNTED = (
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "adaptive_avg_pool2d",
    "upsample_nearest2d",
)


def _nothing(_inputs: object, _outputs: object) -> int:
    return 0


def _attention_macs(inputs: Any, _outputs: object) -> int:
    """Those of scaled dot-product attention, which fvcore passes over: two matrix products."""
    query, key, value = ((value.type().sizes()) for value in inputs[:3])
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions, linear layers, matrix products and attention, for one input.

    The counts are fvcore's (github.com/facebookresearch/fvcore, ``FlopCountAnalysis``), which calls them
    flops, without norms and pooling, and with scaled dot-product attention.

    Args:
        module: network, which is put in eval mode.
        input_shape: shape of one input, without the batch.
    """
    from fvcore.nn import FlopCountAnalysis

    device = next((parameter.device for parameter in module.parameters()), None)
    analysis = FlopCountAnalysis(module.eval(), (torch.zeros(1, *input_shape, device=device),))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle(**{f"aten::{name}": _nothing for name in _UNCOUNTED})
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    fast = torch.backends.mha.get_fastpath_enabled()
    # One operator for a whole encoder layer would hide its products.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer it uses deprecates itself
            return int(analysis.total())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


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
    """Those of what a constructor makes. The global random state is left as it is."""
    with torch.random.fork_rng(devices=[]):
        return count_macs(build(), input_shape)
