"""The training loop: it learns, it goes on exactly where it was killed, it stops at a loss gone wrong."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.distillation import DISTILLATIONS
from nas.rules import RULES, rule
from nas.rules.moment import Moment, Pass, Rule
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from runners.scoring.score import score
from runners.training.batches import TrainingData
from runners.training.loop import DivergedError, train
from runners.training.mixing import Mix
from runners.training.passes import run_passes
from runners.training.settings import TrainSettings
from runners.training.trainable import SharedWeights
from runners.training.watch import EpochSummary, Watch
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer

SETTINGS = TrainSettings(
    epochs=3,
    batch_size=64,
    learning_rate=3e-3,
    weight_decay=0.05,
    warmup_epochs=1,
    label_smoothing=0.1,
    gradient_clip=1.0,
    average_decay=0.9,
    checkpoint_s=0.0,  # after every step
)


KERNELS = {"depthwise": {"kernel": (3, 5)}}


def tiny_space() -> SearchSpace:
    stages = [Stage(widths=(16, 32), depths=(1, 2), resolution_step=2, options=KERNELS, ratios=(1, 2))]
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


def data(n: int = 400, mix: Mix | None = None) -> TrainingData:
    images, labels = digits(n)
    return TrainingData(images=images, labels=labels, prepare=prepare, mix=mix)


class Killed(Exception):
    pass


def run(
    folder: Path,
    settings: TrainSettings = SETTINGS,
    kill_at: int = 0,
    rule: Rule = rule("sandwich", {"random_subnets": 1, "labels": 0.5}),  # noqa: B008 - a function, and never changed
    mix: Mix | None = None,
    n_images: int = 400,
) -> tuple[Supernet, list[EpochSummary]]:
    summaries: list[EpochSummary] = []

    def on_step(step: int, total: int) -> None:
        if step == kill_at:
            raise Killed

    space = tiny_space()
    trained = train(
        SharedWeights(Supernet(space, seed=1), macs_of(AnalyticCosts(space), seed=0)),
        data(n_images, mix),
        settings,
        rule=rule,
        seed=5,
        checkpoint=folder / "checkpoint.safetensors",
        watch=Watch(step=on_step, epoch=lambda summary, judged: summaries.append(summary)),
    )
    return trained, summaries


def test_it_learns(tmp_path: Path) -> None:
    trained, summaries = run(tmp_path, replace(SETTINGS, epochs=20, checkpoint_s=60.0))
    images, labels = digits()
    network = recalibrate(trained.subnet(trained.space.largest()), prepare(images, None))
    assert score(network, prepare(images, None), labels) > 0.9
    assert summaries[-1].loss < summaries[0].loss
    assert [summary.epoch for summary in summaries] == list(range(20))


def test_a_training_that_is_all_warm_up_still_comes_down(tmp_path: Path) -> None:
    """Fewer images than a batch: one step an epoch, and as many images in it as there are."""
    _, summaries = run(tmp_path, replace(SETTINGS, epochs=8, warmup_epochs=10), n_images=40)
    rates = [summary.learning_rate for summary in summaries]
    assert max(rates) == rates[3] == rates[4] == SETTINGS.learning_rate
    assert rates[7] < 0.2 * SETTINGS.learning_rate
    for summary in summaries:
        assert summary.images_per_second * summary.seconds == pytest.approx(40)


@pytest.mark.parametrize(("kill_at", "optimizer"), [(6, "adamw"), (7, "adamw"), (7, "muon")])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    tmp_path: Path, kill_at: int, optimizer: str
) -> None:
    settings = replace(SETTINGS, optimizer=optimizer)
    whole, expected = run(tmp_path / "whole", settings)
    with pytest.raises(Killed):
        run(tmp_path / "killed", settings, kill_at)
    continued, summaries = run(tmp_path / "killed", settings)
    for group, flat in whole.flat.items():
        assert torch.equal(flat, continued.flat[group])
    last, wanted = summaries[-1], expected[-1]
    assert (last.epoch, last.step, last.loss) == (wanted.epoch, wanted.step, wanted.loss)


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_resumes_bit_for_bit(tmp_path: Path, name: str) -> None:
    """With all that draws anything at once: augmentation, mixing, sizes, resolutions, and a long memory."""
    settings = replace(SETTINGS, epochs=2, batch_size=8, distillation="alpha")
    options = {"labels": 0.5} if name == "sandwich" else {}
    chosen = rule(name, options, resolutions=[(8, 8), (6, 6)])
    mix = Mix(classes=10, mixup=0.2, cutmix=1.0)
    whole, expected = run(tmp_path / "whole", settings, 0, chosen, mix, 96)
    with pytest.raises(Killed):
        run(tmp_path / "killed", settings, 17, chosen, mix, 96)
    continued, summaries = run(tmp_path / "killed", settings, 0, chosen, mix, 96)
    for group, flat in whole.flat.items():
        assert torch.equal(flat, continued.flat[group])
    assert summaries[-1].loss == expected[-1].loss


def test_the_history_of_passes_is_given_to_the_rule_and_survives_a_kill(tmp_path: Path) -> None:
    seen: dict[int, Moment] = {}

    def watching(moment: Moment) -> list[Pass]:
        seen[round(moment.progress * 18)] = moment
        return rule("sandwich", {"random_subnets": 1, "labels": 0.5})(moment)

    run(tmp_path / "whole", rule=watching)
    whole = seen.copy()
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=9, rule=watching)
    run(tmp_path / "killed", rule=watching)
    for step in range(18):
        history = seen[step].history
        assert len(history.sizes) == 3 * step
        later = max(0, step - 9)  # after half of the training the smaller ones are taught
        assert history.taught.tolist() == [False] * 3 * (step - later) + [False, True, True] * later
        for part in ("sizes", "losses", "taught"):
            np.testing.assert_array_equal(getattr(history, part), getattr(whole[step].history, part))
    space = tiny_space()
    macs = AnalyticCosts(space).macs(space.to_row(space.largest())[None])[0]
    assert seen[1].history.sizes[0] == macs


def test_what_a_rule_draws_follows_from_seed_and_step(tmp_path: Path) -> None:
    drawn: list[list[float]] = []

    def watching(moment: Moment) -> list[Pass]:
        drawn.append(moment.rng.random(3).tolist())
        return rule("uniform", {"random_subnets": 0})(moment)

    run(tmp_path, replace(SETTINGS, epochs=1), rule=watching)
    assert drawn == [np.random.default_rng([5, step]).random(3).tolist() for step in range(6)]


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


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, epochs=1))
    with pytest.raises(ValueError, match="checkpoint .* is of a training with other settings"):
        run(tmp_path, replace(SETTINGS, epochs=1, learning_rate=1e-3))


@pytest.mark.parametrize("second", ["wider", "renamed"])
def test_a_checkpoint_of_a_model_that_was_changed_since_is_refused(tmp_path: Path, second: str) -> None:
    """A space that only builds has the same choices whatever its networks become."""

    def space(width: int, name: str) -> SearchSpace:
        def build(arch: Arch) -> nn.Module:
            layers = [("flat", nn.Flatten()), (name, nn.Linear(64, width * int(arch["width"])))]
            return nn.Sequential(OrderedDict([*layers, ("head", nn.Linear(width * int(arch["width"]), 10))]))

        return SearchSpace("mine", [Choice("width", (4, 8))], build, input_shape=(1, 8, 8))

    def trained(space: SearchSpace) -> None:
        train(
            SharedWeights(Supernet(space)),
            data(64),
            replace(SETTINGS, epochs=1),
            rule=rule("sandwich"),
            seed=0,
            checkpoint=tmp_path / "checkpoint.safetensors",
        )

    trained(space(1, "enter"))
    with pytest.raises(ValueError, match="checkpoint .* is of other parameters than the networks have"):
        trained(space(2, "enter") if second == "wider" else space(1, "first"))


def test_a_loss_that_is_not_finite_stops_with_step_arch_and_checkpoint(tmp_path: Path) -> None:
    def poisoned(images: Tensor, generator: torch.Generator | None) -> Tensor:
        return images * float("nan")

    with pytest.raises(DivergedError, match=r"loss is nan at step 0 for arch .*stage0.width.*checkpoint"):
        train(
            SharedWeights(Supernet(tiny_space())),
            replace(data(64), prepare=poisoned),
            SETTINGS,
            rule=rule("sandwich"),
            seed=0,
            checkpoint=tmp_path / "checkpoint.safetensors",
        )


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_loss_gone_wrong_in_any_pass_is_found(tmp_path: Path, name: str) -> None:
    """The first step is good, then a weight is NaN; the state before is there to go on from."""
    space = tiny_space()
    supernet = Supernet(space)

    def poison(step: int, total: int) -> None:
        if step == 1:
            with torch.no_grad():
                next(iter(supernet.flat.values())).fill_(float("nan"))

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(
        DivergedError, match=r"loss is nan at step 1 for arch .*The last good state is .*safet"
    ):
        train(
            SharedWeights(supernet, macs_of(AnalyticCosts(space), seed=0)),
            data(128),
            SETTINGS,
            rule=rule(name),
            seed=0,
            checkpoint=checkpoint,
            watch=Watch(step=poison),
        )


def test_a_gradient_gone_wrong_is_found_before_it_reaches_the_weights(tmp_path: Path) -> None:
    space = tiny_space()
    supernet = Supernet(space)
    before = {group: flat.clone() for group, flat in supernet.flat.items()}
    with pytest.raises(DivergedError, match=r"the gradient's norm is (nan|inf) at step 0.*not written yet"):
        train(
            SharedWeights(supernet),
            data(64),
            SETTINGS,
            rule=lambda moment: [Pass(arch=space.largest(), weight=float("inf"))],
            seed=0,
            checkpoint=tmp_path / "checkpoint.safetensors",
        )
    assert all(torch.equal(before[group], flat) for group, flat in supernet.flat.items())


def one_step(supernet: Supernet, **settings: float | str) -> tuple[Tensor, Tensor]:
    """The flat weights before and after a step of the largest alone on 32 digits."""
    before = torch.cat(list(supernet.flat.values())).clone()
    train(
        SharedWeights(supernet),
        data(32),
        replace(SETTINGS, epochs=1, batch_size=32, warmup_epochs=0, average_decay=0, **settings),
        rule=lambda moment: [Pass(arch=moment.space.largest())],
        seed=0,
    )
    return before, torch.cat(list(supernet.flat.values()))


def test_the_gradient_is_clipped_to_the_norm_that_is_set() -> None:
    """AdamW's own step hides the norm; the gradient that is left behind shows it."""
    for limit in (1e-3, 1e6):
        supernet = Supernet(tiny_space(), seed=2)
        one_step(supernet, gradient_clip=limit)
        norm = torch.linalg.vector_norm(torch.cat(list(supernet.grad.values()))).item()
        assert norm == pytest.approx(limit, rel=1e-3) if limit < 1 else 0.1 < norm < limit


def test_label_smoothing_and_distillation_are_those_of_the_settings() -> None:
    space = tiny_space()
    supernet = Supernet(space, seed=3)
    images, labels = digits(32)
    batch = prepare(images, None)
    passes = [Pass(arch=space.largest()), Pass(arch=space.smallest(), teacher=0)]
    shared = SharedWeights(supernet)
    (sharp, by_kl), _ = run_passes(shared, batch, labels, passes)
    (smooth, by_alpha), _ = run_passes(
        shared, batch, labels, passes, label_smoothing=0.3, distillation="alpha"
    )
    with torch.no_grad():
        teacher, student = (supernet.subnet(one.arch)(batch) for one in passes)
    assert sharp == pytest.approx(F.cross_entropy(teacher, labels).item(), rel=1e-5)
    spread = 0.7 * F.cross_entropy(teacher, labels) - 0.3 * teacher.log_softmax(dim=1).mean()
    assert smooth == pytest.approx(spread.item(), rel=1e-5)
    assert by_kl == pytest.approx(DISTILLATIONS["kl"](student, teacher).item(), rel=1e-4)
    assert by_alpha == pytest.approx(DISTILLATIONS["alpha"](student, teacher).item(), rel=1e-4)


def test_the_moving_average_lags_the_weights_by_its_decay() -> None:
    """Recomputed from the weights after each step: decay (s + 1) / (s + 10), at most the one that is set."""
    space = tiny_space()
    supernet = Supernet(space, seed=1)
    expected = {group: flat.clone() for group, flat in supernet.flat.items()}

    def follow(step: int, total: int) -> None:
        decay = min(0.5, step / (step + 9))
        for group, average in expected.items():
            average.mul_(decay).add_(supernet.flat[group], alpha=1 - decay)

    trained = train(
        SharedWeights(supernet),
        data(128),
        replace(SETTINGS, epochs=8, average_decay=0.5),
        rule=rule("sandwich", {"random_subnets": 0}),
        seed=0,
        watch=Watch(step=follow),
    )
    for group, average in expected.items():
        torch.testing.assert_close(trained.flat[group], average)
        assert not torch.equal(average, supernet.flat[group])


def test_bf16_learns_too_and_keeps_its_weights_in_float32(tmp_path: Path) -> None:
    trained, summaries = run(tmp_path, replace(SETTINGS, epochs=6, precision="bf16", checkpoint_s=60.0))
    assert summaries[-1].loss < 0.8 * summaries[0].loss
    assert {flat.dtype for flat in trained.flat.values()} == {torch.float32}
    exact, _ = run(tmp_path / "exact", replace(SETTINGS, epochs=6, checkpoint_s=60.0))
    assert not all(torch.equal(exact.flat[group], trained.flat[group]) for group in exact.flat)
