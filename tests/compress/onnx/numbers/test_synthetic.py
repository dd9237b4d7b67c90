"""Images made from the statistics of norms: nearer to them than noise, and enough to calibrate with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.synthetic import images_from_statistics, statistics_loss
from compress.steps import Quantize
from tests.compress.networks import EXAMPLE, images
from tests.compress.targets import context


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Whose norms have seen images in [0, 1]."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(
            *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8, momentum=None), nn.ReLU()),
            *(
                nn.Conv2d(8, 8, 3),
                nn.BatchNorm2d(8, momentum=None),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(128, 5),
            ),
        )
        made(torch.from_numpy(images(256)))
    return made.eval()


def test_the_loss_is_that_of_the_paper():
    norm = nn.BatchNorm2d(3).double()
    norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    norm.running_var.copy_(torch.tensor([1.0, 2.0, 0.5]))
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for channel in range(3):
        values = [float(value) for value in x[:, channel].flatten()]
        mean = math.fsum(values) / 8
        variance = math.fsum((value - mean) ** 2 for value in values) / 8
        held = math.sqrt(float(norm.running_var[channel]) + norm.eps)
        total += (mean - float(norm.running_mean[channel])) ** 2
        total += (math.sqrt(variance + norm.eps) - held) ** 2
    assert float(statistics_loss(norm, x)) == pytest.approx(total / 3)


def test_what_is_made_fits_the_norms_and_calibrates_as_images_do(network, tmp_path):
    made = images_from_statistics(network, (1, 8, 8), count=24, steps=40)
    assert made.shape == (24, 1, 8, 8)
    assert np.array_equal(made, images_from_statistics(network, (1, 8, 8), count=24, steps=40))
    noise = np.random.default_rng(0).standard_normal(made.shape).astype(np.float32)
    fits = [
        float(statistics_loss(network[1], network[0](torch.from_numpy(batch)))) for batch in (made, noise)
    ]
    assert fits[0] < 0.1 * fits[1]
    export_onnx(network, EXAMPLE, tmp_path / "float.onnx")
    start = Candidate(network=network, file=tmp_path / "float.onnx")
    asked = context(example=EXAMPLE, calibration=images(64))
    right, errors = OnnxFile(start.file)(images(64, seed=1)), {}
    for source, calibration in (("images", images(64)), ("statistics", noise)):
        step = Quantize(operators=("every operator",), calibration=source)
        (candidate,) = step.propose(start, replace(asked, calibration=calibration), tmp_path / source)
        errors[source] = float(np.square(OnnxFile(candidate.file)(images(64, seed=1)) - right).mean())
    assert errors["statistics"] < 6 * errors["images"]


def test_without_norms_there_is_a_sentence():
    with pytest.raises(
        ValueError, match="Linear has no BatchNorm with statistics, so calibration needs images"
    ):
        images_from_statistics(nn.Linear(2, 2), (2,))
