"""The images that BatchNorm statistics are taken from."""

from __future__ import annotations

import torch

from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.scoring.networks import own_calibration


def test_statistics_are_those_of_images_as_the_weights_were_trained_on() -> None:
    """A darker border, from the black that random crops bring in, and twice the same images."""
    splits = load_data(load_recipe("digits").data, seed=0)
    prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=3)
    data = RunData(splits=splits, prepare=prepare, calibration_images=256)
    trained_on = prepare(splits.train.images, torch.Generator().manual_seed(1))
    shown = prepare(splits.train.images, None)
    for images in (data.calibration, own_calibration(data)):
        apart = (images.mean(dim=(0, 1)) - trained_on.mean(dim=(0, 1))).abs().mean()
        assert apart < 0.3 * (shown.mean(dim=(0, 1)) - trained_on.mean(dim=(0, 1))).abs().mean()
    assert torch.equal(data.augmented_images(256), data.calibration)
