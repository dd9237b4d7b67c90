"""Images per second of a training beside another program, by how its threads wait. Needs a quiet machine.

    python -m tests.benchmarks.training_beside [--threads 2] [--seconds 4]

Forward, backward and update of the thin ResNet of ``training_loop`` in processes of their own, with as many
threads as cores: as they are, waiting passively, bound to cores; and with one thread. Beside nothing; beside
a busy loop of the same session, niced and not; beside one of another session. Linux shares a machine out by
sessions where ``/proc/sys/kernel/sched_autogroup_enabled`` is 1: how nice another session is does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from runners.training.batches import channels_last
from runners.training.memory import keep_freed_memory
from runners.training.precision import autocast, has_bf16
from tests.benchmarks.training_loop import thin_resnet

_BATCH, _WARM = 128, 3
_BUSY = [sys.executable, "-c", "while True: pass"]


def images_per_second(seconds: float) -> float:
    """What this process trains, with the threads that its environment gives it."""
    keep_freed_memory()
    network = thin_resnet().train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images, labels = channels_last(torch.randn(_BATCH, 3, 32, 32)), torch.randint(10, (_BATCH,))
    precision = "bf16" if has_bf16(images.device) else "fp32"
    began, step = 0.0, 0
    while step <= _WARM or time.perf_counter() - began < seconds:
        if step == _WARM:
            began = time.perf_counter()
        with autocast(images.device, precision):
            outputs = network(images)
        F.cross_entropy(outputs.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    return _BATCH * (step - _WARM) / (time.perf_counter() - began)


@contextlib.contextmanager
def _beside(niceness: int | None, *, session: bool) -> Iterator[None]:
    if niceness is None:
        yield
        return
    busy = subprocess.Popen(["nice", "-n", str(niceness), *_BUSY], start_new_session=session)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Training beside another program")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(images_per_second(options.seconds))
        return
    many = {"OMP_NUM_THREADS": str(options.threads)}
    ways = {
        f"{options.threads} threads": many,
        "passive": many | {"OMP_WAIT_POLICY": "PASSIVE"},
        "bound": many | {"OMP_PROC_BIND": "true"},
        "one thread": {"OMP_NUM_THREADS": "1"},
    }
    print(f"{'beside':32}" + "".join(f"{name:>14}" for name in ways))
    for name, niceness, session in (
        ("nothing", None, False),
        ("a busy loop, niced by 10", 10, False),
        ("a busy loop", 0, False),
        ("a busy loop of another session", 10, True),
    ):
        rates = []
        for environment in ways.values():
            command = [sys.executable, "-m", __spec__.name, "--child", "--seconds", str(options.seconds)]
            with _beside(niceness, session=session):
                said = subprocess.check_output(command, env=os.environ | environment, text=True)
            rates.append(float(said))
        print(f"{name:32}" + "".join(f"{rate:14.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
