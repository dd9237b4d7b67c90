"""What presets are for and how large they are: the images, the networks, the work of the largest.

Written down, since counting takes seconds; ``python -m search_spaces.spaces.preset_sizes`` counts them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.space import SearchSpace

TRAINING = 3
"""Multiply-accumulates of training on an image over those of a forward pass: forward, and backward by inputs
and by weights."""
CLASSES = 10
"""Classes that the sizes are counted with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetSize:
    """The size of a preset.

    Attributes:
        height: height of the images that it is for, in pixels.
        width: width of these images.
        networks: number of networks to choose from, two digits of it.
        macs: multiply-accumulates of its largest network for one such image, with ten classes.
    """

    height: int
    width: int
    networks: float
    macs: int

    def epoch_macs(self, images: int) -> int:
        """Multiply-accumulates of an epoch of the largest network alone on so many images."""
        return TRAINING * images * self.macs


def _of(height: int, width: int, networks: float, macs: int) -> PresetSize:
    return PresetSize(height=height, width=width, networks=networks, macs=macs)


SIZES: Mapping[str, PresetSize] = {
    "signal-short": _of(1, 64, 7.9e08, 4_987_072),
    "signal": _of(1, 1024, 3.4e15, 61_249_664),
    "digits": _of(8, 8, 1.9e09, 12_691_392),
    "fast-8": _of(8, 8, 2600, 4_774_528),
    "cifar": _of(32, 32, 8.1e13, 90_871_680),
    "cifar-small": _of(32, 32, 1.7e09, 31_024_384),
    "fast-32": _of(32, 32, 750000, 672_860_672),
    "fast-64": _of(64, 64, 1.1e07, 200_116_736),
    "fast-128": _of(128, 128, 1.5e07, 1_033_243_136),
    "mobile": _of(128, 128, 1e21, 632_786_688),
    "mobilenetv3": _of(224, 224, 1.6e20, 564_896_544),
    "mobilenetv2": _of(224, 224, 5.4e16, 524_706_368),
    "convnext-t": _of(224, 224, 8.5e06, 4_448_448_768),
    "poolformer": _of(224, 224, 1.3e14, 2_710_914_048),
    "efficientnet-b0": _of(224, 224, 3.6e14, 446_980_960),
    "efficientnetv2-s": _of(224, 224, 5.7e25, 2_901_504_960),
    "resnet50d": _of(224, 224, 1.5e10, 6_756_632_832),
    "unireplknet-t": _of(224, 224, 9.1e21, 5_018_782_720),
    "caformer": _of(224, 224, 1.2e18, 4_104_913_920),
    "efficientformer-l1": _of(224, 224, 6.8e11, 1_468_204_416),
    "vit": _of(224, 224, 7.7e13, 7_158_112_640),
    "swin-t": _of(224, 224, 1.6e12, 4_490_682_432),
    "maxvit-t": _of(224, 224, 160000, 5_526_573_696),
    "moat-0": _of(224, 224, 1.7e07, 6_268_424_384),
    "nextvit-s": _of(224, 224, 41000, 6_223_314_432),
}
"""The presets, those for the smallest images first."""


def preset_for(height: int, width: int) -> str:
    """The preset of convolutional networks, or of signals, for images of that size."""
    if height == 1:
        return "signal-short" if width < 400 else "signal"
    side = min(height, width)
    for name, largest in (("fast-8", 12), ("fast-32", 44), ("fast-64", 90)):
        if side <= largest:
            return name
    return "fast-128"


def space_of(name: str) -> SearchSpace:
    """The space of a preset, for the images that it is written down for.

    Raises:
        ValueError: there is no such preset.
    """
    from search_spaces.spaces.presets import preset  # brings PyTorch, for which a list should not wait

    written = SIZES.get(name, _of(224, 224, 0, 0))
    channels = 1 if written.height == 1 else 3
    return preset(name, classes=CLASSES, input_shape=(channels, written.height, written.width))


def counted(name: str) -> PresetSize:
    """The size of a preset, counted again; takes seconds.

    Raises:
        ValueError: there is no such preset.
    """
    from search_spaces.reference.macs import count_macs  # likewise

    space = space_of(name)
    largest = space.largest()
    shape = space.input_shape(largest)
    macs = count_macs(space.build(largest), shape)
    return _of(shape[1], shape[2], float(f"{space.size:.1e}"), macs)


if __name__ == "__main__":
    from search_spaces.spaces.presets import PRESETS

    for preset_name in PRESETS:
        one = counted(preset_name)
        print(f'    "{preset_name}": _of({one.height}, {one.width}, {one.networks:g}, {one.macs:_}),')
