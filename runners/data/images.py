"""One image of any size, mode or channel count, brought to the recipe's input."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageOps

from runners.data.raw import View

Pixels = NDArray[np.uint8]

_CHUNK = 64  # images a thread takes at a time
_NAMED = 5  # unreadable images that a message lists
_WHOLE = 65535  # full intensity where all 16 bits are used
_BITS = 258  # the tag of TIFF files that holds the bits of each channel


class RangeUnknown(ValueError):
    """An image of more than 8 bits a channel, of which nothing says what its values mean."""


def to_pixels(
    image: Image.Image, *, height: int, width: int, channels: int, white: float | None = None
) -> Pixels:
    """An image as uint8 (C, H, W).

    Camera rotation is applied, values of more than 8 bits brought to 8, transparency laid over white. The
    image is scaled (bilinear) to cover the input with its aspect kept, then cropped at the centre. Of an
    animation the first frame counts; a JPEG is decoded in full, as whoever runs the exported file will.
    Whatever changes here changes the code of ``results.records.card_text`` too, and is tested against it.

    Args:
        image: just opened, so that the bits of its file are known.
        height: pixels of the result.
        width: pixels of the result.
        channels: 1 (grey) or 3 (RGB).
        white: value that means full intensity in images of more than 8 bits a channel.

    Raises:
        RangeUnknown: more than 8 bits, and no ``white``, or one that cannot be heeded.
        ValueError: NaN, infinity, or values that are no pixels.
    """
    if _is_deep_colour(image) and white != _WHOLE:
        raise RangeUnknown(
            "colour of 16 bits a channel, of which the upper 8 are read; right are data.white = 65535 (all "
            "16 bits are used) or files of 8 bits"
        )
    ImageOps.exif_transpose(image, in_place=True)
    image = image.convert("RGB") if image.mode == "LAB" else _eight_bits(image, white)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel in a mode of which Pillow gives 8 without a word."""
    if image.mode.startswith("I"):
        return False
    for tile in getattr(image, "tile", ()):
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if str(args[0] if args else "").endswith((";16B", ";16L", ";16N")):
            return True
        if image.format == "PPM" and isinstance(args[-1], int) and args[-1] > 255:
            return True
        if image.format == "TIFF" and args[0] == "R" and max(image.getexif().get(_BITS, (8,))) > 8:
            raise ValueError("colour of 16 bits in separate planes, which Pillow misreads; save it as one")
    return False


def _eight_bits(image: Image.Image, white: float | None) -> Image.Image:
    """Modes of more than 8 bits a channel as L, rounded; others as they are."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the pixels")
    low, high = values.min(), values.max()
    if white is None:
        raise RangeUnknown(
            f"more than 8 bits a channel (values up to {high:g}); set data.white to the value of full "
            "intensity, such as 4095 (12 bits), 65535 (16 bits) or 1"
        )
    if low < 0 or high > white:
        raise ValueError(f"values from {low:g} to {high:g}; right are 0 to {white:g} (data.white)")
    return Image.fromarray((values * 255 / white).round().astype(np.uint8))


def decode_all(
    n: int,
    read: Callable[[int], Image.Image],
    name: Callable[[int], str],
    *,
    height: int,
    width: int,
    channels: int,
    white: float | None = None,
) -> Pixels:
    """All images of a split, (N, C, H, W), decoded on every core.

    Args:
        n: how many images there are.
        read: opens the i-th.
        name: name of the i-th, for messages.
        height: pixels of the network's input.
        width: pixels of the network's input.
        channels: 1 (grey) or 3 (RGB).
        white: value that means full intensity in images of more than 8 bits a channel.

    Raises:
        ValueError: images that cannot be read, each with its name and why; or more than memory holds.
    """
    if channels not in (1, 3):
        raise ValueError(
            f"data.channels = {channels}: image files are read as 1 (grey) or 3 (RGB) channels; arrays of an "
            f"npz file may have others"
        )
    _check_memory(n * channels * height * width, height, width)
    pixels = np.empty((n, channels, height, width), dtype=np.uint8)

    def work(start: int) -> list[tuple[str, bool]]:
        problems = []  # what is wrong, and whether the file is whole
        for index in range(start, min(start + _CHUNK, n)):
            try:
                with read(index) as image:
                    pixels[index] = to_pixels(
                        image, height=height, width=width, channels=channels, white=white
                    )
            except Exception as error:  # PIL's plug-ins raise nearly anything for damaged files
                problems.append((f"{name(index)}: {_reason(error)}", isinstance(error, RangeUnknown)))
        return problems

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for found in pool.map(work, range(0, n, _CHUNK)) for problem in found]
    if problems:
        count = "one image" if len(problems) == 1 else f"{len(problems)} images"
        more = [f"  and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        listed = [f"  {problem}" for problem, _ in problems[:_NAMED]]
        advice = "" if all(whole for _, whole in problems) else "; repair or remove"
        raise ValueError("\n".join([f"{count} cannot be read{advice}:", *listed, *more]))
    return pixels


def decode_files(files: Sequence[Path], view: View) -> Pixels:
    """The images of files as a run wants them, (N, C, H, W).

    Raises:
        ValueError: as ``decode_all``.
    """
    return decode_all(
        len(files),
        lambda i: Image.open(files[i]),
        lambda i: str(files[i]),
        height=view.height,
        width=view.width,
        channels=view.channels,
        white=view.white,
    )


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
