"""``quarry verify``: whether a network that was handed over is still what its card says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compress.onnx.verify import verify
from compress.target import Target
from results.artifacts.loaded import MODEL, load
from results.records import Card
from results.records.checksums import damaged, summed
from runners.data.prepared import RunData

MAX_DIFFERENCE = 1e-2
"""Largest difference between a float file and its network, as a share of the largest output."""
_SLOWER = 1.2  # times the latency of the card; runs of a quiet machine vary by a few percent
_SECONDS = 1.5


def check_files(folder: Path, say: Callable[[str], None]) -> None:
    """Says that an artifact's files are what was written.

    Raises:
        ValueError: some are not, or nothing says what they should be.
    """
    if wrong := damaged(folder):
        raise ValueError("\n".join(wrong.values()))
    say(f"{len(summed(folder))} files are what was written")


def check_network(
    folder: Path, card: Card, data: RunData, target: Target, say: Callable[[str], None]
) -> None:
    """Runs an artifact's file and its ``model.py``, if it has one, on the whole test set; measures the file.

    Args:
        folder: Folder of the artifact.
        card: Card of the artifact.
        data: Images of its run.
        target: Runtime and device of its run.
        say: takes each line.

    Raises:
        ValueError: another accuracy than the card's, or a file that is not the network.
    """
    file, test = folder / card.file, data.splits.test
    images, labels = data.images(test).numpy(), test.labels.numpy()
    if (folder / MODEL).is_file():
        found = verify(
            file,
            load(folder).network,
            (images, labels),
            run=target.run,
            score=data.score,
            answer=data.task.answer,
            max_difference=MAX_DIFFERENCE if card.precision == "fp32" else None,
        )
        right = found.accuracy_file
        parity = (
            f"{found.equal_predictions:.2%} of the predictions are those of {MODEL}, an output differs by "
            f"at most {found.max_difference:.2g}"
        )
    else:
        right, parity = data.score(target.run(file, images), labels), f"there is no {MODEL} to compare with"
    say(
        f"{right:.2%} {_word(card)} on {len(test)} test images (card: {card.accuracy.exported_test:.2%}); "
        f"{parity}"
    )
    if abs(right - card.accuracy.exported_test) > 1.5 / len(test):
        raise ValueError(
            f"{file} is {right:.2%} {_word(card)} on the test images, and its card says "
            f"{card.accuracy.exported_test:.2%}: other data, another runtime or another file"
        )
    (timing,) = target.measure([file], budget_s=_SECONDS)
    if timing.status != "measured":
        raise ValueError(f"{file} does not run on {target.facts.profile}: {timing.reason}")
    ratio = timing.median_ms / card.latency.measured_ms
    told = (
        "" if 1 / _SLOWER <= ratio <= _SLOWER else f", {ratio:.2f} times that: another machine, or a busy one"
    )
    say(
        f"{timing.median_ms:.4g} ms on {target.facts.profile} ({timing.low_ms:.4g} to {timing.high_ms:.4g}; "
        f"card: {card.latency.measured_ms:.4g}){told}"
    )


def _word(card: Card) -> str:
    return "right" if card.metric == "accuracy" else f"in {card.metric}"
