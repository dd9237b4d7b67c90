"""The device of a training, and other programs beside its threads."""

from __future__ import annotations

import torch

from runners.measuring.machine import BUSY_CORES, busy_cores


def crowded(device: torch.device) -> str:
    """What should be known before several threads of a CPU train beside other programs; empty if nothing.

    The threads of a step wait for each other some hundred times. A core that another program takes away, or
    two of them put on one core, hold up all of them each time for as long as the system lets a program run:
    milliseconds.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return ""
    busy = busy_cores()
    if busy < BUSY_CORES:
        return ""
    fewer = max(1, int(threads - busy))
    return (
        f"other programs keep {busy:.1f} cores busy, and {threads} threads that train beside them wait for "
        f"each other: it may take many times as long. Let them end, or stop and go on with "
        f"OMP_NUM_THREADS={fewer} before the command"
    )


def training_device(name: str) -> torch.device:
    """The PyTorch device that networks are trained on, by name; ``auto`` is a GPU where there is one.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"train.device = {name!r} cannot be used: {said}") from None
