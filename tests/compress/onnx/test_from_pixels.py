"""Preparation inside a file: Pillow's resize level by level, at any size, and the network behind it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from compress.onnx.export import onnx_bytes
from compress.onnx.file import OnnxFile
from compress.onnx.from_pixels import preparation, run_pixels, with_preparation
from results.records import Preprocessing

SIZES = ((8, 8), (16, 16), (8, 9), (3, 2), (37, 91), (120, 60))


def preprocessing(channels: int, height: int, width: int) -> Preprocessing:
    return Preprocessing(
        channels=channels, height=height, width=width, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2,) * channels
    )


def network(channels: int) -> bytes:
    torch.manual_seed(0)
    return onnx_bytes(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(1)), (channels, 8, 8))


def by_pillow(pixels: NDArray[np.uint8], given: Preprocessing) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels[..., 0] if given.channels == 1 else pixels)
    fitted = ImageOps.fit(image, (given.width, given.height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(given.height, given.width, given.channels).transpose(2, 0, 1)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 8, 8), (1, 8, 8), (3, 12, 9)])
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_pillow(channels: int, height: int, width: int, size: tuple[int, int]) -> None:
    given = preprocessing(channels, height, width)
    prepare = run_pixels(preparation(network(3), given).SerializeToString())
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, channels), dtype=np.uint8)
    found = prepare(pixels)
    assert found.shape == (2, channels, height, width)
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (given.mean, given.std))
    levels = (found.astype(np.float64) * std + mean) * 255
    expected = np.stack([by_pillow(one, given) for one in pixels])
    # Of tall images Pillow 13 takes the other axis first, whose rounding then comes before.
    assert np.abs(levels - expected).max() < (1.01 if size[0] > 1.5 * size[1] else 1e-3)


def test_the_network_behind_it_gets_the_same_values() -> None:
    given, content = preprocessing(3, 8, 8), network(3)
    whole = with_preparation(content, given)
    assert [one.name for one in onnx.load_from_string(whole).graph.input] == ["pixels"]
    pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    values = (pixels.astype(np.float32) / np.float32(255) - np.float32(given.mean)) / np.float32(given.std)
    alone = OnnxFile(content)(values.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(run_pixels(whole)(pixels), alone, rtol=1e-5, atol=1e-5)


def test_a_network_for_other_images_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"images of \(1, 8, 8\) cannot be prepared for a file that takes \(3, 8, 8\)"
    ):
        with_preparation(network(3), preprocessing(1, 8, 8))
