"""The model that is given: its weights read and checked, and all that is asked of it before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from compress.failure import reason
from results.names import did_you_mean
from runners.adopting.taken_up import taken_up
from runners.data.prepared import RunData

_LISTED = 3


def load_weights(network: nn.Module, file: Path) -> None:
    """Reads weights into a network, in place; the file is only read.

    What is tied in the network may be in the file once, and counters of batches may be missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, a damaged file, or weights of another network.
    """
    if not file.is_file():
        near = did_you_mean(file.name, (other.name for other in file.parent.glob("*.safetensors")))
        raise FileNotFoundError(f"there is no file {file}.{near}")
    try:
        found = safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{file} is no safetensors file, or a damaged one ({error}). Weights in another format become "
            "one by safetensors.torch.save_model(network, PATH)"
        ) from None
    own = network.state_dict()
    missing = [name for name in own if name not in found and not _may_be_missing(name, own, found)]
    surplus = [name for name in found if name not in own]
    other = [name for name in found if name in own and found[name].shape != own[name].shape]
    if missing or surplus or other:
        lines = [
            *_part(f"{len(missing)} of the network's {len(own)} are missing", missing),
            *_part(f"{len(surplus)} are not in the network", surplus),
            *_part(
                f"{len(other)} have another shape",
                [f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}" for name in other],
            ),
        ]
        raise ValueError(f"{file} holds the weights of another network: {'; '.join(lines)}")
    network.load_state_dict(found, strict=False)


def _may_be_missing(name: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> bool:
    if name.endswith("num_batches_tracked"):
        return True
    here = own[name]
    return any(
        other.data_ptr() == here.data_ptr() and other.shape == here.shape and key in found
        for key, other in own.items()
        if here.numel()
    )


def _part(words: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{words} ({', '.join(names[:_LISTED])}{more})"]


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
    whole = taken_up(network.cpu().float(), images[:2]).eval()
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
