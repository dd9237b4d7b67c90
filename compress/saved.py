"""A candidate on the disk: weights as safetensors, the cuts that give the shapes, the target's file.

Nothing is pickled. A pruned network is rebuilt by making the recorded cuts in the network that compression
began with, then loading the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from compress.candidate import Candidate
from compress.pruning.channels import Cut, cut_channels
from results.files import read_json, write_atomic, write_json
from results.records import Record

WEIGHTS, SHAPE = "network.safetensors", "candidate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord(Record):
    """The shape of a saved candidate; candidate.json beside its weights.

    Attributes:
        file: name of the target's file, beside it.
        precision: number format of that file.
        cuts: cuts that make the network from the one that compression began with.
    """

    file: str
    precision: str
    cuts: tuple[Cut, ...]


def save(candidate: Candidate, place: Path) -> Candidate:
    """Writes a candidate under ``place`` and returns it with its file there."""
    tensors = candidate.network.state_dict().items()
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors}
    file = place / f"model{candidate.file.suffix}"
    write_atomic(place / WEIGHTS, safetensors.torch.save(weights))
    write_atomic(file, candidate.file.read_bytes())
    record = CandidateRecord(file=file.name, precision=candidate.precision, cuts=candidate.cuts)
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
        ValueError: a file is damaged, or belongs to another network.
        FileNotFoundError: nothing was saved there.
    """
    try:
        saved = CandidateRecord.from_json(read_json(place / SHAPE))
    except ValueError as error:
        raise ValueError(
            f"{place / SHAPE} is damaged ({error}); delete {place.parent} and the compression log to "
            "compress again"
        ) from error
    network = cut_channels(original, example, saved.cuts)
    try:
        network.load_state_dict(safetensors.torch.load((place / WEIGHTS).read_bytes()))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{place / WEIGHTS} does not hold the weights of this network ({error}); delete "
            f"{place.parent} and the compression log to compress again"
        ) from error
    return Candidate(network=network, file=place / saved.file, cuts=saved.cuts, precision=saved.precision)


def last_kept(original: nn.Module, example: Tensor, folder: Path) -> Candidate:
    """The candidate that the compression of a network ended with.

    Args:
        original: Network that compression began with; it is left untouched.
        example: An input, (B, ...).
        folder: Folder of the network's steps, each in a folder that begins with its number.

    Raises:
        ValueError: a file is damaged, or belongs to another network.
        FileNotFoundError: nothing was saved there.
    """
    places = [
        path.parent for path in folder.glob(f"*/{SHAPE}") if path.parent.name.partition("_")[0].isdigit()
    ]
    if not places:
        raise FileNotFoundError(f"{folder} holds no compressed network; compress again")
    return restore(original, example, max(places, key=lambda place: int(place.name.partition("_")[0])))
