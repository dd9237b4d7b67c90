"""How a given model is compressed: everything but the goal."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError
from torch import nn

from compress.pruning.importance import criterion
from runners.compressing.scan import SHARES
from runners.data.look import look_at
from runners.recipe.problems import problems_of
from runners.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a compression; the defaults suit a network that was trained on these data.

    Attributes:
        name: Name that those of the files begin with.
        profile: Hardware profile that files are made for, by name or path.
        input_shape: Shape of an image, (C, H, W); None takes the typical size of the training images, and as
            many channels as the first convolution has.
        mean: Mean of each channel that the model was trained with, of values in [0, 1]; None takes that of
            the training images.
        std: Standard deviation, likewise.
        crop_padding: Pixels of padding before a random crop back to size, as augmentation.
        flip: Whether images are mirrored at random, as augmentation.
        shares: Shares of the channels to keep that may be tried, in (0, 1).
        networks: Networks that are cut and trained, at most; no more once a file meets the goal.
        importance: Criterion that ranks the channels.
        epochs: Epochs to train each of them.
        learning_rate: Peak learning rate of that training.
        batch_size: Images in an optimizer step.
        calibration_images: Training images for the ranges of activations.
        tolerance: Accuracy that int8 may cost, as a fraction, before it is learned in a training.
        device: PyTorch device to train on; ``auto`` takes a GPU where there is one.
        seed: Seed of everything random.
    """

    name: str = "model"
    profile: str = "cpu-ort"
    input_shape: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_padding: int = 0
    flip: bool = False
    shares: tuple[float, ...] = SHARES
    networks: int = 3
    importance: str = "l2"
    epochs: int = 10
    learning_rate: float = 3e-3
    batch_size: int = 128
    calibration_images: int = 256
    tolerance: float = 0.005
    device: str = "auto"
    seed: int = 0

    def recipe(self, data: str, network: nn.Module) -> Recipe:
        """What loading data, training and compression read of a recipe.

        Raises:
            ValueError: settings that make no sense, one line each.
        """
        channels, height, width = self.input_shape or typical_shape(data, network)
        criterion(self.importance)
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise ValueError(f"shares of the channels to keep lie between 0 and 1, got {self.shares}")
        if self.networks < 1:
            raise ValueError(f"networks has to be 1 or more, got {self.networks}")
        try:
            return Recipe.model_validate(
                {
                    "name": self.name,
                    "seed": self.seed,
                    "data": {
                        "source": data,
                        "channels": channels,
                        "height": height,
                        "width": width,
                        "crop_padding": self.crop_padding,
                        "flip": self.flip,
                    },
                    "space": {"network": "given"},
                    "train": {"epochs": 1, "batch_size": self.batch_size, "device": self.device},
                    "measure": {"profile": self.profile},
                    "search": {"speedup": 2.0},
                    "compress": {
                        "steps": ["prune", "quantize", "quantize_aware"],
                        "recovery": {"epochs": self.epochs, "learning_rate": self.learning_rate},
                        "calibration_images": self.calibration_images,
                        "tolerance": self.tolerance,
                    },
                }
            )
        except ValidationError as error:
            raise ValueError("\n".join(problems_of(error))) from None


def typical_shape(data: str, network: nn.Module) -> tuple[int, int, int]:
    """The shape of an image, (C, H, W), where nobody says it.

    Raises:
        ValueError: the data cannot be looked at before they are read, as those of a hub.
    """
    try:
        look = look_at(data)
    except ValueError as error:
        raise ValueError(f"{error}; or say the shape of an image, such as --input 3x64x64") from error
    convs = (one for one in network.modules() if isinstance(one, nn.Conv2d))
    first = next((one.in_channels for one in convs), 0)
    return first if first in (1, 3) else 1 if look.grey else 3, *look.typical


def shape_of(text: str) -> tuple[int, int, int]:
    """The shape of an image, (C, H, W), as ``3x32x32`` says it.

    Raises:
        ValueError: anything else.
    """
    try:
        channels, height, width = (int(part) for part in text.lower().split("x"))
        if min(channels, height, width) < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"an input shape is written like 3x32x32, not {text!r}") from None
    return channels, height, width


def numbers(option: str, text: str) -> tuple[float, ...] | None:
    """The numbers of an option such as ``0.5,0.5,0.5``; None where it is empty.

    Raises:
        ValueError: something that is no number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError:
        raise ValueError(f"{option} takes numbers such as 0.485,0.456,0.406, not {text!r}") from None
