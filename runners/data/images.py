"""One image of any size, mode or channel count, brought to the recipe's input."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]

_CHUNK = 64  # images a thread takes at a time
_NAMED = 5  # unreadable images that a message lists


def to_pixels(image: Image.Image, *, height: int, width: int, channels: int) -> Pixels:
    """An image as uint8 (C, H, W).

    Camera rotation is applied, transparency laid over white, 16-bit and floating point brought to 8 bits.
    The image is scaled (bilinear) to cover the input with its aspect kept, then cropped at the centre. Of
    an animation the first frame counts.

    Args:
        image: just opened, so that a large JPEG can be decoded at a fraction of its size.
        height: pixels of the result.
        width: pixels of the result.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        ValueError: NaN, infinity, or values that are no pixels.
    """
    if image.format == "JPEG" and min(image.size) > 4 * max(height, width):
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
    ImageOps.exif_transpose(image, in_place=True)
    image = image.convert("RGB") if image.mode == "LAB" else _eight_bits(image)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes of more than 8 bits a channel as L; others as they are.

    16-bit files use their whole range; where the file does not say (32-bit and floating point), values
    up to 1, to 255 or to 65535 tell which range is meant.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the pixels")
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise ValueError(f"values from {low:g} to {high:g}; right are 0 to 1, to 255 or to 65535")
    if image.mode.startswith("I;16") or high > 255:
        values = values / 257  # 65535 becomes 255
    elif image.mode == "F" and high <= 1:
        values = values * 255
    return Image.fromarray(values.round().astype(np.uint8))


def decode_all(
    n: int,
    read: Callable[[int], Image.Image],
    name: Callable[[int], str],
    *,
    height: int,
    width: int,
    channels: int,
) -> Pixels:
    """All images of a split, (N, C, H, W), decoded on every core.

    Args:
        n: how many images there are.
        read: opens the i-th.
        name: name of the i-th, for messages.
        height: pixels of the network's input.
        width: pixels of the network's input.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        ValueError: images that cannot be read, each with its name and why; or more than memory holds.
    """
    _check_memory(n * channels * height * width, height, width)
    pixels = np.empty((n, channels, height, width), dtype=np.uint8)

    def work(start: int) -> list[str]:
        problems = []
        for index in range(start, min(start + _CHUNK, n)):
            try:
                with read(index) as image:
                    pixels[index] = to_pixels(image, height=height, width=width, channels=channels)
            except Exception as error:  # PIL's plug-ins raise nearly anything for damaged files
                problems.append(f"{name(index)}: {_reason(error)}")
        return problems

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for found in pool.map(work, range(0, n, _CHUNK)) for problem in found]
    if problems:
        count = "one image" if len(problems) == 1 else f"{len(problems)} images"
        more = [f"  and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        listed = [f"  {problem}" for problem in problems[:_NAMED]]
        raise ValueError("\n".join([f"{count} cannot be read; repair or remove:", *listed, *more]))
    return pixels


def _check_memory(needed: int, height: int, width: int) -> None:
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"these images need {needed / 2**30:.1f} GiB of memory at {height}x{width}, and "
            f"{free / 2**30:.1f} GiB are free; lower data.height and data.width, or use fewer images"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return error.strerror or str(error)
    if "cannot identify image file" in str(error):
        return "not an image of a known kind, or damaged"
    return str(error) or type(error).__name__
