"""The sieve: mean ranks, scores that are no number, and what cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.proxies import PROXIES, Sieved, sieve

IMAGES, LABELS = torch.ones(2, 1, 2, 2), torch.tensor([0, 1])


def build(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


@pytest.fixture
def widths() -> Iterator[dict[int, float]]:
    """A proxy ``told`` that gives what stands here for a width."""
    values: dict[int, float] = {}

    @PROXIES.register("told")
    def told(
        network: nn.Sequential, images: Tensor, labels: Tensor, loss: object, seed: int, *, sign: float = 1
    ) -> float:
        """A score that the test chooses.

        Args:
            sign: Factor on it.
        """
        return sign * values[network[1].out_features]

    yield values
    del PROXIES._entries["told"]


def sieved(archs: list[int], *proxies: object) -> Sieved:
    return sieve(archs, build, proxies, IMAGES, LABELS, F.cross_entropy, seed=0)  # type: ignore[arg-type]


def test_the_order_is_that_of_the_mean_rank(widths: dict[int, float]) -> None:
    widths.update({2: 9.0, 4: 5.0, 8: 5.0, 16: 1.0})
    assert sieved([2, 16, 4, 8], "params").order == (1, 3, 2, 0)
    assert sieved([2, 16, 4, 8], ("told", {"sign": -1.0})).order == (1, 2, 3, 0)
    both = sieved([2, 16, 4, 8], "params", "told")
    assert both.mean_rank.tolist() == [2.5, 2.5, 2.75, 2.25]  # 4 and 8 share the ranks 2 and 3 by "told"
    assert both.order == (3, 0, 1, 2)
    assert both.scores["told"].tolist() == [9.0, 1.0, 5.0, 5.0]
    assert both.problems == ()


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_the_last_and_said(widths: dict[int, float], lost: float) -> None:
    widths.update({2: 1.0, 4: lost, 8: 3.0})
    found = sieved([2, 4, 8], "told")
    assert found.order == (2, 0, 1)
    assert found.problems == (f"told has no score for 1 of 3 candidates, which come last by it: 1 ({lost})",)


def test_a_proxy_that_knows_nothing_is_refused(widths: dict[int, float]) -> None:
    widths.update({2: np.nan, 4: np.nan})
    with pytest.raises(ValueError, match="told gives nan for every candidate"):
        sieved([2, 4], "told", "params")


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ValueError, match="unknown zero-cost proxy 'synflov'. Did you mean 'synflow'?"):
        sieved([2], "synflov")
    with pytest.raises(ValueError, match="each once"):
        sieved([2], "snip", "snip")
    with pytest.raises(ValueError, match="one proxy or more"):
        sieved([2])
    with pytest.raises(ValueError, match="no candidates"):
        sieved([], "snip")
    with pytest.raises(ValueError, match="repeats"):
        sieved([2], ("zen", {"repeats": 0}))


def test_weights_follow_from_the_seed_and_leave_the_global_state_alone() -> None:
    random = torch.get_rng_state()
    first = sieved([4, 8], "snip", "zen")
    assert torch.equal(random, torch.get_rng_state())
    again = sieved([4, 8], "snip", "zen")
    assert all((first.scores[name] == again.scores[name]).all() for name in first.scores)
    other = sieve([4, 8], build, ["snip"], IMAGES, LABELS, F.cross_entropy, seed=1)
    assert (other.scores["snip"] != first.scores["snip"]).all()
