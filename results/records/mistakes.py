"""The record of what a file gets wrong: per class, confused with which, and the worst pictures."""

from __future__ import annotations

from dataclasses import dataclass

from results.records.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Confused(Record):
    """Images of one class that were taken for another.

    Attributes:
        label: place of the right class.
        predicted: place of the class that was said.
        images: number of such images.
    """

    label: int
    predicted: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongImage(Record):
    """A picture that was classified wrongly.

    Attributes:
        label: place of the right class.
        predicted: place of the class that was said.
        confidence: softmax of the class that was said.
        png: the picture as the network saw it, before normalisation; PNG in base64, of 192 pixels at most.
    """

    label: int
    predicted: int
    confidence: float
    png: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes(Record):
    """What a file gets wrong on the test images; artifacts/NAME-mistakes.json.

    Attributes:
        classes: names of the classes.
        images: test images of each class.
        right: those of them that were classified rightly.
        confused: pairs of classes that were confused, the most frequent first.
        wrong: pictures that were classified wrongly with the most confidence, the worst first.
    """

    classes: tuple[str, ...]
    images: tuple[int, ...]
    right: tuple[int, ...]
    confused: tuple[Confused, ...]
    wrong: tuple[WrongImage, ...]
