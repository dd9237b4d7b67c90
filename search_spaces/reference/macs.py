"""Multiply-accumulates of a network for one input, counted by fvcore."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
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
    "upsample_bilinear2d",
)


OF_WEIGHTS = "of_weights"
"""Attribute that a module's class sets true where it is given no activations and makes weights of weights, as
what generates a kernel does: exported files hold what it gives, so that what it does is not counted."""


def _nothing(_inputs: object, _outputs: object) -> int:
    return 0


def _attention_macs(inputs: Any, _outputs: object) -> int:
    """Those of scaled dot-product attention, which fvcore passes over: two matrix products."""
    query, key, value = ((value.type().sizes()) for value in inputs[:3])
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _product_macs(inputs: Any, outputs: Any) -> int:
    """Those of a matrix product, whichever of the two is broadcast (fvcore takes the first for the batch)."""
    return int(math.prod(outputs[0].type().sizes()) * inputs[0].type().sizes()[-1])


def _padded_convolution_macs(inputs: Any, outputs: Any) -> int:
    """Those of a convolution whose padding is a word, an operator of its own that fvcore passes over."""
    weight, (batch, _, *places) = inputs[1].type().sizes(), outputs[0].type().sizes()
    return int(batch * math.prod(places) * math.prod(weight))


def _recurrent_macs(inputs: Any, _outputs: object) -> int:
    """Those of an LSTM, GRU or RNN: every position goes once through each matrix of each layer and direction.

    The matrices are among the lists that it is given, with biases (one axis) and states (three).
    """
    lists = [value.node().inputs() for value in inputs if value.type().kind() == "ListType"]
    sizes = [value.type().sizes() for values in lists for value in values]
    data = (
        inputs[0].type().sizes()
    )  # (time, batch, features) in either order, or packed (positions, features)
    return int(math.prod(data[:-1]) * sum(math.prod(one) for one in sizes if len(one) == 2))


def _cell_macs(inputs: Any, _outputs: object) -> int:
    """Those of one step of an LSTM, GRU or RNN: a matrix for the input and one for the state."""
    (batch, _), *matrices = (inputs[at].type().sizes() for at in (0, 2, 3))
    return int(batch * sum(math.prod(one) for one in matrices))


def _multiply_add_macs(_inputs: object, outputs: Any) -> int:
    """Those of ``torch.addcmul``, which multiplies and adds element by element."""
    return int(math.prod(outputs[0].type().sizes()))


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions, linear and recurrent layers, matrix products and attention.

    Counted is one input. The counts are fvcore's (github.com/facebookresearch/fvcore, ``FlopCountAnalysis``),
    which calls them flops, without norms and pooling, and with scaled dot-product attention, LSTM, GRU and
    RNN, whose matrix products count, and ``torch.addcmul``. Modules that fold themselves are counted as files
    have them, and what makes weights of weights (``OF_WEIGHTS``) is left out. The counts are taken on the CPU
    or where the network is: shapes alone do not do, as convolutions on the device "meta" cannot be traced
    (PyTorch 2.13).

    Args:
        module: network, which is put in eval mode.
        input_shape: shape of one input, without the batch.
    """
    from fvcore.nn import FlopCountAnalysis

    device = next((parameter.device for parameter in module.parameters()), None)
    deployed = _deployed(module.eval())
    analysis = FlopCountAnalysis(deployed, (torch.zeros(1, *input_shape, device=device),))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle(**{f"aten::{name}": _nothing for name in _UNCOUNTED})
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.set_op_handle("aten::matmul", _product_macs)
    analysis.set_op_handle("aten::_convolution_mode", _padded_convolution_macs)
    analysis.set_op_handle("aten::addcmul", _multiply_add_macs)
    for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        analysis.set_op_handle(f"aten::{kind}", _recurrent_macs)
        analysis.set_op_handle(f"aten::{kind}_cell", _cell_macs)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    fast = torch.backends.mha.get_fastpath_enabled()
    # One operator for a whole encoder layer would hide its products.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer it uses deprecates itself
            counted = analysis.by_module()
            return int(counted[""] - sum(counted[name] for name in _makers_of_weights(deployed)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _deployed(module: nn.Module) -> nn.Module:
    """It as files have it: a copy in which modules that fold themselves (``folded()``) have done so."""
    if not any(hasattr(type(part), "folded") for part in module.modules()):
        return module
    return _folded(copy.deepcopy(module))


def _folded(module: nn.Module) -> nn.Module:
    if hasattr(type(module), "folded"):
        replacement: nn.Module = module.folded()  # type: ignore[operator]
        return replacement.eval()
    for name, child in list(module.named_children()):
        module.set_submodule(name, _folded(child))
    return module


def _makers_of_weights(module: nn.Module, name: str = "") -> Iterator[str]:
    """Names of the outermost modules that make weights of weights."""
    if getattr(type(module), OF_WEIGHTS, False):
        yield name
        return
    for child, part in module.named_children():
        yield from _makers_of_weights(part, f"{name}.{child}" if name else child)


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
