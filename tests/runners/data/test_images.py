"""Any image becomes the recipe's input: every mode, depth and size, upright, over white, never distorted."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runners.data.images import decode_all, to_pixels

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F")
GREY = 120
WHITE = {"I;16": 65535, "I": 65535, "F": 1}  # full intensity in the values of ``filled``


def filled(mode: str, size: tuple[int, int] = (20, 14)) -> Image.Image:
    """A picture of one mid grey, in some mode."""
    grey = Image.new("L", size, GREY)
    if mode == "1":
        return Image.new("1", size, 1)
    if mode == "I;16":
        return Image.fromarray(np.full(size[::-1], GREY * 257, dtype=np.uint16))
    if mode == "I":
        return Image.fromarray(np.full(size[::-1], GREY * 257, dtype=np.int32))
    if mode == "F":
        return Image.fromarray(np.full(size[::-1], GREY / 255, dtype=np.float32))
    if mode == "LAB":
        return Image.new("LAB", size, (GREY, 128, 128))
    if mode == "PA":
        return grey.convert("P").convert("PA")
    return grey.convert("P") if mode == "P" else grey.convert("RGB").convert(mode)


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    """The image as a file gives it back."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_same_grey(mode: str, channels: int) -> None:
    pixels = to_pixels(filled(mode), height=8, width=8, channels=channels, white=WHITE.get(mode))
    assert pixels.shape == (channels, 8, 8)
    assert pixels.dtype == np.uint8
    wanted = 255 if mode == "1" else GREY
    assert np.abs(pixels.astype(int) - wanted).max() <= {"LAB": 10, "YCbCr": 2}.get(
        mode, 1
    )  # LAB counts as the eye does


@pytest.mark.parametrize(
    ("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("F", "TIFF"), ("CMYK", "JPEG")]
)
def test_deep_and_print_files_read_as_they_look(mode: str, kind: str) -> None:
    pixels = to_pixels(reopened(filled(mode), kind), height=8, width=8, channels=1, white=WHITE.get(mode))
    assert np.abs(pixels.astype(int) - GREY).max() <= 2


def test_a_dark_16_bit_image_stays_dark() -> None:
    dark = Image.fromarray(np.full((8, 8), 200, dtype=np.uint16))
    assert to_pixels(dark, height=8, width=8, channels=1, white=65535).max() == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("white", [1023, 4095, 16383, 65535])
def test_deep_images_use_all_grey_levels_of_the_range_that_is_stated(white: int, kind: str) -> None:
    values = np.linspace(0, white, 256).round().astype(np.uint16)
    image = reopened(Image.fromarray(np.tile(values, (4, 1))), kind)
    pixels = to_pixels(image, height=4, width=256, channels=1, white=white)
    wanted = [round(int(value) * 255 / white) for value in values]
    assert pixels[0].tolist() == [wanted] * 4
    assert wanted[0] == 0
    assert wanted[-1] == 255


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_deep_image_of_an_unknown_range_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=r"more than 8 bits.*set data\.white to the value of full intensity"):
        to_pixels(filled(mode), height=8, width=8, channels=1)


def test_values_above_the_stated_white_are_refused() -> None:
    bright = Image.fromarray(np.full((8, 8), 4096, dtype=np.uint16))
    with pytest.raises(ValueError, match=r"values from 4096 to 4096; right are 0 to 4095 \(data\.white\)"):
        to_pixels(bright, height=8, width=8, channels=1, white=4095)


def test_the_stated_white_leaves_images_of_8_bits_alone() -> None:
    pixels = to_pixels(Image.new("L", (8, 8), 77), height=8, width=8, channels=1, white=4095)
    assert (pixels == 77).all()


def deep_colour(kind: str) -> Image.Image:
    """A file of three channels of 16 bits, all 30,840 (120 of 255), written without Pillow."""
    values = np.full((4, 5, 3), GREY * 257, dtype=">u2").tobytes()
    if kind == "PPM":
        return Image.open(io.BytesIO(b"P6 5 4 65535\n" + values))
    if kind == "PNG":
        rows = b"".join(b"\0" + values[start : start + 30] for start in range(0, len(values), 30))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
        parts = [
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
            for name, content in [*chunks, (b"IEND", b"")]
        ]
        return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts)))
    planes = kind == "TIFF in planes"
    # width, height, bits, compression, photometric, place, samples, rows in a strip, bytes in it, planes
    tags = [(256, 5), (257, 4), (258, 146), (259, 1), (262, 2), (273, 152), (277, 3), (278, 4), (279, 120)]
    if planes:
        values, tags[5], tags[8] = values * 3, (273, 400), (279, 412)
    several = {258: 3, 273: 3 if planes else 1, 279: 3 if planes else 1}
    entries = b"".join(
        struct.pack(">HHI", tag, 3, several.get(tag, 1))
        + (struct.pack(">I", value) if several.get(tag, 1) > 1 else struct.pack(">HH", value, 0))
        for tag, value in [*tags, (284, 2 if planes else 1)]
    )
    head = b"MM\0*" + struct.pack(">IH", 8, len(tags) + 1) + entries + struct.pack(">I", 0)
    file = (head.ljust(146, b"\0") + struct.pack(">HHH", 16, 16, 16) + values).ljust(400, b"\0")
    if planes:
        file += struct.pack(">HHHHHH", 152, 192, 232, 40, 40, 40)
    return Image.open(io.BytesIO(file))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_colour_of_16_bits_is_read_over_its_whole_range_or_refused(kind: str) -> None:
    pixels = to_pixels(deep_colour(kind), height=4, width=5, channels=3, white=65535)
    assert (pixels == GREY).all()
    for white in (None, 4095):
        with pytest.raises(ValueError, match=r"colour of 16 bits.*data\.white = 65535"):
            to_pixels(deep_colour(kind), height=4, width=5, channels=3, white=white)


def test_colour_of_16_bits_in_planes_is_refused() -> None:
    with pytest.raises(ValueError, match="separate planes, which Pillow misreads"):
        to_pixels(deep_colour("TIFF in planes"), height=4, width=5, channels=3, white=65535)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 70_000.0])
def test_values_that_are_no_pixels_are_refused(value: float) -> None:
    values = np.full((8, 8), 0.5, dtype=np.float32)
    values[3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinity among the pixels|values from .* right are 0 to 1"):
        to_pixels(Image.fromarray(values), height=8, width=8, channels=1, white=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    assert to_pixels(image, height=8, width=8, channels=3).min() == 255


def test_a_transparent_colour_of_a_palette_is_white_and_the_others_are_not() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (4, 0, 8, 8))
    pixels = to_pixels(reopened(image, "PNG", transparency=0), height=8, width=8, channels=3)
    assert (pixels[:, :, :4] == 255).all()
    assert pixels[:, 0, 7].tolist() == [200, 100, 50]


def test_half_transparent_black_is_grey() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert to_pixels(image, height=4, width=4, channels=1).tolist() == [[[127] * 4] * 4]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_held_any_way_gives_the_picture_upright(orientation: int) -> None:
    upright = np.zeros((16, 16, 3), dtype=np.uint8)
    upright[:8, :8] = 255  # bright at the top left
    upright[:8, 8:] = 128
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = reopened(Image.fromarray(np.ascontiguousarray(undo(upright))), "PNG", exif=exif)
    np.testing.assert_array_equal(
        to_pixels(stored, height=16, width=16, channels=3), upright.transpose(2, 0, 1)
    )


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    mode=st.sampled_from(MODES),
    channels=st.sampled_from((1, 3)),
)
def test_any_size_becomes_the_input(
    size: tuple[int, int], height: int, width: int, mode: str, channels: int
) -> None:
    pixels = to_pixels(
        filled(mode, size), height=height, width=width, channels=channels, white=WHITE.get(mode)
    )
    assert pixels.shape == (channels, height, width)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_extreme_shapes_are_taken(size: tuple[int, int]) -> None:
    assert to_pixels(Image.new("RGB", size, "red"), height=32, width=32, channels=3)[0].min() == 255


def test_the_sides_are_cut_off_not_squeezed() -> None:
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 255
    assert to_pixels(Image.fromarray(wide), height=10, width=10, channels=1).min() == 255


def test_an_image_of_the_right_size_is_not_touched() -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    pixels = to_pixels(Image.fromarray(values), height=9, width=7, channels=3)
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), values)


@pytest.mark.parametrize("size", [(1600, 1200), (300, 200)])
def test_a_jpeg_is_decoded_in_full_whatever_its_size(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    jpeg = reopened(Image.fromarray(noise), "JPEG", quality=90)
    whole = Image.fromarray(np.asarray(jpeg.copy()))  # all its pixels, and no file behind it
    again = reopened(Image.fromarray(noise), "JPEG", quality=90)
    np.testing.assert_array_equal(
        to_pixels(again, height=32, width=32, channels=3), to_pixels(whole, height=32, width=32, channels=3)
    )


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("L", (8, 8), value) for value in (250, 0)]
    image = reopened(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert to_pixels(image, height=8, width=8, channels=1).min() == 250


def test_decoding_keeps_the_order() -> None:
    pixels = decode_all(
        200, lambda i: Image.new("L", (4, 4), i), lambda i: f"#{i}", height=4, width=4, channels=1
    )
    assert pixels[:, 0, 0, 0].tolist() == list(range(200))


def test_every_unreadable_image_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    file = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:-2000])
    text = tmp_path / "text.png"
    text.write_text("not an image")
    paths = [file, text, *(tmp_path / f"absent{n}.png" for n in range(5))]
    with pytest.raises(ValueError, match="7 images cannot be read; repair or remove:") as caught:
        decode_all(7, lambda i: Image.open(paths[i]), lambda i: str(paths[i]), height=8, width=8, channels=1)
    said = str(caught.value).splitlines()
    assert said[1].strip().startswith(f"{file}: image file is truncated")
    assert said[2].strip() == f"{text}: not an image of a known kind, or damaged"
    assert said[3].strip() == f"{paths[2]}: No such file or directory"
    assert said[-1].strip() == "and 2 more"
    with pytest.raises(ValueError, match="one image cannot be read"):
        decode_all(1, lambda i: Image.open(text), lambda i: str(text), height=8, width=8, channels=1)


def test_more_images_than_memory_holds_are_refused_first() -> None:
    with pytest.raises(ValueError, match=r"need \d+\.\d GiB of memory at 4000x4000.* lower data.height"):
        decode_all(10**9, lambda i: Image.new("L", (1, 1)), str, height=4000, width=4000, channels=3)


def test_images_without_a_stated_range_are_not_called_damaged() -> None:
    deep = Image.fromarray(np.full((4, 4), 900, dtype=np.uint16))
    with pytest.raises(ValueError, match="2 images cannot be read:\n") as caught:
        decode_all(2, lambda i: deep.copy(), lambda i: f"#{i}", height=4, width=4, channels=1)
    assert "#1: more than 8 bits a channel (values up to 900)" in str(caught.value)
    read = decode_all(2, lambda i: deep.copy(), lambda i: f"#{i}", height=4, width=4, channels=1, white=900)
    assert (read == 255).all()
