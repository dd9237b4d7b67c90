"""One Ray session for the module: pools join it and leave it open."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.search.pool import Outcome, Pool, SerialPool
from nas.supernet.supernet import Supernet
from results.loading import load_module
from runners.pools.evaluate_all import evaluate_all
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import import_ray
from runners.scoring.subnets import SubnetEvaluator, worker_evaluator
from search_spaces.mixers import MIXERS
from search_spaces.spaces.presets import preset
from tests.runners.pools import evaluators
from tests.spaces import digits_space


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    ray = import_ray()
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    assert ray.is_initialized(), "a pool ended a session that it had only joined"
    ray.shutdown()


@pytest.fixture(scope="module")
def pool(ray_session: None) -> Iterator[RayPool]:
    with RayPool(evaluators.plain, workers=2, timeout_seconds=1.5) as pool:
        seen: set[str] = set()
        for _ in range(100):  # until both are up
            seen |= {outcome.worker for outcome in outcomes(pool, [{"x": 0, "seconds": 0.05}] * 2)}
            if len(seen) == 2:
                break
        yield pool


def outcomes(pool: Pool, archs: list[dict[str, Any]]) -> list[Outcome]:
    return evaluate_all(pool, enumerate(archs), lambda outcome: None)


def test_is_a_pool(pool: RayPool) -> None:
    assert isinstance(pool, Pool)
    assert pool.capacity == 2


def test_every_ticket_comes_back_once_with_its_own_scores(pool: RayPool) -> None:
    for ticket in range(40):  # far more than the capacity: submit never blocks
        pool.submit(ticket, {"x": ticket})
    done = [pool.next() for _ in range(40)]
    assert {o.ticket: o.scores for o in done} == {t: {"accuracy": 10.0 * t} for t in range(40)}
    assert len({o.worker for o in done}) == 2
    assert all(0 <= o.seconds < 1 and not o.error for o in done)


def test_the_fast_does_not_wait_for_the_slow(pool: RayPool) -> None:
    pool.submit(0, {"x": 0, "seconds": 0.8})
    for ticket in range(1, 6):
        pool.submit(ticket, {"x": ticket, "seconds": 0.01})
    order = [pool.next().ticket for _ in range(6)]
    assert order[-1] == 0, "five short evaluations fit beside the long one"


def test_what_an_evaluator_raises_is_the_outcome_and_is_not_tried_again(pool: RayPool) -> None:
    failed, good = outcomes(pool, [{"x": 1, "what": "raise"}, {"x": 2}])
    assert failed.scores is None
    assert failed.error == "KeyError: 'no such mixer'"
    assert good.scores == {"accuracy": 20.0}


def test_nan_is_an_error(pool: RayPool) -> None:
    (outcome,) = outcomes(pool, [{"x": 1, "what": "nan"}])
    assert outcome.scores is None
    assert outcome.error == "the evaluation gave no usable score: accuracy is nan"


@pytest.mark.parametrize("what", ["kill once", "hang once"])
def test_a_lost_worker_costs_one_evaluation_which_is_tried_again(
    pool: RayPool, tmp_path: Path, what: str
) -> None:
    archs: list[dict[str, Any]] = [{"x": x} for x in range(8)]
    archs[2] |= {"what": what, "once": str(tmp_path / "mark")}
    assert [o.scores for o in outcomes(pool, archs)] == [{"accuracy": 10.0 * x} for x in range(8)]
    assert (tmp_path / "mark").exists()


def test_what_kills_or_hangs_every_worker_is_given_up_in_words(pool: RayPool) -> None:
    killed, hung, good = outcomes(pool, [{"x": 0, "what": "kill"}, {"x": 1, "what": "hang"}, {"x": 2}])
    assert killed.scores is None
    assert killed.error == "the worker died (killed, out of memory, or a crash in native code); tried 2 times"
    assert hung.error == "no answer within 1.5 s; tried 2 times"
    assert good.scores == {"accuracy": 20.0}
    assert len(outcomes(pool, [{"x": x, "seconds": 0.1} for x in range(4)])) == 4, "both were replaced"


def test_next_without_work_says_so(pool: RayPool) -> None:
    with pytest.raises(ValueError, match="nothing under way"):
        pool.next()


def test_other_threads_can_work_while_it_waits(pool: RayPool) -> None:
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.02):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    outcomes(pool, [{"x": 1, "seconds": 0.5}])
    done.set()
    thread.join()
    assert len(ticks) > 10


def test_same_values_as_the_serial_pool() -> None:
    """Contract 14, on a supernet: read from shared memory in a worker, and here."""
    torch.manual_seed(0)
    space = digits_space()
    images, labels = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    evaluator = SubnetEvaluator(
        supernet=Supernet(space, seed=1), calibration=torch.randn(64, 1, 8, 8), images=images, labels=labels
    )
    archs = [space.to_arch(row) for row in space.sample(6, np.random.default_rng(2))]
    make = partial(worker_evaluator, space, evaluator.supernet.index)
    with RayPool(make, evaluator.arrays(), workers=2) as pool:
        remote = outcomes(pool, archs)
    local = outcomes(SerialPool(evaluator), archs)
    assert [o.scores for o in remote] == [o.scores for o in local]
    assert not any(o.error for o in remote)


PARTS = """
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer


def shifted(x: Tensor, by: int) -> Tensor:
    return x.roll(by, dims=-1)


class Shift(nn.Module):
    def __init__(self, channels: int, *, by: int) -> None:
        super().__init__()
        self.by = by
        self.scale = nn.Conv2d(channels, channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(shifted(x, self.by))


register_mixer(Mixer(name="moved", make=Shift, choices=(Choice("by", (1, 2), role="kernel"),)))
"""


def test_a_mixer_from_a_users_file_scores_in_workers(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is no module that a worker could import: its code travels by value."""
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))
    (tmp_path / "my_parts.py").write_text(PARTS)
    load_module(str(tmp_path / "my_parts.py"))
    assert "my_parts" not in sys.modules
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("moved", "depthwise"))
    torch.manual_seed(0)
    evaluator = SubnetEvaluator(
        supernet=Supernet(space, seed=1),
        calibration=torch.randn(32, 1, 8, 8),
        images=torch.randn(64, 1, 8, 8),
        labels=torch.randint(10, (64,)),
    )
    rows = space.sample(40, np.random.default_rng(2))
    archs = [arch for row in rows if "moved" in (arch := space.to_arch(row)).values()][:6]
    assert len(archs) == 6
    assert {arch["stage0.block0.by"] for arch in archs} == {1, 2}
    make = partial(worker_evaluator, space, evaluator.supernet.index)
    (tmp_path / "my_parts.py").unlink()
    with RayPool(make, evaluator.arrays(), workers=2) as pool:
        remote = outcomes(pool, archs)
    assert [o.error for o in remote] == [""] * 6
    assert [o.scores for o in remote] == [o.scores for o in outcomes(SerialPool(evaluator), archs)]


def test_an_evaluator_that_cannot_be_made_ends_the_search_in_words(ray_session: None) -> None:
    with RayPool(evaluators.broken, {"labels": np.zeros(3)}, workers=1) as pool:
        pool.submit(0, {"x": 0})
        with pytest.raises(ValueError, match=r"could not be set up .* FileNotFoundError: no images among"):
            pool.next()


def test_workers_that_die_while_they_start_are_not_started_for_ever(ray_session: None) -> None:
    with RayPool(evaluators.dying, workers=1) as pool:
        pool.submit(0, {"x": 0})
        with pytest.raises(ConnectionError, match="workers die while they start: the worker died"):
            pool.next()


def test_more_workers_than_cpus_is_refused(ray_session: None) -> None:
    with RayPool(evaluators.plain, workers=5) as pool:
        pool.submit(0, {"x": 0})
        with pytest.raises(ValueError, match="5 workers need one CPU each, and the Ray session has 4"):
            pool.next()


def test_a_session_elsewhere_is_not_left_for_another_address(ray_session: None) -> None:
    with RayPool(evaluators.plain, address="127.0.0.1:1") as pool:
        pool.submit(0, {"x": 0})
        with pytest.raises(
            ValueError, match=r"connected to Ray at .*; close that before joining 127\.0\.0\.1:1"
        ):
            pool.next()


def test_a_closed_pool_takes_nothing_more() -> None:
    pool = RayPool(evaluators.plain)
    pool.close()
    pool.close()
    with pytest.raises(ValueError, match="closed"):
        pool.submit(0, {"x": 0})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"timeout_seconds": 0.0}, r"timeout_seconds is 0\.0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds is nan"),
        ({"retries": -1}, "retries is -1"),
        ({"start_seconds": -1.0}, "start_seconds is"),
        ({"address": "ray://head:10001"}, "is not host:port"),
        ({"address": "head"}, "is not host:port"),
        ({"arrays": {"names": np.array(["a", None], dtype=object)}}, "array 'names' is not a numpy array of"),
    ],
)
def test_bad_arguments_are_named_at_once(wrong: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RayPool(evaluators.plain, **wrong)


def test_an_evaluator_that_cannot_be_sent_is_refused_at_once() -> None:
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot be sent to other processes .*lock"):
        RayPool(lambda arrays: lambda arch: {"x": float(lock.locked())})
    with pytest.raises(ValueError, match="give a function"):
        RayPool(3)  # type: ignore[arg-type]
