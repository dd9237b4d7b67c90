"""A score belongs to its arch alone: the same in a worker, in any order, whatever was scored before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.onnx.numbers.rounded import rounded
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from runners.scoring.score import score
from runners.scoring.subnets import SubnetEvaluator, worker_evaluator
from runners.training.threads import computing_with
from search_spaces.space import Arch
from search_spaces.spaces.precisions import with_precisions
from search_spaces.spaces.presets import preset
from tests.spaces import SPACES


@pytest.fixture(scope="module", params=["digits", "resnet", "vit"])
def evaluator(request: pytest.FixtureRequest) -> SubnetEvaluator:
    space = SPACES[request.param]()
    rng = torch.Generator().manual_seed(0)
    shape = space.input_shape(space.largest())
    images: Tensor = torch.randn(96, *shape, generator=rng)
    supernet = Supernet(space, seed=3)
    for flat in supernet.flat.values():  # away from the first values, so that archs tell classes apart
        flat += 0.05 * torch.randn(flat.shape, generator=rng)
    return SubnetEvaluator(
        supernet=supernet,
        calibration=torch.randn(64, *shape, generator=rng),
        images=images,
        labels=torch.randint(0, 10, (96,), generator=rng),
    )


def archs(evaluator: SubnetEvaluator, n: int = 6) -> list[Arch]:
    space = evaluator.supernet.space
    rows = space.sample(n, np.random.default_rng(1))
    return [space.smallest(), space.largest(), *(space.to_arch(row) for row in rows)]


def worker(evaluator: SubnetEvaluator) -> SubnetEvaluator:
    arrays = evaluator.arrays()
    for array in arrays.values():
        array.flags.writeable = False
    with computing_with(0):
        return worker_evaluator(evaluator.supernet.space, evaluator.supernet.index, arrays)


def test_a_worker_over_read_only_arrays_gives_exactly_the_same_scores(evaluator: SubnetEvaluator) -> None:
    remote = worker(evaluator)
    chosen = archs(evaluator)
    scores = [evaluator(arch) for arch in chosen]
    assert [remote(arch) for arch in chosen] == scores
    assert len({score["accuracy"] for score in scores}) > 1


def test_a_worker_shares_the_memory_instead_of_copying_it(evaluator: SubnetEvaluator) -> None:
    arrays = evaluator.arrays()
    remote = worker_evaluator(evaluator.supernet.space, evaluator.supernet.index, arrays)
    assert remote.images.data_ptr() == arrays["images"].ctypes.data
    for group, flat in remote.supernet.flat.items():
        assert flat.data_ptr() == evaluator.supernet.flat[group].data_ptr()


def test_the_order_of_scoring_makes_no_difference(evaluator: SubnetEvaluator) -> None:
    chosen = archs(evaluator)
    forwards = {index: evaluator(chosen[index]) for index in range(len(chosen))}
    backwards = {index: evaluator(chosen[index]) for index in reversed(range(len(chosen)))}
    assert forwards == backwards
    alone = worker(evaluator)  # an evaluator that has scored nothing yet
    assert alone(chosen[-1]) == forwards[len(chosen) - 1]


def test_scoring_changes_no_weight(evaluator: SubnetEvaluator) -> None:
    before = {group: flat.clone() for group, flat in evaluator.supernet.flat.items()}
    for arch in archs(evaluator):
        evaluator(arch)
    assert all(torch.equal(before[group], flat) for group, flat in evaluator.supernet.flat.items())


def test_accuracy_is_the_share_of_right_answers(evaluator: SubnetEvaluator) -> None:
    space = evaluator.supernet.space
    network = recalibrate(evaluator.supernet.subnet(space.largest()), evaluator.calibration)
    told = evaluator(space.largest())["accuracy"]
    with torch.no_grad():
        answers = network.eval()(evaluator.images).argmax(dim=1)
    wanted = float((answers == evaluator.labels).float().mean())
    assert told == pytest.approx(wanted, abs=1.5 / len(evaluator.labels))  # a tie may fall either way


def test_outputs_that_are_not_finite_are_no_answers() -> None:
    images, labels = torch.ones(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    assert 0 <= score(network, images, labels) <= 1
    torch.nn.init.constant_(network[1].bias, float("nan"))
    with pytest.raises(ValueError, match="not all finite"):
        score(network, images, labels)


def test_the_score_of_an_arch_with_int8_parts_is_that_of_its_rounded_network() -> None:
    plain = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("depthwise",))
    space = with_precisions(plain, "stage")
    rng = torch.Generator().manual_seed(0)
    made = SubnetEvaluator(
        supernet=Supernet(space, seed=0),
        calibration=torch.randn(64, 1, 8, 8, generator=rng),
        images=torch.randn(512, 1, 8, 8, generator=rng),
        labels=torch.zeros(512, dtype=torch.int64),
    )
    before = {name: flat.clone() for name, flat in made.supernet.flat.items()}
    parts = ("stage0", "stage1", "head")
    for precision in ("int8", "fp32"):
        arch = {**space.smallest(), **{f"{part}.precision": precision for part in parts}}
        network = recalibrate(made.supernet.extract(arch), made.calibration)
        if precision == "int8":
            network = rounded(network, ("",), made.calibration)
        assert made(arch)["accuracy"] == score(network, made.images, made.labels)
    assert all(torch.equal(flat, before[name]) for name, flat in made.supernet.flat.items())
