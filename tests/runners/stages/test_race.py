"""Who starts a race and goes on, what a race that was cut short does again, and how its time is divided."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.search.pool import Evaluate, SerialPool
from results.files import read_lines
from results.records import Raced, Scouted, SearchSummary
from runners.console import Console
from runners.pools.known import key_of
from runners.recipe.ranking import Race
from runners.scoring import alone
from runners.scoring.alone import AlonePlan, AloneTrainer
from runners.stages import finalists, racing
from runners.stages import race as stage
from runners.stages.clock import Clock, check_minutes
from runners.stages.compress import chosen_from_front
from runners.stages.finalists import Finalists
from runners.stages.race import race
from runners.stages.racing import RACE
from runners.training.loop import DivergedError
from runners.training.threads import computing_with
from search_spaces.space import Arch
from tests.runners.stages.test_starters import candidates
from tests.runners.training.test_loop import SETTINGS, data, prepare, tiny_space


def test_what_is_left_counts_finished_stages_and_this_process() -> None:
    clock = Clock.of(10, {"measure": 60.0}, began=time.monotonic() - 30)
    assert clock is not None
    assert clock.left_s == pytest.approx(600 - 60 - 30, abs=1)
    assert clock.training_s == pytest.approx(clock.left_s - 25, abs=1)  # of the whole
    assert Clock.of(None, {}, began=0.0) is None


def test_too_few_minutes_are_refused_with_those_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"takes 20\.0 s.* 2\.2 minutes would do"):
        check_minutes(2, 20.0)
    check_minutes(2.2, 20.0)


class Field:
    """A race of six networks by their width; each is scored by a function of width and epochs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.trained: list[tuple[int, int]] = []
        self.score: Any = lambda width, epochs: (width + epochs) / 100
        self.work: Any = SimpleNamespace(
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


def test_the_seconds_of_a_training_that_was_killed_count(tmp_path: Path) -> None:
    """Epochs are planned by them: a training of which only the end was seen would seem fast."""
    space, whole = tiny_space(), data()
    images = prepare(whole.images[:64], None)

    def trainer(prepared: Any) -> AloneTrainer:
        plan = AlonePlan(space=space, settings=SETTINGS, prepare=prepared, mix=None, seed=0, folder=tmp_path)
        return AloneTrainer(
            plan=plan,
            images=whole.images,
            labels=whole.labels,
            calibration=images,
            val_images=images,
            val_labels=whole.labels[:64],
        )

    batches = [0] * 4

    def cut_short(images: Tensor, generator: torch.Generator | None) -> Tensor:
        batches.pop()
        return prepare(images, generator)

    arch, told = space.smallest(), trainer(prepare).plan.progress(space.smallest())
    with pytest.raises(IndexError):
        trainer(cut_short)(arch)
    told.write_text('{"done": 4, "total": 18, "seconds": 40.0}')
    assert trainer(prepare)(arch)["earlier_s"] == 40.0
    told.write_text('{"done": 4, "total": 18, "seconds": 40.0}')
    again = trainer(prepare)(arch)
    assert math.isfinite(again["train_loss"])
    assert again["earlier_s"] == 0.0  # without a checkpoint it begins anew


def test_a_training_that_was_killed_after_its_last_epoch_has_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, space = data(), tiny_space()
    images = prepare(whole.images[:64], None)
    plan = AlonePlan(space=space, settings=SETTINGS, prepare=prepare, mix=None, seed=0, folder=tmp_path)
    trainer = AloneTrainer(
        plan=plan,
        images=whole.images,
        labels=whole.labels,
        calibration=images,
        val_images=images,
        val_labels=whole.labels[:64],
    )
    monkeypatch.setattr(alone, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer(space.smallest())
    monkeypatch.undo()
    assert plan.checkpoint(space.smallest()).exists()
    assert 0 < trainer(space.smallest())["train_loss"] < math.log(10)


def test_threads_of_a_training_are_not_those_of_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later training in the same process would give other bits than alone."""
    whole, space, used = data(), tiny_space(), []
    plan = AlonePlan(
        space=space, settings=SETTINGS, prepare=prepare, mix=None, seed=0, folder=tmp_path, threads=2
    )
    images = prepare(whole.images[:64], None)
    trainer = AloneTrainer(
        plan=plan,
        images=whole.images,
        labels=whole.labels,
        calibration=images,
        val_images=images,
        val_labels=whole.labels[:64],
    )
    monkeypatch.setattr(alone, "score", lambda *_: used.append(torch.get_num_threads()) or 0.5)
    with computing_with(1):
        trainer(space.smallest())
        assert (used, torch.get_num_threads()) == ([2], 1)


class Busy:
    """A device on which files take so many ms, measuring by measuring."""

    def __init__(self, *ms: float) -> None:
        self.ms, self.facts = list(ms), SimpleNamespace(format="onnx")

    def export(self, *_: Any, **__: Any) -> None: ...

    def measure(self, files: Sequence[Path], **_: float) -> list[Any]:
        ms = self.ms.pop(0)
        return [SimpleNamespace(status="measured", median_ms=ms, low_ms=ms, high_ms=ms) for _ in files]


def test_a_finalist_that_cannot_be_exported_any_more_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Choosy(Busy):
        def export(self, _network: Any, _shape: Any, file: Path, **_: Any) -> None:
            if file.stem in self.refused:
                raise KeyError("no such operator")

    monkeypatch.setattr(
        finalists, "trained", lambda *_: SimpleNamespace(extract=lambda arch: torch.nn.ReLU())
    )
    space: Any = SimpleNamespace(slots=(), input_shape=lambda arch: (3, 8, 8))
    console = Console(tmp_path / "log.txt")
    device: Any = Choosy(0.9, 0.9)
    device.refused = ["0"]
    work = Finalists(space=space, target=device, limit_ms=1.0, run=tmp_path, console=console)
    (entry,) = work.entries("run", candidates(2), [0.9, 0.8])
    assert entry.accuracy == 0.8
    assert (
        "is left out, as its file does not run any more: failed: 'no such"
        in (tmp_path / "log.txt").read_text()
    )
    device.refused = ["0", "1"]
    with pytest.raises(
        ValueError, match="no finalist runs on the target any more: failed: 'no such operator'"
    ):
        work.entries("run", candidates(2), [0.9, 0.8])


@pytest.mark.parametrize(("ms", "met"), [((1.2, 0.9), True), ((1.2, 1.1, 1.3, 0.9), False)])
def test_finalists_on_a_busy_device_are_measured_again_and_then_taken(
    ms: tuple[float, ...], met: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        finalists, "trained", lambda *_: SimpleNamespace(extract=lambda arch: torch.nn.ReLU())
    )
    space: Any = SimpleNamespace(slots=(), input_shape=lambda arch: (3, 8, 8))
    console = Console(tmp_path / "log.txt")
    device: Any = Busy(*ms)
    work = Finalists(space=space, target=device, limit_ms=1.0, run=tmp_path, console=console)
    (entry,) = work.entries("run", candidates(1), [0.9])
    assert entry.meets_limit == met
    summary = SearchSummary(
        limit_ms=1.0, confidence=0.95, reference=(0.0, 1.0), front=(entry,), largest=None, scored_images=1
    )
    assert chosen_from_front(summary, 2) == [entry]
    log = tmp_path / "log.txt"
    assert met or "the device may be busy" in log.read_text()
