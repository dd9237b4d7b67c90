"""One image of any size, mode or channel count, brought to the recipe's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]


def to_pixels(image: Image.Image, *, height: int, width: int, channels: int) -> Pixels:
    """An image as uint8 (C, H, W).

    Camera rotation is applied, transparency laid over white, 16-bit and floating point brought to 8 bits.
    The image is scaled (bilinear) to cover the input with its aspect kept, then cropped at the centre.

    Raises:
        ValueError: NaN or infinity among its pixels.
    """
    image = _eight_bits(ImageOps.exif_transpose(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(white, layered)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes of more than 8 bits a channel as L; others as they are."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the pixels")
    if values.max(initial=0) > 255:
        values = values / 257  # 16 bits: 65535 becomes 255
    elif image.mode == "F" and values.max(initial=0) <= 1:
        values = values * 255
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def decode_all(
    items: Sequence[object],
    read: Callable[[int], Image.Image],
    name: Callable[[int], str],
    *,
    height: int,
    width: int,
    channels: int,
) -> Pixels:
    """All images of a split, (N, C, H, W), decoded on a few threads.

    Args:
        items: as many as there are images.
        read: opens the i-th.
        name: of the i-th, for messages.
        height: of the input.
        width: of the input.
        channels: of the input.

    Raises:
        ValueError: an image that cannot be read; the message names it.
    """
    pixels = np.empty((len(items), channels, height, width), dtype=np.uint8)

    def work(index: int) -> None:
        try:
            with read(index) as image:
                pixels[index] = to_pixels(image, height=height, width=width, channels=channels)
        except Exception as error:  # PIL's plug-ins raise nearly anything for damaged files
            raise ValueError(f"image {name(index)} cannot be read: {error}") from error

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(work, range(len(items))):
            pass
    return pixels
