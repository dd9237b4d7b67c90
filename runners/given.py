"""A network that somebody has: made by their code, with the weights of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from results.loading import load_object
from results.names import did_you_mean

_LISTED = 3


def load_network(spec: str) -> nn.Module:
    """The finished network that ``path/to/file.py:name`` stands for: a module, or what a function gives.

    The function is called without arguments and with a fixed seed, so that a network without trained weights
    is the same one each time.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such name, a function that fails, or something that is no network.
    """
    found = load_object(spec)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ValueError(f"{spec} is a {type(found).__name__}, no network and no function that gives one")
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                found = found()
        except Exception as error:  # a user's function fails in whatever way it likes
            raise ValueError(f"{spec} fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, nn.Module):
        raise ValueError(f"{spec} gave a {type(found).__name__}; it has to give an nn.Module")
    return found


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
    other = [
        f"{name} {tuple(one.shape)} for {tuple(own[name].shape)}"
        for name, one in found.items()
        if name in own and one.shape != own[name].shape
    ]
    problems = {
        f"{len(missing)} of the network's {len(own)} are missing": missing,
        f"{len(surplus)} are not in the network": surplus,
        f"{len(other)} have another shape": other,
    }
    if lines := [f"{words} ({_first(names)})" for words, names in problems.items() if names]:
        raise ValueError(f"{file} holds the weights of another network: {'; '.join(lines)}")
    network.load_state_dict(found, strict=False)


def _may_be_missing(name: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> bool:
    """Whether a tensor is a counter of batches, or one with another that is there."""
    here = own[name]
    return name.endswith("num_batches_tracked") or any(
        other.data_ptr() == here.data_ptr() and other.shape == here.shape and key in found
        for key, other in own.items()
        if here.numel()
    )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
