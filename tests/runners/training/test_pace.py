"""The pace of a training, known before it begins; on a clock that only preparing a batch moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nas.rules import rule
from nas.supernet.supernet import Supernet
from runners.training import pace
from runners.training.batches import TrainingData
from runners.training.finetuning import Taught, finetuning_pace
from runners.training.pace import seconds_per_epoch
from tests.runners.training.test_loop import SETTINGS, data, prepare, tiny_space


class Clock:
    """Seconds that go by as batches are prepared: these for the first ones, then the last for each."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds, self.now, self.batches = seconds, 0.0, 0

    def data(self) -> TrainingData:
        return replace(data(), prepare=self._prepare)

    def _prepare(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        self.now += self.seconds[min(self.batches, len(self.seconds) - 1)]
        self.batches += 1
        return prepare(images, generator)


@pytest.fixture
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(request.param)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock.now)
    return clock


def small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))


@pytest.mark.parametrize("clock", [[0.5]], indirect=True)
@pytest.mark.parametrize("shared", [True, False])
def test_an_epoch_is_its_steps(clock: Clock, shared: bool) -> None:
    """400 images in batches of 64 are six steps."""
    model = Supernet(tiny_space().only(tiny_space().smallest())) if shared else small_network()
    assert seconds_per_epoch(model, clock.data(), SETTINGS, steps=4) == pytest.approx(6 * 0.5)
    assert clock.batches == 2 + 4


@pytest.mark.parametrize("clock", [[0.5]], indirect=True)
def test_the_time_of_teachers_counts(clock: Clock) -> None:
    def slow(images: Tensor) -> Tensor:
        clock.now += 2.0
        return torch.zeros(len(images), 10)

    taught = Taught(teachers=(slow,))
    found = finetuning_pace(small_network(), clock.data(), SETTINGS, taught=taught, seed=0)
    assert found == pytest.approx(6 * (0.5 + 2.0))


@pytest.mark.parametrize("clock", [[30.0, 4.0, 0.5, 3.0, 0.5]], indirect=True)
def test_neither_first_steps_nor_one_that_was_held_up_count(clock: Clock) -> None:
    assert seconds_per_epoch(small_network(), clock.data(), SETTINGS, steps=8) == pytest.approx(6 * 0.5)


@pytest.mark.parametrize("clock", [[7.0]], indirect=True)
def test_three_slow_steps_are_enough(clock: Clock) -> None:
    seconds_per_epoch(small_network(), clock.data(), SETTINGS, steps=50)
    assert clock.batches == 2 + 3


def test_it_leaves_the_model_and_the_random_state_alone() -> None:
    supernet, network = Supernet(tiny_space(), seed=1), small_network()
    before = [flat.clone() for flat in supernet.flat.values()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.random.get_rng_state()
    seconds_per_epoch(supernet, data(), SETTINGS, rule=rule("sandwich"), steps=2)
    seconds_per_epoch(network, data(), SETTINGS, steps=2)
    assert all(torch.equal(old, new) for old, new in zip(before, supernet.flat.values(), strict=True))
    assert not any(gradient.any() for gradient in supernet.grad.values())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(drawn, torch.random.get_rng_state())


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        seconds_per_epoch(small_network(), data(), SETTINGS, steps=0)
