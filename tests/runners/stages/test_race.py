"""Who goes on in a race, what a race that was cut short does again, and how its time is divided."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.search.pool import Evaluate, SerialPool
from results.files import read_lines
from results.records import Raced, Scouted
from runners.console import Console
from runners.pools.known import key_of
from runners.recipe.ranking import Race
from runners.stages import race as stage
from runners.stages import racing
from runners.stages.race import race
from runners.stages.racing import RACE
from runners.training.loop import DivergedError
from search_spaces.space import Arch
from tests.runners.stages.test_starters import candidates


class Field:
    """A race of six networks by their width; each is scored by a function of width and epochs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.trained: list[tuple[int, int]] = []
        self.score: Any = lambda width, epochs: (width + epochs) / 100
        self.work: Any = SimpleNamespace(
            data=SimpleNamespace(splits=SimpleNamespace(train=range(500))),
            candidates=candidates(6),
            limit_ms=2.0,
            recipe=SimpleNamespace(race=Race(networks=6, epochs=1, keep=3), train=SimpleNamespace(epochs=5)),
            clock=None,
            folder=folder,
            file=folder / RACE,
            console=Console(folder / "log.txt"),
            finalists=1,
            workers=1,
            threads=lambda networks: 1,
        )
        self.mixed: dict[int, bool] = {}
        patch.setattr(racing, "_alone", self._plan)
        patch.setattr(racing, "_pool", lambda work, plan, networks: SerialPool(self._evaluate(plan.epochs)))
        patch.setattr(stage, "_summary", self._summary)

    def run(self) -> list[int]:
        """The widths of the finalists."""
        self.trained = []
        race(self.work)
        return self.finalists

    def lines(self) -> list[Raced]:
        return [Raced.from_json(line) for line in read_lines(self.work.folder / RACE)]

    def _plan(self, _work: Any, _field: Any, epochs: dict[str, int], _threads: int, *, mixed: bool) -> Any:
        self.mixed |= dict.fromkeys(epochs.values(), mixed)
        file = self.work.folder / "none"
        return SimpleNamespace(epochs=epochs, progress=lambda arch: file, weights=lambda arch: file)

    def _evaluate(self, planned: dict[str, int]) -> Evaluate:
        def evaluate(arch: Arch) -> dict[str, float]:
            epochs = planned[key_of(arch)]
            self.trained.append((int(arch["width"]), epochs))
            found = self.score(int(arch["width"]), epochs)
            return {"accuracy": found, "train_loss": -found}

        return evaluate

    def _summary(self, _work: Any, field: Sequence[Scouted], _accuracies: Sequence[float]) -> Any:
        self.finalists = [int(one.arch["width"]) for one in field]
        return SimpleNamespace(to_json=dict)


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Field:
    return Field(tmp_path, monkeypatch)


def test_images_are_mixed_in_the_final_training_alone(field: Field) -> None:
    field.run()
    assert field.mixed == {1: False, 3: False, 5: True}


def test_with_minutes_all_have_equal_time(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose epochs take twice as long gets half; one with no time for half an epoch is left out."""
    field.work.clock = SimpleNamespace(training_s=100.0, left_s=110.0)
    field.work.recipe.race = Race(networks=6, epochs=4, keep=3)
    slow = {1: 2.0, 2: 9.0, 3: 0.5}
    timed = []

    def pace(_work: Any, one: Scouted, _threads: int) -> float:
        timed.append(one.arch["width"])
        return slow.get(int(one.arch["width"]), 1.0)

    monkeypatch.setattr(stage, "pace_of", pace)
    monkeypatch.setattr(stage, "_first_pace", lambda *_: 1.0)
    field.score = lambda width, epochs: 1.0 if width == 1 else width / 100
    assert field.run() == [1]
    assert dict(field.trained[:-1]) == {0: 4, 1: 2, 3: 8, 4: 4}
    assert field.trained[-1] == (1, 50)
    assert sorted(timed) == [0, 1, 2, 3, 4]  # each once
    (field.work.folder / RACE).unlink()
    timed.clear()
    assert field.run() == [1]
    assert field.trained[-1] == (1, 50)
    assert timed == []


def test_a_network_that_fails_while_it_is_timed_costs_itself(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first among them too, by whose pace the others have their time."""

    def failing(width: int) -> float:
        if width in (0, 5):
            raise DivergedError("step 3: the loss is nan")
        return 1.0

    field.work.clock = SimpleNamespace(training_s=100.0, left_s=110.0)
    field.score = lambda width, epochs: failing(width) * width / 100
    monkeypatch.setattr(stage, "pace_of", lambda _work, one, _threads: failing(one.arch["width"]))
    monkeypatch.setattr(stage, "_first_pace", lambda *_: 2.0)
    assert field.run() == [4]
    assert {one.arch["width"] for one in field.lines() if one.error} == {0, 5}


def test_with_time_for_no_choice_what_was_trained_to_plan_by_is_trained_to_the_end(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    field.work.clock = SimpleNamespace(training_s=4.0, left_s=5.0)
    monkeypatch.setattr(stage, "pace_of", lambda *_: 1.0)
    assert field.run() == [0]
    assert field.trained == [(0, 1), (0, 4)]


def test_the_next_network_takes_the_place_of_one_that_diverges_at_the_end(field: Field) -> None:
    def score(width: int, epochs: int) -> float:
        if epochs == 5 and width == 5:
            raise DivergedError("step 3: the loss is nan")
        return width / 100

    field.score = score
    assert field.run() == [4]
    assert field.run() == [4]
    assert field.trained == []  # a divergence would come again


def test_a_full_disk_fails_trainings_that_another_process_does(field: Field) -> None:
    def full(width: int, epochs: int) -> float:
        raise OSError("no space left on device")

    good, field.score = field.score, full
    with pytest.raises(ValueError, match="no network of the race could be trained: OSError: no space left"):
        field.run()
    field.score = good
    assert field.run() == [5]


def test_a_network_that_fails_is_not_tried_again_by_the_same_process(field: Field) -> None:
    def failing(width: int, epochs: int) -> float:
        if width == 0:
            raise RuntimeError("no kernel")
        return width / 100

    field.score = failing
    assert field.run() == [5]
    assert field.trained.count((0, 1)) == 1  # though it is among those that begin, and more follow


def test_a_score_that_is_not_a_number_costs_its_network(field: Field) -> None:
    field.score = lambda width, epochs: float("nan") if width == 5 else width / 100
    assert field.run() == [4]
    assert [one.accuracy for one in field.lines() if one.arch["width"] == 5] == [None]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_device_that_is_no_processor_trains_in_this_process(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of a cluster get arrays of the processor's memory."""
    images = torch.zeros(4, 1, 8, 8)
    monkeypatch.setattr(racing, "own_calibration", lambda data: images)
    monkeypatch.setattr(racing, "RayPool", lambda *_, **__: "ray")
    prepared: Any = SimpleNamespace(
        splits=SimpleNamespace(val=SimpleNamespace(labels=torch.zeros(4))),
        training_tensors=lambda to: (images.to(to), torch.zeros(4, device=to)),
        images=lambda split: images,
    )
    work: Any = SimpleNamespace(
        data=prepared,
        device=torch.device(device),
        workers=1,
        recipe=SimpleNamespace(search=SimpleNamespace(ray_address="10.0.0.1:6379")),
    )
    plan: Any = None
    assert (racing._pool(work, plan, 3) == "ray") == (device == "cpu")
