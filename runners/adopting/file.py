"""A space out of a network as a small file: the network, and the values of its choices, to be edited."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from results.files import write_atomic
from results.names import unknown
from runners.adopting.proposal import Proposal, propose
from runners.adopting.taken_up import example_of
from runners.given import load_network
from search_spaces.choice import Value
from search_spaces.space import SearchSpace

_HEAD = """\
# A search space out of {spec}: each line is a choice, its values, and what it decides.
# The largest value is what the network has. Change values, or leave out a line: what it decides stays then.
# In a recipe: space = {{ network = "{name}" }}
"""
_KEYS = ("network", "input_shape", "choices")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFile:
    """What such a file says.

    Attributes:
        path: path of the file.
        network: what makes the network, ``path/to/file.py:name`` (absolute) or ``package.module:name``.
        input_shape: shape of an input, (C, H, W).
        choices: values of each choice.
    """

    path: Path
    network: str
    input_shape: tuple[int, ...]
    choices: Mapping[str, tuple[Value, ...]]


def propose_for(spec: str, input_shape: tuple[int, ...]) -> Proposal:
    """What is proposed for the network that a name stands for; found out once for each state of its file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``load_network`` and ``propose``.
    """
    path = Path(spec.rpartition(":")[0])
    changed = path.stat().st_mtime_ns if path.suffix == ".py" and path.is_file() else 0
    return _proposed(spec, input_shape, changed)


@cache
def _proposed(spec: str, input_shape: tuple[int, ...], _changed: int) -> Proposal:
    return propose(load_network(spec), example_of(input_shape))


def write_space_file(proposal: Proposal, spec: str, path: Path) -> None:
    """Writes a proposal to be edited.

    Args:
        proposal: what is proposed.
        spec: what makes the network; a file is written as seen from the folder of ``path``.
        path: path of the file.

    Raises:
        ValueError: there is a file already, or nothing is proposed.
    """
    if path.exists():
        raise ValueError(f"{path} is there already, and may have been edited; choose another with --out")
    if not proposal.findings:
        stays = "; ".join(f"{one.root}: {one.reason}" for one in proposal.refused)
        raise ValueError(f"nothing of {spec} can be chosen ({stays or 'no layers with channels were found'})")
    choices = {one.name: list(one.values) for one in proposal.findings}
    lines = [f"{json.dumps(name)} = {json.dumps(values)}" for name, values in choices.items()]
    widest = max(map(len, lines))
    kept = [f"# as it is: {one.root} ({one.channels} channels): {one.reason}" for one in proposal.refused]
    written = [
        _HEAD.format(spec=spec, name=path.name),
        f"network = {json.dumps(_seen_from(spec, path.resolve().parent))}",
        f"input_shape = {json.dumps(list(proposal.input_shape))}",
        "\n[choices]",
        *(f"{line:{widest}}  # {one.about}" for line, one in zip(lines, proposal.findings, strict=True)),
        *([""] if kept else []),
        *kept,
    ]
    write_atomic(path, ("\n".join(written) + "\n").encode())


def _seen_from(spec: str, folder: Path) -> str:
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        return spec
    absolute = Path(file).expanduser().resolve()
    inside = absolute.is_relative_to(folder)
    return f"{absolute.relative_to(folder) if inside else absolute}:{name}"


def read_space_file(path: Path) -> SpaceFile:
    """Reads such a file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: no TOML, an unknown key, or a value of another kind.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    for key in values:
        if key not in _KEYS:
            raise ValueError(f"{path}: {unknown('key', key, _KEYS)}")
    network, shape, choices = (values.get(key) for key in _KEYS)
    if not isinstance(network, str):
        raise ValueError(f'{path}: network says what makes the network, such as "my.py:make"')
    if not (isinstance(shape, list) and shape and all(type(one) is int and one > 0 for one in shape)):
        raise ValueError(f"{path}: input_shape is the shape of an image, such as [3, 32, 32]")
    if not isinstance(choices, dict) or not choices:
        raise ValueError(f"{path}: choices gives the values of each choice; there are none")
    file, _, name = network.rpartition(":")
    if file.endswith(".py"):
        network = f"{(path.resolve().parent / Path(file).expanduser()).resolve()}:{name}"
    return SpaceFile(
        path=path,
        network=network,
        input_shape=tuple(shape),
        choices={key: _values(path, key, given) for key, given in choices.items()},
    )


def _values(path: Path, key: str, given: Any) -> tuple[Value, ...]:
    if isinstance(given, dict):
        raise ValueError(f"{path}: choices has a table {key!r}; names with dots are written in quotes")
    values = given if isinstance(given, list) else [given]
    if not values or any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        raise ValueError(f"{path}: choice {key!r} takes numbers, such as [16, 24, 32], not {given!r}")
    return tuple(values)


def space_of_file(path: Path) -> SearchSpace:
    """The space that such a file describes.

    Raises:
        FileNotFoundError: no such file, or none of the network.
        ValueError: as ``read_space_file`` and ``propose_for``, and values that the network cannot have.
    """
    read = read_space_file(path)
    proposal = propose_for(read.network, read.input_shape)
    try:
        return proposal.space(read.choices, name=read.network.rpartition(":")[2])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
