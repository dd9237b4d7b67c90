"""What ``quarry space`` does; ``say`` takes each line of output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from results.numbers import count
from runners.adopting.file import propose_for, write_space_file


def space(
    spec: str, *, input_shape: str, out: Path | None = None, say: Callable[[str], None] = print
) -> None:
    """Proposes a search space for a network, and writes it as a file.

    Args:
        spec: ``path/to/file.py:function`` or ``package.module:name``.
        input_shape: shape of an image, ``3x32x32``.
        out: path of the file; named as the function, here, where none is given.
        say: takes each line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a network that cannot be loaded, run or taken apart, or a file that is there already.
    """
    try:
        shape = tuple(int(part) for part in input_shape.lower().split("x"))
        if min(shape) < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"an input shape is written like 3x32x32, not {input_shape!r}") from None
    path = out or Path(f"{spec.rpartition(':')[2]}.toml")
    proposal = propose_for(spec, shape)
    write_space_file(proposal, spec, path)
    networks = count(proposal.space().size)
    say(f"{path}: {len(proposal.findings)} choices, {networks} networks, the largest of which is yours")
    for one in proposal.refused:
        say(f"- as it is: {one.root}: {one.reason}")
    say(f'edit it, then name it in a recipe: space = {{ network = "{path}" }}')
