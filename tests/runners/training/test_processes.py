"""Data-parallel training: gradients equal the single process's, and it goes on from a checkpoint."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from nas.rules import rule
from nas.supernet.supernet import Supernet
from runners.pools.ray_session import import_ray
from runners.reading.load import load_recipe
from runners.training.processes import on_other_gpus, training_processes
from runners.training.ranks import LostProcessError, Ranks
from runners.training.supernet import SupernetTraining
from runners.training.watch import EpochSummary, Watch
from tests.runners.training.test_loop import SETTINGS, digits, prepare
from tests.runners.training.two_ranks import gradients, plain_space, second_rank


@pytest.fixture(scope="module", autouse=True)
def ray_session() -> Iterator[None]:
    """One Ray for all tests; a training joins it and leaves it open."""
    ray = import_ray()
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def test_two_processes_have_the_gradient_of_one() -> None:
    alone = gradients(Ranks())
    store = dist.TCPStore("127.0.0.1", 0, 2, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=second_rank, args=(store.port, told))
    process.start()
    dist.init_process_group("gloo", store=store, rank=0, world_size=2)
    try:
        first, second = gradients(Ranks(rank=0, size=2)), told.get(timeout=60)
    finally:
        dist.destroy_process_group()
        process.join()
    for distillation, (expected, losses) in alone.items():
        for gradient, their_losses in (first[distillation], second[distillation]):
            assert their_losses == pytest.approx(losses, rel=1e-5)
            for group, tensor in expected.items():
                difference = (torch.as_tensor(gradient[group]) - tensor).abs().max()
                assert difference <= 1e-6 * tensor.abs().max()


def test_a_batch_without_equal_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 9 images has no equal parts for 2 processes"):
        Ranks(rank=0, size=2).share(torch.zeros(9))


class StopError(Exception):
    pass


def run(
    folder: Path, processes: int, *, stop_at: int = 0, kill_at: int = 0
) -> tuple[Supernet, list[EpochSummary]]:
    """Trains on digits; may stop or lose its other process on the way."""
    images, labels = digits(192)
    summaries: list[EpochSummary] = []

    def on_step(done: int, total: int) -> None:
        if done == stop_at:
            raise StopError
        if done == kill_at:
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)

    training = SupernetTraining(
        space=plain_space(),
        prepare=prepare,
        rule=rule("sandwich", {"random_subnets": 1}),
        settings=replace(SETTINGS, epochs=2),
        seed=3,
    )
    train = partial(tell_and_train, folder=folder, training=training)
    checkpoint = folder / "checkpoint.safetensors"
    with training_processes(
        train, images, labels, processes=processes, device=torch.device("cpu"), checkpoint=checkpoint
    ) as ranks:
        watch = Watch(step=on_step, epoch=lambda summary, _: summaries.append(summary))
        supernet = train(images, labels, checkpoint, ranks=ranks, watch=watch)
    return supernet, summaries


def tell_and_train(
    images: Tensor,
    labels: Tensor,
    checkpoint: Path,
    *,
    ranks: Ranks,
    folder: Path,
    training: SupernetTraining,
    **options: Any,
) -> Supernet:
    """Trains, after the other process has told its id."""
    if ranks.rank:
        (folder / "pid").write_text(str(os.getpid()))
    return training(images, labels, checkpoint, ranks=ranks, **options)


def test_two_processes_train_as_one_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("alone", "whole", "stopped")]
    for folder in folders:
        folder.mkdir()
    alone, summaries = run(folders[0], 1)
    whole, theirs = run(folders[1], 2)
    for group, flat in alone.flat.items():
        assert torch.allclose(flat, whole.flat[group], atol=2e-3)
    assert [one.loss for one in summaries] == pytest.approx([one.loss for one in theirs], rel=1e-2)
    with pytest.raises(StopError):
        run(folders[2], 2, stop_at=4)
    resumed, _ = run(folders[2], 2)
    assert all(torch.equal(flat, resumed.flat[group]) for group, flat in whole.flat.items())
    finished, _ = run(folders[1], 1)  # alone where two ended
    assert all(torch.equal(flat, finished.flat[group]) for group, flat in whole.flat.items())


def test_a_process_that_dies_ends_the_training_with_its_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(LostProcessError, match=r"training process died.*go on from .*checkpoint"):
        run(tmp_path, 2, kill_at=4)
    _, summaries = run(tmp_path, 2)
    assert [one.epoch for one in summaries][-1] == 1


def test_no_other_process_trains_on_the_gpu_of_the_first() -> None:
    gpus = iter(["a", "b", "c", "d"])  # as Ray hands them out; this process, unknown to Ray, runs on b
    asked: list[int] = []

    def hire(n: int) -> list[str]:
        asked.append(n)
        return [next(gpus) for _ in range(n)]

    assert on_other_gpus(hire, lambda gpu: gpu, 3, "b") == ["a", "c", "d"]
    assert asked == [3, 1]


def test_an_address_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    images, labels = digits(8)
    with (
        pytest.raises(ValueError, match="Ray address 'head' is not host:port"),
        training_processes(
            lambda *_, **__: None,
            images,
            labels,
            processes=2,
            device=torch.device("cpu"),
            checkpoint=tmp_path / "none",
            address="head",
        ),
    ):
        pass
    with pytest.raises(ValueError, match="train: ray_address is of the cluster .* set processes to 2"):
        load_recipe("digits", ["train.ray_address=head:6379"])


def test_a_recipe_whose_batches_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(64\) must be a multiple of processes \(3\)"):
        load_recipe("digits", ["train.processes=3", "train.batch_size=64"])
