"""A candidate on the disk: weights as safetensors, the cuts that give the shapes, the target's file.

Nothing is pickled. A pruned network is rebuilt by making the recorded cuts in the network that compression
began with, then loading the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from compress.candidate import Candidate
from compress.pruning.channels import Cut, cut_channels
from compress.swaps import Swap, swapped
from results.files import write_atomic, write_json
from results.records import Record, StepRecord

WEIGHTS, SHAPE = "network.safetensors", "candidate.json"
_ROUNDING = 1e-4  # of a tensor's largest value


class SavedError(ValueError):
    """What was saved of a network is damaged, or another network's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord(Record):
    """The shape of a saved candidate; candidate.json beside its weights.

    Attributes:
        file: name of the target's file, beside it.
        sha256: sum of that file.
        precision: number format of that file.
        cuts: cuts that make the network from the one that compression began with.
        swaps: exchanges of modules that were made after the cuts.
    """

    file: str
    precision: str
    cuts: tuple[Cut, ...]
    swaps: tuple[Swap, ...] = ()
    sha256: str = ""


def place_of(folder: Path, number: int, step: str) -> Path:
    """Folder of a step's candidate; ``number`` counts from 1, and 0 is what compression began with."""
    return folder / f"{number}_{step}"


def save(candidate: Candidate, place: Path) -> Candidate:
    """Writes a candidate under ``place`` and returns it with its file there."""
    tensors = candidate.network.state_dict().items()
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors}
    file = place / f"model{candidate.file.suffix}"
    write_atomic(place / WEIGHTS, safetensors.torch.save(weights))
    content = candidate.file.read_bytes()
    write_atomic(file, content)
    record = CandidateRecord(
        file=file.name,
        sha256=hashlib.sha256(content).hexdigest(),
        precision=candidate.precision,
        cuts=candidate.cuts,
        swaps=candidate.swaps,
    )
    write_json(place / SHAPE, record.to_json())  # last: where it is, all is there
    return replace(candidate, file=file)


def is_saved(place: Path) -> bool:
    """Whether a candidate lies whole under ``place``."""
    return (place / SHAPE).exists()


def restore(original: nn.Module, example: Tensor, place: Path) -> Candidate:
    """The candidate that was saved under ``place``.

    Args:
        original: Network that compression began with; it is left untouched.
        example: An input, (B, ...).
        place: Folder it was saved in.

    Raises:
        SavedError: a file is damaged or gone, or belongs to another network.
    """
    try:
        saved = CandidateRecord.from_json(json.loads((place / SHAPE).read_bytes()))
    except FileNotFoundError as error:
        raise SavedError(f"{place / SHAPE} is gone; {_way_out(place)}") from error
    except ValueError as error:
        raise SavedError(f"{place / SHAPE} is damaged ({error}); {_way_out(place)}") from error
    file = place / saved.file
    if not file.exists() or saved.sha256 not in ("", hashlib.sha256(file.read_bytes()).hexdigest()):
        raise SavedError(f"{file} is not what was written; {_way_out(place)}")
    network = swapped(cut_channels(original, example, saved.cuts), saved.swaps)
    try:
        network.load_state_dict(_weights(place))
    except RuntimeError as error:
        raise SavedError(_damaged(place, error)) from error
    return Candidate(
        network=network,
        file=file,
        cuts=saved.cuts,
        swaps=saved.swaps,
        precision=saved.precision,
    )


def differing_weights(network: nn.Module, place: Path) -> str:
    """Name of the first weight of a network that is not what was saved under ``place``; empty where all are.

    What differs by rounding is the same: statistics that are set again on another number of threads.

    Raises:
        SavedError: the saved weights are damaged.
    """
    saved = _weights(place)
    for name, tensor in network.state_dict().items():
        other, own = saved.pop(name, None), tensor.detach().cpu()
        if other is None or other.shape != own.shape or not _close(own, other):
            return name
    return next(iter(saved), "")


def _close(one: Tensor, other: Tensor) -> bool:
    finite = one[one.isfinite()]
    if not one.is_floating_point() or not finite.numel():
        return torch.equal(one, other)
    reach = _ROUNDING * float(finite.abs().max())
    return torch.allclose(one, other.to(one.dtype), rtol=0, atol=reach, equal_nan=True)


def last_kept(original: nn.Module, example: Tensor, folder: Path, steps: Sequence[StepRecord]) -> Candidate:
    """The candidate that the compression of a network ended with.

    The records say which: a folder alone may be what a killed attempt left.

    Args:
        original: Network that compression began with; it is left untouched.
        example: An input, (B, ...).
        folder: Folder of the network's steps, each in a folder that begins with its number.
        steps: Records of the network's steps, in order.

    Raises:
        SavedError: a file is damaged, or belongs to another network.
        FileNotFoundError: the candidate is not there.
    """
    place = place_of(folder, 0, "start")
    for number, record in enumerate(steps, 1):
        if record.kept:
            place = place_of(folder, number, record.step)
    if not is_saved(place):
        raise FileNotFoundError(f"{place} holds no compressed network; compress again")
    return restore(original, example, place)


def _weights(place: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load((place / WEIGHTS).read_bytes())
    except (safetensors.SafetensorError, FileNotFoundError) as error:
        raise SavedError(_damaged(place, error)) from error


def _damaged(place: Path, error: Exception) -> str:
    return f"{place / WEIGHTS} does not hold the weights of this network ({error}); {_way_out(place)}"


def _way_out(place: Path) -> str:
    return f"delete {place.parent} and the compression log to compress again"
