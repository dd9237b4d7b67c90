"""A network that was handed over, as Python uses it: ``results.load("runs/digits")``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.loading import load_module
from results.names import unknown
from results.records.card import Card, best_first
from results.records.checksums import CHECKSUMS, damaged
from results.records.given import GIVEN, CompressedModel
from results.records.handed_over import ARTIFACTS
from results.records.reading import read_record

if TYPE_CHECKING:  # PyTorch takes seconds, for which a wrong path should not wait
    from torch import Tensor, nn

CARD, MODEL, PREDICT = "card.json", "model.py", "predict.py"
WEIGHTS, LABELS, PREPARATION = "weights.safetensors", "labels.json", "preprocessing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A network that was handed over, for use and for further training.

    Attributes:
        folder: folder of the artifact.
        card: what is known of it.
        network: the network in plain PyTorch, float32 and in eval mode, its BatchNorms as they were trained.
        transform: makes an image (a path, an open file or a Pillow image) input (C, H, W) float32.
        labels: names of the classes in the order of the outputs.
    """

    folder: Path
    card: Card
    network: nn.Module
    transform: Callable[[Any], Tensor]
    labels: tuple[str, ...]


def load(path: str | Path, network: str = "") -> Loaded:
    """The network of a run, or of an artifact's folder, from the folder's own files.

    ``model.py`` and ``predict.py`` of the folder are run: load what you made or trust.

    Args:
        path: a run's folder, or one of ``artifacts/``.
        network: name of a network of the run; empty takes the best.

    Raises:
        FileNotFoundError: no such folder, no artifacts in it, or one without ``model.py``.
        ValueError: no network of that name, or a file that is damaged or edited; names it.
    """
    folder, card = find(Path(path), network)
    refuse_damaged(folder)
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(
            f"{folder} has no {MODEL}: its README.md says why it could not be written in plain PyTorch"
        )
    made: nn.Module = load_module(str(folder / MODEL)).load()
    return Loaded(folder=folder, card=card, network=made, transform=_transform(folder), labels=card.classes)


def find(path: Path, network: str = "") -> tuple[Path, Card]:
    """The folder of an artifact, and its card; of a run's several the best, unless one is named.

    Of a model that was compressed the best is the answer to its goal: where that is an accuracy alone, all
    that keep it meet it, the model as it was too, and the answer is the fastest.

    Raises:
        FileNotFoundError: no such folder, or no artifacts in it.
        ValueError: no network of that name, or a card that is damaged.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}; give a run's, or one of its {ARTIFACTS}/")
    if (path / CARD).is_file():
        if network:
            raise ValueError(f"{path} is the folder of one network; only a run has several to name")
        return path, read_record(Card, path / CARD)
    cards = {file.parent: read_record(Card, file) for file in sorted(path.glob(f"{ARTIFACTS}/*/{CARD}"))}
    if not cards:
        raise FileNotFoundError(
            f"{path} holds no network that was handed over; a finished run has them in {ARTIFACTS}/, and "
            f"quarry export --out {path} writes them"
        )
    names = {card.name: folder for folder, card in cards.items()}
    if network and network not in names:
        raise ValueError(unknown("network", network, names))
    folder = names[network or _first(path, cards.values())]
    return folder, cards[folder]


def _first(run: Path, cards: Collection[Card]) -> str:
    """The network that is meant where none is named: the answer to a compression's goal, or the best."""
    given = run / GIVEN
    answer = read_record(CompressedModel, given).answer if given.is_file() else ""
    return answer if answer in {card.name for card in cards} else best_first(cards)[0].name


def refuse_damaged(folder: Path) -> None:
    """Refuses an artifact whose files are not what was written; one from before there were sums passes.

    Raises:
        ValueError: files that are gone, damaged, cut short or edited, by name.
    """
    if (folder / CHECKSUMS).exists() and (wrong := damaged(folder)):
        raise ValueError(
            "\n".join(wrong.values()) + f"\n{CHECKSUMS} says what they should be; export or copy them again"
        )


def _transform(folder: Path) -> Callable[[Any], Tensor]:
    prepare = load_module(str(folder / PREDICT)).prepare  # to (1, C, H, W) float32, as NumPy's array

    def transform(image: Any) -> Tensor:
        import torch

        return torch.from_numpy(prepare(image)[0])

    return transform
