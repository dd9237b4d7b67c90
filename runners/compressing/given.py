"""The model that is given: all that is asked of it before any work."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from compress.failure import reason
from compress.plain import faithful_copy
from runners.adopting.taken_up import taken_up
from runners.data.prepared import RunData

_LISTED = 3


def checked(network: nn.Module, data: RunData) -> nn.Module:
    """A copy that can be compressed: plain weights on the CPU, attention opened, giving a tensor.

    Raises:
        ValueError: weights that are not finite, a network that does not run on the data, gives something else
            than logits of their classes, or learns nothing from them.
    """
    kind = type(network).__name__
    if next(network.parameters(), None) is None:
        raise ValueError(f"{kind} has no parameters, so there is nothing to compress")
    if odd := _not_finite(network.state_dict().items()):
        raise ValueError(
            f"{kind} has weights that are not finite: {', '.join(odd[:_LISTED])}"
            f"{f' and {len(odd) - _LISTED} more' if len(odd) > _LISTED else ''}; take an earlier checkpoint"
        )
    images, labels = data.training_batch(8)
    whole = taken_up(faithful_copy(network).cpu().float(), images[:2]).eval()
    with torch.no_grad():
        outputs = whole(images)
    if problem := data.task.problem(outputs[:2], len(data.classes)):
        raise ValueError(f"{kind} {problem}")
    if not outputs.isfinite().all():
        raise ValueError(f"{kind} gives outputs that are not finite on the images of the data")
    _check_gradients(whole, images, labels, data)
    return whole


def _not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    return [
        name for name, one in tensors if one.is_floating_point() and one.numel() and not one.isfinite().all()
    ]


def _check_gradients(network: nn.Module, images: Tensor, labels: Tensor, data: RunData) -> None:
    kind = type(network).__name__
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(
            f"all weights of {kind} are frozen (requires_grad is False), and what was cut has to be trained "
            "again; call requires_grad_() of the network before it is given"
        )
    try:
        with torch.enable_grad():
            loss = data.task.loss(network(images), labels)
        if not loss.requires_grad:
            raise ValueError("its forward runs without gradients, or detaches what it gives")
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        if all(one is None for one in gradients):
            raise ValueError("none of them is used for the outputs")
    except Exception as error:  # whatever the user's forward raises with gradients
        raise ValueError(
            f"no gradients reach the weights of {kind}, so what was cut cannot be trained again "
            f"({reason(error)})"
        ) from error
