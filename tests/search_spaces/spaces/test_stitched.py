"""A stitched network is the beginning of one anchor and the end of the next, with least squares between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nas.supernet import Supernet
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset
from search_spaces.spaces.stitched import Anchor, stitched

FAMILY = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("pooling", "depthwise"))


@pytest.fixture(scope="module")
def anchors():
    """Three networks of different depths and widths, as if trained."""
    middle = {**FAMILY.smallest(), "stage0.width": 32, "stage0.depth": 2, "stage1.depth": 2}
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for arch in (FAMILY.largest(), FAMILY.smallest(), middle):
            network = FAMILY.build(arch)
            network(torch.randn(64, 1, 8, 8))  # statistics of its norms
            found.append(Anchor(arch=FAMILY.to_arch(FAMILY.to_row(arch)), network=network.eval()))
    return found


@pytest.fixture(scope="module")
def images():
    return torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def space(anchors, images):
    return stitched(FAMILY, anchors, images)


def with_statistics(network: nn.Module, *anchors: nn.Module) -> nn.Module:
    """Statistics of norms are not shared; here each is its anchor's."""
    own = dict(network.named_buffers())
    for number, anchor in enumerate(anchors):
        for name, value in anchor.named_buffers():
            if f"anchor{number}_{name}" in own:
                own[f"anchor{number}_{name}"].copy_(value)
    return network.eval()


def test_a_supernet_begins_with_the_anchors(anchors, images, space):
    supernet = Supernet(space, seed=0)
    chain = [anchors[1], anchors[2], anchors[0]]
    for number, anchor in enumerate(chain):
        alone = {"anchor": number, "anchor0.larger": 0, "anchor1.larger": 0}
        network = with_statistics(supernet.extract(alone), *(one.network for one in chain))
        with torch.no_grad():
            torch.testing.assert_close(network(images), anchor.network(images), atol=1e-5, rtol=1e-5)
    assert space.largest()["anchor"] == 2


def test_a_stitch_leads_from_one_anchor_into_the_next_by_least_squares(anchors, images, space):
    chain = [anchors[1].network, anchors[2].network, anchors[0].network]
    tried = 0
    for row in space.enumerate():
        arch = space.to_arch(row)
        number = arch["anchor"]
        larger = arch.get(f"anchor{number}.larger", 0) if number < 2 else 0
        if not larger:
            continue
        small, large = list(chain[number]), list(chain[number + 1])
        names = [layer.name for layer in space.lower(arch)]
        left = sum(name.startswith(f"anchor{number}_") and "stitch" not in name for name in names)
        entered = len(large) - larger
        assert names[left] == f"anchor{number}_stitch{entered}"
        assert len(names) == left + 1 + larger
        with torch.no_grad():
            x, y = images, images
            for part in small[:left]:
                x = part(x)
            for part in large[:entered]:
                y = part(y)
            assert x.shape[2:] == y.shape[2:]
            a = x.double().permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()
            b = y.double().permute(0, 2, 3, 1).reshape(-1, y.shape[1]).numpy()
            a = np.column_stack([a, np.ones(len(a))])
            fit = (a @ np.linalg.pinv(a) @ b).reshape(len(x), *x.shape[2:], -1)
            z = torch.from_numpy(fit).permute(0, 3, 1, 2).float()
            for part in large[entered:]:
                z = part(z)
            got = with_statistics(space.build(arch), *chain)(images)
        torch.testing.assert_close(got, z, atol=1e-3, rtol=1e-3)
        tried += 1
    assert tried == space.size - 3 > 4


def test_what_cannot_be_stitched_is_refused(anchors, images):
    own = SearchSpace("own", [Choice("width", (1, 2))], build=lambda arch: nn.Identity())
    small, large = anchors[1], anchors[0]
    for family, given, words in (
        (FAMILY, [small], "two anchors or more, got 1"),
        (FAMILY, [small, small], "as many multiply-accumulates"),
        (own, anchors, "only builds its networks"),
        (FAMILY, [small, Anchor(arch=large.arch, network=small.network)], "no stage0_entry of that arch"),
    ):
        with pytest.raises(ValueError, match=words):
            stitched(family, given, images)
