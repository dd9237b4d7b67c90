"""How many threads a part of the work computes with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """PyTorch computes with so many threads, and afterwards with as many as before; 0 leaves them alone.

    Sums are split among threads, so their number is part of what a later computation in the same process
    gives, to the last bits.
    """
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
