"""A recipe for a data set that was looked at, as a file to edit: ``quarry init``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from results.numbers import percent
from runners.data.look import Look
from search_spaces.spaces.preset_sizes import preset_for

_SIDES = (8, 16, 24, 32, 48, 64, 96, 128)
"""Sides of the input that are proposed, in pixels; more is seldom worth its time at first."""
_ALIKE = 1.25  # longer side over the shorter one, up to which an input is square
_FEW = 3_000  # training images: more of them are kept for scoring, batches are smaller
_UNEVEN = 3.0  # images of the largest class over those of the smallest, from which it is said
_RARE = 20  # training images of a class, under which it is said
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)


def draft(name: str, source: str, look: Look) -> str:
    """The text of a recipe, TOML with comments.

    Args:
        name: name of the runs.
        source: data source, as a recipe names it.
        look: what the data hold.
    """
    height, width = input_size(look)
    few = sum(look.splits.values()) < _FEW
    lines = [
        f"# A recipe for {source}: {in_words(look)}.",
        "# Every key, with its default and effect: docs/recipe.md. The values here are a start, not a law.",
        _key("name", name),
        _key("minutes", 30, "for the whole run; the longer, the better what is found"),
        "\n[data]",
        _key("source", source),
        _key("height", height, "pixels of the network's input; images are scaled and cropped to it"),
        _key("width", width),
        _key("channels", 1 if look.grey else 3, _about_channels(look)),
    ]
    if look.deepest is not None:
        white = next((one for one in _WHITES if look.deepest <= one), look.deepest)
        lines.append(_key("white", white, f"value of full intensity; the largest seen is {look.deepest:g}"))
    if "val" not in look.splits:
        lines.append(_key("val_fraction", 0.2 if few else 0.1, "of the training images, to choose by"))
    if "test" not in look.splits:
        lines.append(_key("test_fraction", 0.2, "of all images, for the accuracy at the end"))
    if height > 1:
        shift, mirrored = "pixels that images are shifted by at most", "not where left and right differ"
        lines += [
            _key("crop_padding", max(1, height // 8), shift),
            _key("flip", not look.grey, f"mirrored images; {mirrored}, as in writing"),
        ]
    lines += [
        "\n[space]",
        _key("preset", preset_for(height, width), "others, and what they are for: quarry presets"),
        "\n[train]",
        _key("epochs", 60, "where minutes do not say"),
        _key("batch_size", 64 if few else 128),
        "\n[measure]",
        _key("profile", "cpu-ort", "the device: this machine in ONNX Runtime; see docs/devices.md"),
        "\n[search]",
        _key("ranking", "alone", "networks near the limit are trained one by one; see docs/alone.md"),
        _key("speedup", 4, "over the largest network; or latency_ms, with the milliseconds you have"),
        "\n[compress]",
        _key("tolerance", 0.01, "accuracy that compression may cost in all: 1 of 100"),
    ]
    return "\n".join(lines) + "\n"


def input_size(look: Look) -> tuple[int, int]:
    """Height and width of the input that is proposed: no more than the images have, and 128 at most.

    An aspect is kept where images are not about square.
    """
    height, width = look.typical
    if min(height, width) == 1:
        return height, width
    short = _side(min(height, width))
    if max(height, width) <= _ALIKE * min(height, width):
        return short, short
    other = max(short, 8 * round(short * max(height, width) / min(height, width) / 8))
    return (short, other) if height < width else (other, short)


def _key(name: str, value: object, about: str = "") -> str:
    """A line of TOML, with a comment."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{line:<24}# {about}" if about else line


def _side(pixels: int) -> int:
    return max((side for side in _SIDES if side <= pixels), default=pixels)


def in_words(look: Look) -> str:
    """What the data hold, in a line."""
    splits = ", ".join(f"{count:,} {split}" for split, count in look.splits.items())
    height, width = look.typical
    alike = len(set(look.heights)) == len(set(look.widths)) == 1
    size = f"{height}x{width}" if alike else f"about {height}x{width}"
    return f"{splits} images of {size}, {len(look.counts)} classes"


def warnings(look: Look) -> list[str]:
    """What someone should know of the data before training on them, in sentences."""
    found = []
    if look.imbalance > _UNEVEN:
        counts = look.counts
        largest, rarest = (end(counts, key=lambda name: counts[name]) for end in (max, min))
        share = percent(counts[largest] / sum(counts.values()))
        found.append(
            f"the classes are uneven: {counts[largest]:,} images of {largest!r}, {counts[rarest]:,} of "
            f"{rarest!r}; who always says {largest!r} is right {share} of the time"
        )
    taken = [split for split in ("test", "val") if split not in look.splits]
    if few := [name for name, count in look.counts.items() if count <= len(taken)]:
        why = f", as a {' and a '.join(taken)} split is taken from them" if taken else ""
        found.append(
            f"there are too few images for a run: every class needs {len(taken) + 1} training images or "
            f"more{why}; fewer are of {_some(few)}"
        )
    if rare := [name for name, count in look.counts.items() if count < _RARE]:
        found.append(
            f"little can be learned of classes with fewer than {_RARE} training images: {_some(rare)}"
        )
    return found


def _some(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _about_channels(look: Look) -> str:
    return "the images are grey" if look.grey else "colour; 1 makes them grey"


def name_of(source: str) -> str:
    """A name for runs on a data set: that of its folder or file, in letters that a name may have."""
    stem = Path(source).expanduser().resolve().stem if source != "digits" else source
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in stem).strip("-") or "mine"
