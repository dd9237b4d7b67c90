"""The training loop: it learns, it goes on exactly where it was killed, it stops at a loss gone wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from nas.calibration import recalibrate
from nas.rules.sandwich import sandwich
from nas.rules.step import Pass
from nas.supernet import Supernet
from runners.batches import batches, channels_last
from runners.passes import run_passes
from runners.schedule import warmup_cosine
from runners.scoring import accuracy
from runners.training import DivergedError, EpochSummary, TrainSettings, train_supernet
from search_spaces.metaformer import Stage, metaformer
from search_spaces.space import SearchSpace

SETTINGS = TrainSettings(
    epochs=3,
    batch_size=64,
    learning_rate=3e-3,
    weight_decay=0.05,
    warmup_epochs=1,
    label_smoothing=0.1,
    gradient_clip=1.0,
    average_decay=0.9,
    checkpoint_seconds=0.0,  # after every step
)


def tiny_space() -> SearchSpace:
    stages = [Stage(widths=(16, 32), depths=(1, 2), resolution_step=2, kernels=(3, 5), ratios=(1, 2))]
    return metaformer("tiny", stages, classes=10, input_shape=(1, 8, 8))


def digits(n: int = 400) -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images[:n], dtype=torch.float32)[:, None], torch.tensor(data.target[:n])


def prepare(images: Tensor, generator: torch.Generator | None) -> Tensor:
    images = images / 8 - 0.6
    if generator is not None:
        shift = int(torch.randint(-1, 2, (), generator=generator))
        images = images.roll(shift, dims=3)
    return images


class Killed(Exception):
    pass


def run(
    folder: Path, settings: TrainSettings = SETTINGS, kill_at: int = 0
) -> tuple[Supernet, list[EpochSummary]]:
    summaries: list[EpochSummary] = []

    def on_step(step: int, total: int) -> None:
        if step == kill_at:
            raise Killed

    images, labels = digits()
    trained = train_supernet(
        Supernet(tiny_space(), seed=1),
        images,
        labels,
        prepare,
        partial(sandwich, random_subnets=1),
        settings,
        seed=5,
        checkpoint=folder / "checkpoint.safetensors",
        on_step=on_step,
        on_epoch=lambda summary, judged: summaries.append(summary),
    )
    return trained, summaries


def test_it_learns(tmp_path: Path) -> None:
    trained, summaries = run(tmp_path, replace(SETTINGS, epochs=20, checkpoint_seconds=60.0))
    images, labels = digits()
    network = recalibrate(trained.subnet(trained.space.largest()), prepare(images, None))
    assert accuracy(network, prepare(images, None), labels) > 0.9
    assert summaries[-1].loss < summaries[0].loss
    assert [summary.epoch for summary in summaries] == list(range(20))


@pytest.mark.parametrize("kill_at", [1, 6, 7, 13])
def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path: Path, kill_at: int) -> None:
    whole, expected = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at)
    continued, summaries = run(tmp_path / "killed")
    for group, flat in whole.flat.items():
        assert torch.equal(flat, continued.flat[group])
    last, wanted = summaries[-1], expected[-1]
    assert (last.epoch, last.step, last.loss) == (wanted.epoch, wanted.step, wanted.loss)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    whole, _ = run(tmp_path)
    again, summaries = run(tmp_path)
    assert summaries == []
    assert all(torch.equal(whole.flat[group], again.flat[group]) for group in whole.flat)


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, epochs=1))
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    with pytest.raises(ValueError, match="checkpoint .* is damaged"):
        run(tmp_path)


def test_a_loss_that_is_not_finite_stops_with_step_arch_and_checkpoint(tmp_path: Path) -> None:
    def poisoned(images: Tensor, generator: torch.Generator | None) -> Tensor:
        return images * float("nan")

    images, labels = digits(64)
    with pytest.raises(DivergedError, match=r"loss is nan at step 0 for arch .*stage0.width.*checkpoint"):
        train_supernet(
            Supernet(tiny_space()),
            images,
            labels,
            poisoned,
            sandwich,
            SETTINGS,
            seed=0,
            checkpoint=tmp_path / "checkpoint.safetensors",
            on_step=lambda step, total: None,
            on_epoch=lambda summary, judged: None,
        )


def test_the_gradient_of_a_step_is_the_sum_over_its_passes() -> None:
    space = tiny_space()
    supernet = Supernet(space)
    images, labels = digits(32)
    batch = channels_last(prepare(images, None))
    archs = [space.largest(), space.smallest()]
    total = {group: torch.zeros_like(flat) for group, flat in supernet.grad.items()}
    for arch in archs:
        supernet.zero_grad()
        run_passes(supernet, batch, labels, [Pass(arch=arch)])
        for group, gradient in supernet.grad.items():
            total[group] += gradient
    supernet.zero_grad()
    run_passes(supernet, batch, labels, [Pass(arch=arch) for arch in archs])
    for group, gradient in supernet.grad.items():
        torch.testing.assert_close(gradient, total[group])


def test_a_student_learns_from_its_teacher_and_not_from_labels() -> None:
    space = tiny_space()
    supernet = Supernet(space)
    images, labels = digits(32)
    batch = prepare(images, None)
    passes = [Pass(arch=space.largest()), Pass(arch=space.smallest(), teacher=0)]
    first, _ = run_passes(supernet, batch, labels, passes)
    other, _ = run_passes(supernet, batch, labels.flip(0), passes)
    assert first[0] != other[0]
    assert first[1] == other[1]


def test_batches_follow_from_seed_epoch_and_index_alone() -> None:
    images, labels = digits(130)
    whole = list(batches(images, labels, prepare, batch_size=32, seed=3, epoch=2))
    rest = list(batches(images, labels, prepare, batch_size=32, seed=3, epoch=2, start=2))
    assert len(whole) == 4
    for (x, y), (u, v) in zip(whole[2:], rest, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    other = next(iter(batches(images, labels, prepare, batch_size=32, seed=3, epoch=3)))
    assert not torch.equal(other[1], whole[0][1])


def test_channels_last_moves_nothing() -> None:
    images = torch.randn(2, 1, 4, 5)
    assert torch.equal(channels_last(images), images)
    assert channels_last(torch.randn(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)


def test_warmup_then_cosine() -> None:
    rates = [warmup_cosine(step, total=100, warmup=10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
