"""``quarry predict``: what a network that was handed over says of images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from results.artifacts.loaded import PREDICT, find, load, refuse_damaged
from results.loading import load_module
from results.records import Card
from runners.data.images import to_pixels

Scores = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def predict(
    path: Path, images: Sequence[Path], *, network: str = "", top: int = 5, say: Callable[[str], None] = print
) -> int:
    """Says the likeliest classes or labels of each image with their probabilities, or its values.

    Args:
        path: a run's folder, or one of its artifacts'.
        images: files, and folders, of which every image below is taken.
        network: name of a network of the run; empty takes the best.
        top: classes or labels to name.
        say: takes each line.

    Returns:
        How many images were read.

    Raises:
        FileNotFoundError: no such run, nothing in it, no such image, or a folder without images.
        ValueError: an unknown network, a damaged file; or some files are no images, said after the others.
    """
    if top < 1:
        raise ValueError(f"the classes to name are 1 or more, not {top}")
    folder, card = find(path, network)
    refuse_damaged(folder)
    ends = set(Image.registered_extensions()) if card.preprocessing.is_picture else {".npy"}
    files = list(_files(images, ends))
    scores_of = _scores(folder, card)
    wrong, done = [], 0
    for file in files:
        try:
            given = _input(file, card, folder)
        except Exception as error:  # PIL's plug-ins raise nearly anything for damaged files
            wrong.append(f"{file} {_reason(error)}")
            continue
        say(f"{file}: {card.answer.words(scores_of(given)[0], card.classes, top)}")
        done += 1
    if wrong:
        raise ValueError("\n".join(wrong))
    return done


def _files(images: Sequence[Path], known: Collection[str]) -> Iterator[Path]:
    for path in images:
        if path.is_dir():
            found = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file()
            )
            if not found:
                raise FileNotFoundError(f"there are no images in {path}")
            yield from found
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"there is no image {path}")


def _input(file: Path, card: Card, folder: Path) -> NDArray[np.float32]:
    """(1, C, H, W) float32, as the network was trained on."""
    given = card.preprocessing
    if not given.is_picture:
        array: NDArray[np.float32] = load_module(str(folder / PREDICT)).prepare(file)
        return array
    with Image.open(file) as image:
        pixels = to_pixels(
            image, height=given.height, width=given.width, channels=given.channels, white=given.white
        )
    mean, std = (np.array(value, np.float32)[:, None, None] for value in (given.mean, given.std))
    found: NDArray[np.float32] = ((pixels.astype(np.float32) / np.float32(255) - mean) / std)[None]
    return found


def _reason(error: Exception) -> str:
    if "cannot identify image file" in str(error):
        return "is no image of a known kind, or damaged"
    return f"cannot be read: {error or type(error).__name__}"


def _scores(folder: Path, card: Card) -> Scores:
    """What runs the file that was measured where ONNX Runtime does, otherwise the network in PyTorch."""
    if card.file.endswith(".onnx"):
        from compress.onnx.file import OnnxFile

        return OnnxFile(folder / card.file)
    import torch

    network = load(folder).network

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
        return found

    return run
