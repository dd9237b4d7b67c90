"""The order in which a race takes its networks, by proxies of untrained ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.proxies import PROXIES
from results.records import Scouted
from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.stages.racing import Racing
from runners.stages.sieve import sieved, within_families
from runners.stages.starters import family
from tests.runners.training.test_loop import tiny_space

COMMON: dict[str, Any] = {"precision": "fp32", "latency_ms": 1.0, "low_ms": 1.0, "high_ms": 1.0, "params": 1}


@pytest.fixture
def few_weights() -> Iterator[None]:
    @PROXIES.register("few_weights")
    def few_weights(
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        loss: Callable[..., Tensor],
        seed: int,
    ) -> float:
        """Less the number of parameters, where the loss of the batch is a number."""
        assert bool(loss(network(images), labels).isfinite())
        return -float(sum(one.numel() for one in network.parameters()))

    yield
    del PROXIES._entries["few_weights"]


def test_families_keep_their_places_and_are_ordered_within() -> None:
    def one(block: str, place: int) -> Scouted:
        return Scouted(arch={"stage0.block": block, "place": place}, macs=place, **COMMON)

    before = [one("plain", 0), one("plain", 1), one("depthwise", 2), one("plain", 3), one("depthwise", 4)]
    found = within_families(before, [before[at] for at in (4, 3, 2, 1, 0)])
    assert [family(one.arch) for one in found] == [family(one.arch) for one in before]
    assert [one.macs for one in found] == [3, 1, 4, 0, 2]


@pytest.mark.usefixtures("few_weights")
def test_a_race_begins_with_what_its_proxies_rank_first(tmp_path: Path) -> None:
    space = tiny_space()
    archs = [space.to_arch(row) for row in space.sample(6, np.random.default_rng(0))]
    candidates = [Scouted(arch=arch, macs=place, **COMMON) for place, arch in enumerate(archs)]
    recipe = load_recipe("digits", ["search.ranking=alone", 'race.sieve=["few_weights"]'])
    splits = load_data(recipe.data, seed=0)
    data = RunData(splits=splits, prepare=Prepare(preprocessing=splits.preprocessing), calibration_images=64)
    unused: Any = None
    work = Racing(
        space=space,
        data=data,
        target=unused,
        candidates=candidates,
        limit_ms=1.0,
        recipe=recipe,
        device=torch.device("cpu"),
        clock=None,
        run=tmp_path,
        console=Console(tmp_path / "log.txt"),
    )
    sizes: dict[object, list[int]] = {}
    for one in sieved(work).candidates:
        weights = sum(each.numel() for each in space.build(one.arch).parameters())
        sizes.setdefault(family(one.arch), []).append(weights)
    assert max(map(len, sizes.values())) > 1
    assert all(each == sorted(each) for each in sizes.values())
    plain = replace(work, recipe=load_recipe("digits", ["search.ranking=alone"]))
    assert sieved(plain) is plain


def test_a_recipe_with_a_proxy_that_is_not_there_or_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"race\.sieve: .*'sinflow'.*'synflow'"):
        load_recipe("digits", ['race.sieve=["sinflow"]'])
    with pytest.raises(ValueError, match=r"race\.sieve: 'zen' stands there twice"):
        load_recipe("digits", ['race.sieve=["zen", { kind = "zen", repeats = 2 }]'])
