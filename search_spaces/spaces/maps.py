"""How large the maps of a network are, where choices say at which resolution it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.space import Shape

RESOLUTION = "resolution"

Size = tuple[int, int]
"""(height, width) in pixels or positions."""


class Resize(nn.Module):
    """Images made smaller or larger, (B, C, H, W) -> (B, C, height, width).

    Averages of whole squares of pixels first, then bilinear interpolation for the rest, so that no pixel is
    passed over; half and a third of the side are averages alone.

    Args:
        squares: height and width of the squares, in pixels; 1 for none.
        height: height of the result, in pixels.
        width: width of the result, in pixels.
    """

    def __init__(self, *, squares: str, height: int, width: int) -> None:
        super().__init__()
        high, wide = map(int, squares.split("x"))
        self.pool = nn.AvgPool2d((high, wide), ceil_mode=True) if high * wide > 1 else nn.Identity()
        self.size = (height, width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.pool(x), size=self.size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """The sizes of maps at one place of a network.

    Attributes:
        image: (C, H, W) of an image.
        resolutions: what the choice ``resolution`` has: the image's shorter side within the network, in
            pixels, ascending; sides of one pixel, as those of signals, stay and do not count. Empty where
            networks see images as they are.
        strides: strides up to here: numbers, or names of the choices that hold them.
    """

    image: Shape
    resolutions: tuple[int, ...] = ()
    strides: tuple[int | str, ...] = ()

    @classmethod
    def of_images(cls, image: Shape, resolutions: tuple[int, ...]) -> Maps:
        """The maps that are the images.

        Raises:
            ValueError: resolutions that do not ascend, or above the images'.
        """
        if list(resolutions) != sorted(set(resolutions)) or min(resolutions, default=1) < 1:
            raise ValueError(f"resolutions: values of 1 or more that ascend, none twice, got {resolutions}")
        maps = cls(image=image, resolutions=resolutions)
        if resolutions and resolutions[-1] > maps._side:
            raise ValueError(
                f"resolutions: {resolutions[-1]} is above the {maps._side} pixels of the images, {image}: "
                f"take smaller ones, or load larger images (data.height, data.width)"
            )
        return maps

    @property
    def _side(self) -> int:
        """The shorter side of the images, in pixels."""
        return min((side for side in self.image[1:] if side > 1), default=1)

    @property
    def smallest(self) -> Size:
        """The size of the smallest images that networks see."""
        return self._resized(self.resolutions[0]) if self.resolutions else (self.image[1], self.image[2])

    @property
    def told(self) -> str:
        """The smallest images that networks see, for messages."""
        low = f", resized to {self.resolutions[0]} pixels," if self.resolutions else ""
        return f"{self.image}{low}"

    def after(self, stride: int | str) -> Maps:
        """The maps after a layer of this stride."""
        return replace(self, strides=(*self.strides, stride))

    @property
    def searched(self) -> tuple[Choice, ...]:
        """The choice of the resolution, where there are several."""
        return (Choice(RESOLUTION, self.resolutions),) if len(self.resolutions) > 1 else ()

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the choices that the sizes here depend on."""
        return (*(one.name for one in self.searched), *(one for one in self.strides if isinstance(one, str)))

    def at(self, arch: Mapping[str, Value]) -> Size:
        """The size of the maps in the network of an arch; ceil(ceil(n / a) / b) is ceil(n / ab)."""
        height, width = self._seen(arch)
        for one in self.strides:
            stride = int(arch[one]) if isinstance(one, str) else one
            height, width = -(-height // stride), -(-width // stride)
        return height, width

    def _seen(self, arch: Mapping[str, Value]) -> Size:
        """The size of the images within the network."""
        return self._resized(int(arch[RESOLUTION])) if len(self.resolutions) > 1 else self.smallest

    def _resized(self, shorter: int) -> Size:
        """The size of the images with this shorter side, in their proportions."""
        height, width = (
            side if side == 1 else max(1, round(side * shorter / self._side)) for side in self.image[1:]
        )
        return height, width

    def slots(self) -> tuple[Slot, ...]:
        """What makes images of their size within the network, where that is another one."""
        if not self.resolutions:
            return ()

        def layer(arch: Mapping[str, Value]) -> Layer | None:
            (height, width), (tall, wide) = self._seen(arch), self.image[1:]
            if (height, width) == (tall, wide):
                return None
            sizes: dict[str, Value] = {
                "squares": f"{tall // height}x{wide // width}",
                "height": height,
                "width": width,
            }
            return Layer.of(RESOLUTION, "resize", Resize, self.image, (self.image[0], height, width), sizes)

        return (Slot(name=RESOLUTION, choices=tuple(one.name for one in self.searched), layer=layer),)
