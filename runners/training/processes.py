"""Data-parallel training: this process is rank 0, Ray actors are the others.

Plain actors and ``torch.distributed``, not Ray Train: there every rank runs in a worker of Ray's own, and
files, progress and the evaluation after an epoch have to come back through its reports and storage. Here
rank 0 is the process that runs the stage, so checkpoints, history, alarms and resuming are the same code with
one process or several, on this machine or over the nodes of a cluster.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from runners.pools.ray_session import RaySession, import_ray, reach
from runners.pools.ray_worker import one_line
from runners.training.ranks import ALONE, LostProcessError, Ranks, threads_each
from runners.training.threads import computing_with

START_SECONDS = 300.0
# Between two sums: rank 0 also scores the watched subnets after an epoch. On CPUs (gloo) the death of a
# process is noticed at once; NCCL may not notice it and gives up only after this.
PATIENCE = datetime.timedelta(minutes=30)


class Work(Protocol):
    """What every process runs. It is pickled."""

    def __call__(self, images: Tensor, labels: Tensor, checkpoint: Path, *, ranks: Ranks) -> object:
        """Trains on the device of the images, as the process that ``ranks`` says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meeting:
    """The place of a process among the others, and where it finds them.

    Attributes:
        kind: Type of the device, ``cpu`` or ``cuda``.
        rank: Number of the process.
        size: Number of processes.
        host: Address of rank 0.
        port: Port of its store.
    """

    kind: str
    rank: int
    size: int
    host: str
    port: int


@contextlib.contextmanager
def training_processes(
    train: Work,
    images: Tensor,
    labels: Tensor,
    *,
    processes: int,
    device: torch.device,
    checkpoint: Path,
    address: str | None = None,
) -> Iterator[Ranks]:
    """Starts the other processes of a training and gives the place of this one, which has to train inside.

    Args:
        train: run by each of the others, from a copy of the checkpoint. Pickled.
        images: (N, C, H, W) as stored; put once into the shared memory of each machine.
        labels: (N,), int64.
        processes: number of processes that train together, this one included. 1 starts none.
        device: device of this process; on ``cuda`` each of the others gets a GPU of its own.
        checkpoint: what the training goes on from, if it exists.
        address: address of a Ray cluster to join; None starts Ray on this machine.

    Raises:
        ConnectionError: the cluster does not answer, or has too few free CPUs or GPUs.
        ValueError: the address is none.
        LostProcessError: a process died while it trained; says why, and what there is to go on from.
    """
    if processes == 1:
        yield ALONE
        return
    reach(address or "")
    ray = import_ray()
    # One slot more where a process may be hired in vain, see ``on_other_gpus``.
    session = RaySession(address, processes - (device.type == "cpu"), lambda: None)
    hired: list[Any] = []
    running: list[Any] = []
    try:
        session.wait()
        hire = partial(_hire, ray, hired, processes - 1, device.type)
        actors = (
            hire(processes - 1)
            if device.type == "cpu"
            else on_other_gpus(hire, lambda actor: ray.get(actor.gpu.remote()), processes - 1, _gpu(device))
        )
        store, running = _begin(ray, actors, train, images, labels, device, checkpoint)
        threads = threads_each(processes) if device.type == "cpu" else 0
        with computing_with(threads), _group(store, rank=0, size=processes, device=device):
            yield Ranks(rank=0, size=processes)
    except LostProcessError as error:
        raise LostProcessError(f"{_why(ray, running) or error}. {_way_on(checkpoint)}") from error
    finally:
        for actor in hired:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        session.close()


def _hire(ray: Any, hired: list[Any], wanted: int, kind: str, n: int) -> list[Any]:
    """Further actors, up and running, on devices of this kind; they are added to those hired so far."""
    process = ray.remote(max_restarts=0, num_cpus=1, num_gpus=int(kind == "cuda"))(_Process)
    actors = [process.remote(list(sys.path)) for _ in range(n)]
    hired += actors
    up = [actor.ready.remote() for actor in actors]
    done, waiting = ray.wait(up, num_returns=n, timeout=START_SECONDS)
    if waiting:
        what = "GPU" if kind == "cuda" else "CPU"
        raise ConnectionError(
            f"only {wanted - len(waiting)} of {wanted} further processes came up within {START_SECONDS:g} s; "
            f"each needs a free {what}: lower train.processes or add nodes"
        )
    ray.get(done)
    return actors


Actor = TypeVar("Actor")


def on_other_gpus(
    hire: Callable[[int], list[Actor]], gpu: Callable[[Actor], str], n: int, own: str
) -> list[Actor]:
    """The processes asked for, each on a GPU that is not the one of this process.

    Ray does not know which GPU rank 0 runs on, and NCCL takes no two ranks on one. Who was given that GPU
    keeps it, so that nobody else is, and another is hired in its place.

    Args:
        hire: starts so many processes, each with a GPU of its own.
        gpu: what identifies the GPU of one.
        n: how many are wanted.
        own: the GPU of this process.
    """
    found: list[Actor] = []
    while len(found) < n:
        found += [actor for actor in hire(n - len(found)) if gpu(actor) != own]
    return found


def _gpu(device: torch.device) -> str:
    """What identifies a GPU, in every process and on every machine."""
    return str(torch.cuda.get_device_properties(device).uuid)


def _begin(
    ray: Any,
    actors: list[Any],
    train: Work,
    images: Tensor,
    labels: Tensor,
    device: torch.device,
    checkpoint: Path,
) -> tuple[dist.TCPStore, list[Any]]:
    """Sets the others to work; they wait for this process to join the group."""
    host, size = ray.util.get_node_ip_address(), len(actors) + 1
    store = dist.TCPStore(host, 0, size, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    work = ray.put(ray.cloudpickle.dumps(train))
    data = [ray.put(tensor.cpu().numpy()) for tensor in (images, labels)]
    saved = ray.put(checkpoint.read_bytes() if checkpoint.exists() else b"")
    kind = device.type
    running = [
        actor.run.remote(
            work, *data, saved, _Meeting(kind=kind, rank=rank, size=size, host=host, port=store.port)
        )
        for rank, actor in enumerate(actors, start=1)
    ]
    return store, running


@contextlib.contextmanager
def _group(store: dist.TCPStore, *, rank: int, size: int, device: torch.device) -> Iterator[None]:
    """The process group of ``torch.distributed`` while it is needed."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except RuntimeError as error:
        raise LostProcessError(f"the processes did not find each other: {one_line(error)}") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def _why(ray: Any, running: list[Any]) -> str:
    """What ended the first of the others that ended; empty if all still run."""
    done, _ = ray.wait(running, num_returns=1, timeout=5.0) if running else ([], [])
    for reference in done:
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            return f"a training process failed: {one_line(error.cause)}"
        except ray.exceptions.RayError:
            return "a training process died (killed, out of memory, or its node is gone)"
    return ""


def _way_on(checkpoint: Path) -> str:
    if checkpoint.exists():
        return f"Start the same command again to go on from {checkpoint}"
    return "No checkpoint was written yet; start the same command again"


class _Process:
    """The actor of one further rank."""

    def __init__(self, paths: list[str]) -> None:
        sys.path.extend(path for path in paths if path not in sys.path)

    def ready(self) -> int:
        """The process id."""
        return os.getpid()

    def gpu(self) -> str:
        """What identifies its GPU."""
        return _gpu(torch.device("cuda"))

    def run(self, work: bytes, images: Any, labels: Any, saved: bytes, meeting: _Meeting) -> None:
        """Trains as this rank until the training ends."""
        rank, size, device = meeting.rank, meeting.size, torch.device(meeting.kind)
        if meeting.kind == "cpu":
            torch.set_num_threads(threads_each(size))
        train: Work = import_ray().cloudpickle.loads(work)
        store = dist.TCPStore(meeting.host, meeting.port, size, is_master=False, timeout=PATIENCE)
        with (
            tempfile.TemporaryDirectory() as folder,
            _group(store, rank=rank, size=size, device=device),
        ):
            checkpoint = Path(folder) / "checkpoint.safetensors"
            if saved:
                checkpoint.write_bytes(saved)
            # Copied, as PyTorch wants memory that may be written to.
            stored, known = (torch.from_numpy(array.copy()).to(device) for array in (images, labels))
            train(stored, known, checkpoint, ranks=Ranks(rank=rank, size=size))
