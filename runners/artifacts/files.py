"""What lies in the folder of a network that is handed over, beside the file that was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
from PIL import Image

from compress.candidate import Candidate
from compress.failure import reason
from compress.onnx.export import onnx_bytes
from compress.onnx.file import OnnxFile
from compress.onnx.from_pixels import preparation, run_pixels, with_preparation
from compress.source.write import write
from results.artifacts.loaded import CARD, LABELS, MODEL, PREDICT, PREPARATION, WEIGHTS
from results.artifacts.predict_text import FLOAT_FILE, predict_code
from results.files import write_atomic
from results.records import Card, Preprocessing, Record, readme
from results.records.checksums import CHECKSUMS, checksums, summed
from runners.artifacts.bill import BILL, bill
from runners.data.images import to_pixels
from runners.data.prepared import RunData

IMAGE_FILE = "model-image.onnx"
"""The network with the preparation of images inside."""

_SIZES = ((1, 1), (2, 2), (1, 2), (3, 1), (0.5, 0.7), (4.3, 5.9))
"""Heights and widths, over those of the input, of the images that are prepared both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InGraph(Record):
    """How the preparation inside an ONNX file agrees with Pillow's.

    Attributes:
        file: name of that file; its input is uint8 (batch, height, width, channels) of any size.
        largest_pixel_difference: largest difference of a pixel in levels of 255, on made-up images of six
            sizes.
        equal_pixels: share of their pixels that are equal, in [0, 1].
        same_predictions: share of the test images with the same answer as by the file that it was made of, in
            [0, 1].
    """

    file: str
    largest_pixel_difference: int
    equal_pixels: float
    same_predictions: float


@dataclass(slots=True)
class _Folder:
    """Files by name, what each is, and why some are not there."""

    contents: dict[str, bytes] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes | str, told: str) -> None:
        self.contents[name] = content.encode() if isinstance(content, str) else content
        self.told[name] = told

    def attempt(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a user's network, an exporter or a runtime raises
            self.missing.append(f"{what}: {reason(error)}")


def write_artifact(folder: Path, card: Card, candidate: Candidate, data: RunData) -> tuple[str, ...]:
    """Writes a network's folder: its file, weights, source, programs, data, bill of materials, sums.

    What cannot be made of a network (source, an ONNX file) is left out; the README says why.

    Args:
        folder: folder to write.
        card: what is known of the network.
        candidate: network and file.
        data: the run's, with its test images.

    Returns:
        What was left out, and why.

    Raises:
        OSError: a file cannot be written.
    """
    found = _Folder()
    content = candidate.file.read_bytes()
    found.add(card.file, content, f"the network in {card.precision}, for {card.latency.runtime}; any batch")
    found.attempt(f"{MODEL} and {WEIGHTS}", lambda: _source(found, card, candidate, data))
    portable = content if card.file.endswith(".onnx") else None
    if portable is None or card.precision != "fp32":
        found.attempt(FLOAT_FILE, lambda: _float_file(found, candidate, data))
        portable = portable or found.contents.get(FLOAT_FILE)
    inside: list[InGraph] = []
    if portable is not None:
        found.attempt(IMAGE_FILE, lambda: inside.append(_image_file(found, portable, data)))
        found.add(PREDICT, predict_code(card), "answers for images: `python predict.py IMAGE...`")
    _describe(found, card, data, inside[0] if inside else None)
    found.add("README.md", readme(card, found.told, found.missing), "this page")
    found.contents[CARD] = (json.dumps(card.to_json(), indent=1, allow_nan=False) + "\n").encode()
    found.contents[CHECKSUMS] = checksums(found.contents).encode()
    _remove_earlier(folder, found.contents)
    for name in sorted(found.contents, key=lambda name: name == CARD):  # where there is a card, all is there
        write_atomic(folder / name, found.contents[name])
    return tuple(found.missing)


def _remove_earlier(folder: Path, contents: Collection[str]) -> None:
    """Removes what an earlier writing left and this one has not, such as source of another network."""
    try:
        earlier = summed(folder)
    except ValueError:  # damaged: nothing says what was written, apart from what is optional
        earlier = dict.fromkeys((MODEL, WEIGHTS, FLOAT_FILE, IMAGE_FILE, PREDICT), "")
    for name in earlier.keys() - set(contents):
        (folder / name).unlink(missing_ok=True)


def _source(found: _Folder, card: Card, candidate: Candidate, data: RunData) -> None:
    written = write(candidate.network, data.example, name=card.name, weights=WEIGHTS)
    found.add(MODEL, written.source, "the network in plain PyTorch, to train on: `model.load()`")
    found.add(
        WEIGHTS, safetensors.torch.save(written.weights), "its weights in float32, BatchNorms not folded"
    )


def _float_file(found: _Folder, candidate: Candidate, data: RunData) -> None:
    content = onnx_bytes(candidate.network, data.input_shape)
    found.add(FLOAT_FILE, content, "the same network in fp32, as ONNX; any batch")


def _image_file(found: _Folder, portable: bytes, data: RunData) -> InGraph:
    given, test = data.splits.preprocessing, data.splits.test
    if not given.is_picture:
        raise ValueError(f"pictures have 1 or 3 channels, and this network takes {given.channels}")
    content = with_preparation(portable, given)
    largest, equal = _pixels_apart(portable, given)
    if largest > 1:
        raise ValueError(f"images prepared inside the file are off by {largest} of 255 levels")
    pixels = test.images.permute(0, 2, 3, 1).contiguous().numpy()
    own, whole = OnnxFile(portable), run_pixels(content)
    same = sum(
        data.task.answer.same(
            own(data.prepare(test.images[start : start + 256], None).numpy()),
            whole(pixels[start : start + 256]),
        )
        for start in range(0, len(test), 256)
    )
    found.add(IMAGE_FILE, content, "takes 8-bit images of any size, resize and normalization inside")
    return InGraph(
        file=IMAGE_FILE,
        largest_pixel_difference=largest,
        equal_pixels=equal,
        same_predictions=same / len(test),
    )


def _pixels_apart(portable: bytes, given: Preprocessing) -> tuple[int, float]:
    """The preparation in a file against Pillow's: the largest difference in levels, the share of equals."""
    prepare = run_pixels(preparation(portable, given).SerializeToString())
    rng, apart = np.random.default_rng(0), []
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (given.mean, given.std))
    for tall, wide in _SIZES:
        sides = (max(1, round(tall * given.height)), max(1, round(wide * given.width)))
        image = rng.integers(0, 256, (*sides, given.channels), dtype=np.uint8)
        opened = Image.fromarray(image[..., 0] if given.channels == 1 else image)
        wanted = to_pixels(opened, height=given.height, width=given.width, channels=given.channels)
        levels = np.rint((prepare(image[None])[0] * std + mean) * 255)
        apart.append(np.abs(levels - wanted).ravel())
    every = np.concatenate(apart)
    return int(every.max()), float((every == 0).mean())


def _describe(found: _Folder, card: Card, data: RunData, inside: InGraph | None) -> None:
    """Labels, preparation and bill of materials, as JSON."""
    known = {**card.preprocessing.to_json(), "in_graph": None if inside is None else inside.to_json()}
    found.add(
        LABELS,
        json.dumps(card.classes, indent=1) + "\n",
        f"names of the {card.answer.named}, in the order of the outputs",
    )
    found.add(PREPARATION, json.dumps(known, indent=1) + "\n", "the way from an image to the input, as data")
    materials = json.dumps(bill(card, data.splits), indent=1) + "\n"
    found.add(
        BILL, materials, "bill of materials (CycloneDX): versions, recipe, seed, fingerprints of the data"
    )
