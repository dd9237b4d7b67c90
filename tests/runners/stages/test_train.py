"""What the train stage checks and watches: resolutions, sizes of archs, alarms, names in recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy.stats import spearmanr
from torch import Tensor, nn

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.rules import rule
from runners.data.prepared import RunData
from runners.reading.load import load_recipe
from runners.recipe.schema import Train
from runners.stages.train import bigger_is_worse, check_training, train_settings
from runners.training.resolutions import check_input, check_outputs, check_resolutions
from runners.training.supernet import SupernetTraining
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.runners.training.test_loop import digits, prepare, tiny_space
from tests.spaces import cifar_space, digits_space, resnet_space, vit_space


def test_resolutions_that_networks_take_come_with_their_width() -> None:
    assert check_resolutions(cifar_space(), [16, 24, 32]) == [(16, 16), (24, 24), (32, 32)]
    assert check_resolutions(digits_space(), []) == []
    itself = preset("digits", classes=10, input_shape=(1, 8, 8), resolutions=(4, 8))
    assert check_resolutions(itself, []) == []
    with pytest.raises(ValueError, match=r"leave one of the two out"):
        check_resolutions(itself, [4])
    stages = [Stage(widths=(16,), depths=(1,)), Stage(widths=(16,), depths=(1,))]
    wide = metaformer("wide", stages, classes=3, input_shape=(3, 16, 32))
    assert check_resolutions(wide, [12]) == [(12, 24)]


def test_resolutions_that_do_not_fit_are_told_why() -> None:
    with pytest.raises(ValueError, match=r"train.resolutions: 20 gives an input of 20x20, no multiple .* 8"):
        check_resolutions(cifar_space(), [32, 20])
    strides = preset("fast-32", classes=10, input_shape=(3, 32, 32), blocks=["residual"])  # 4 or 8
    with pytest.raises(ValueError, match=r"20x20, no multiple of the networks' stride, 8"):
        check_resolutions(strides, [20])
    with pytest.raises(ValueError, match="train.resolutions: 40 is not between 1 and the input's height, 32"):
        check_resolutions(cifar_space(), [40])
    with pytest.raises(ValueError, match="train.resolutions: 8 does not run through arch"):
        check_resolutions(vit_space(), [8])  # its positions are learned for one size


def test_norms_are_apart_where_the_recipe_says_so_and_a_space_of_layers_is_needed(tmp_path: Path) -> None:
    space = tiny_space()
    images, labels = digits(64)
    for own_norms in (False, True):
        training = SupernetTraining(
            space=space,
            rule=rule("sandwich"),
            settings=train_settings(Train(epochs=1, own_norms=own_norms)),
            seed=0,
            prepare=prepare,
            own_norms=own_norms,
        )
        trained = training(images, labels, tmp_path / f"{own_norms}.safetensors")
        assert any(name.endswith("norm.weight[16]") for name in trained.index) == own_norms
    with pytest.raises(ValueError, match=r"train\.own_norms: space .* only builds whole networks"):
        check_training(vit_space(), cast(RunData, None), Train(epochs=1, own_norms=True))


def test_a_space_for_other_images_than_there_are_is_refused() -> None:
    check_input(cifar_space(), (3, 32, 32))
    with pytest.raises(ValueError, match=r"sees images of \(3, 32, 32\), and the data are \(1, 8, 8\)"):
        check_input(cifar_space(), (1, 8, 8))
    sizes = SearchSpace(
        "sizes",
        [Choice("side", (24, 32))],
        lambda arch: nn.Flatten(),
        input_shape=lambda arch: (3, int(arch["side"]), int(arch["side"])),
    )
    with pytest.raises(ValueError, match=r"'side': 24} sees images of \(3, 24, 24\).*train.resolutions"):
        check_input(sizes, (3, 32, 32))


class Auxiliary(nn.Module):
    """Logits; while it is trained, further ones from half way."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer, self.second = nn.Linear(64, 10), nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        y: Tensor = self.layer(x.flatten(1))
        return (y, self.second(x.flatten(1))) if self.training else y


class Twice(nn.Module):
    """Gives two tensors, as networks with an auxiliary head do."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)),
            r"makes \(2, 7\) of two images, .* 10 classes",
        ),
        (lambda: nn.Conv2d(1, 10, 3), r"makes \(2, 10, 6, 6\) of two images"),
        (lambda: Twice(), "makes tuple of two images"),
        (lambda: nn.Conv2d(3, 10, 3), r"does not run on images of \(1, 8, 8\): .*3 channels"),
        (lambda: Auxiliary(7), r"arch .* in training mode makes \(2, 7\) of two images"),
    ],
)
def test_networks_that_do_not_classify_the_data_are_refused(
    network: Callable[[], nn.Module], message: str
) -> None:
    space = SearchSpace("odd", [Choice("a", (1,))], lambda arch: network(), input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=message):
        check_outputs(space, (1, 8, 8), 10)
    check_outputs(digits_space(), (1, 8, 8), 10)


def test_auxiliary_outputs_in_training_are_taken() -> None:
    space = SearchSpace("aux", [Choice("a", (1,))], lambda arch: Auxiliary(10), input_shape=(1, 8, 8))
    check_outputs(space, (1, 8, 8), 10)


def test_a_resolution_is_tried_in_training_mode() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.batch_norm(x, None, None, training=True) if self.training else x

    space = SearchSpace("picky", [Choice("a", (1,))], lambda arch: Picky(), input_shape=(1, 8, 8))
    check_resolutions(space, [4])

    class Bad(Picky):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mean((0, 2, 3), keepdim=True))

    space = SearchSpace("bad", [Choice("a", (1,))], lambda arch: Bad(), input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=r"train.resolutions: 4 does not run .*Expected more than 1"):
        check_resolutions(space, [4])


def test_a_network_that_asserts_its_input_is_told_as_any_other() -> None:
    class Asserting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] != 32:
                raise AssertionError
            return x

    space = SearchSpace("strict", [Choice("a", (1,))], lambda arch: Asserting())
    with pytest.raises(ValueError, match="train.resolutions: 16 does not run through arch .*AssertionError"):
        check_resolutions(space, [16])


def test_macs_are_exact_where_layers_are_listed_and_rank_well_where_they_are_not() -> None:
    rng = np.random.default_rng(0)
    for space in (digits_space(), resnet_space()):
        costs = AnalyticCosts(space)
        size = macs_of(costs, seed=0)
        rows = space.sample(25, rng)
        if space.slots:
            assert size(rows) == pytest.approx(costs.macs(rows))
        else:
            assert spearmanr(size(rows), costs.macs(rows)).statistic > 0.9
            assert size(rows) == pytest.approx(macs_of(AnalyticCosts(space), seed=0)(rows))


RANDOM = "random subnet of 4.00 M MACs"


def test_any_bigger_subnet_that_does_clearly_worse_raises_an_alarm() -> None:
    macs = {"largest": 8e6, "smallest": 1e6, RANDOM: 4e6}
    fine = {"largest": 0.90, "smallest": 0.80, RANDOM: 0.85}
    assert bigger_is_worse(fine, macs, 1000) == ()
    (alarm,) = bigger_is_worse(fine | {RANDOM: 0.70}, macs, 1000)
    assert alarm.startswith(
        "the random subnet of 4.00 M MACs does worse than the smallest subnet (1.00 M MACs): "
        "70.0% against 80.0%"
    )
    (alarm,) = bigger_is_worse(fine | {"largest": 0.75}, macs, 1000)
    assert alarm.startswith(
        "the largest subnet (8.00 M MACs) does worse than the random subnet of 4.00 M MACs"
    )


def test_noise_and_networks_of_about_one_size_raise_none() -> None:
    macs = {"largest": 8e6, "smallest": 1e6, RANDOM: 7e6}
    watched = {"largest": 0.80, "smallest": 0.70, RANDOM: 0.90}
    assert bigger_is_worse(watched, macs, 1000) == ()  # hardly smaller: another mixer, not a worse training
    close = {"largest": 0.80, "smallest": 0.81, RANDOM: 0.80}
    assert bigger_is_worse(close, macs, 1000) == ()
    assert len(bigger_is_worse(close, macs, 100_000)) == 2


def test_an_unknown_rule_in_a_recipe_is_named_with_its_key() -> None:
    with pytest.raises(ValueError, match="train.rule: unknown training rule 'sandwhich'. Did you mean"):
        load_recipe("digits", ["train.rule=sandwhich"])
    with pytest.raises(ValueError, match=r"train.distillation = .*'kl' or 'alpha'"):
        load_recipe("digits", ["train.distillation=mse"])
    with pytest.raises(
        ValueError, match='train.sampling: the rule cost_buckets draws by size; give it sampling = "size"'
    ):
        load_recipe("digits", ["train.rule=cost_buckets", "train.sampling=choices"])
    recipe = load_recipe(
        "digits", ["train.rule=nested", "train.resolutions=[8, 6]", "train.mixup=0.2", "train.cutmix=1.0"]
    )
    assert recipe.train.resolutions == (8, 6)
