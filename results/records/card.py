"""The card of an artifact: what a model file is, and what was measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from results.codec import Record

COMPUTED = "roofline"
"""The runtime of a latency that was computed from a device's constants, not measured."""
NOT_MEASURED = " (computed from constants of the device, not measured)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardInput(Record):
    """The model's input: its name, its shape with the batch first, its dtype as ONNX Runtime says it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAccuracy(Record):
    """Accuracy as fractions.

    Attributes:
        validation: of the final network, on the split that search and compression looked at.
        float_test: of the float network before quantization, in PyTorch, on the test set.
        exported_test: of the file, run in its runtime, on the test set.
        test_images: how many there were.
    """

    validation: float
    float_test: float
    exported_test: float
    test_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWeights(Record):
    """The three sets of weights the network was offered with, by accuracy on validation data.

    Attributes:
        inherited: from the supernet.
        finetuned: trained on from there; None where that was left out.
        retrained: trained from scratch; None where that was left out.
        kept: which of the three went on into the file.
    """

    inherited: float
    finetuned: float | None
    retrained: float | None
    kept: str

    def rows(self) -> list[tuple[str, float]]:
        """What there is, by name."""
        named = (("inherited", self.inherited), ("finetuned", self.finetuned), ("retrained", self.retrained))
        return [(name, accuracy) for name, accuracy in named if accuracy is not None]

    def sentence(self) -> str:
        """All there is in words."""
        told = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in self.rows())
        return f"weights before compression, on validation data: {told}; kept: {self.kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Record):
    """The file against the PyTorch network it came from, on the test set.

    Attributes:
        max_difference: largest absolute difference of any output.
        same_predictions: share of images with the same class, in [0, 1].
    """

    max_difference: float
    same_predictions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLatency(Record):
    """Latency of one call, in milliseconds.

    Attributes:
        predicted_ms: by the cost model, of the network before compression.
        upper_ms: the prediction's upper bound.
        measured_ms: median of the final file.
        low_ms: lower end of that median's interval.
        high_ms: upper end.
        profile: hardware profile.
        runtime: its name and version.
        threads: it was given.
        batch: inputs in a call.
    """

    predicted_ms: float
    upper_ms: float
    measured_ms: float
    low_ms: float
    high_ms: float
    profile: str
    runtime: str
    threads: int
    batch: int

    @property
    def how(self) -> str:
        """``measured`` or ``computed``, for the words around the figures."""
        return "computed" if self.runtime.startswith(COMPUTED) else "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Record):
    """The limits, and whether the file as measured meets them.

    Attributes:
        latency_ms: the latency limit of the search.
        met: that one, and all of the device.
        broken: limits of the device that the file breaks, in words.
    """

    latency_ms: float
    met: bool
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference(Record):
    """What the network is compared with: the largest network of the space, exported and measured alike.

    Attributes:
        name: of that network.
        latency_ms: median.
        exported_test: accuracy of its file on the test set.
        size_bytes: of its file.
        speedup: its latency over this network's.
    """

    name: str
    latency_ms: float
    exported_test: float
    size_bytes: int
    speedup: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Record):
    """An exported model; artifacts/NAME/card.json.

    Attributes:
        name: of the network.
        file: of the model, beside the card.
        sha256: of that file.
        arch: choice names to values.
        input: what the model takes.
        classes: names in the order of the outputs.
        preprocessing: size, channels, mean, std, scale and resizing in words: image to input.
        accuracy: on validation and test data.
        agreement: of file and PyTorch network.
        latency: predicted and measured.
        size_bytes: of the file.
        macs: multiply-accumulates for one input.
        params: parameters.
        precision: "fp32" or "int8".
        steps_kept: compression steps that were kept, in order.
        limit: on latency.
        reference: the largest network.
        provenance: recipe, seed, versions, commit, machine, date, command.
        weights: inherited, fine-tuned and retrained; None on cards of before there was the choice.
        schema: of this record.
    """

    name: str
    file: str
    sha256: str
    arch: dict[str, Any]
    input: CardInput
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    accuracy: CardAccuracy
    agreement: Agreement
    latency: CardLatency
    size_bytes: int
    macs: int
    params: int
    precision: str
    steps_kept: tuple[str, ...]
    limit: Limit
    reference: Reference
    provenance: dict[str, Any]
    weights: CardWeights | None = None
    schema: int = 1

    def to_markdown(self) -> str:
        """The card as a README to lie beside the model."""
        parts = [_heading(self), _numbers(self), _preparation(self), _usage(self), _origin(self)]
        return "\n\n".join(parts) + "\n"


def _heading(card: Card) -> str:
    latency = card.latency
    met = "meets" if latency.measured_ms <= card.limit.latency_ms else "does not meet"
    broken = "".join(f" The device cannot hold it: {words}." for words in card.limit.broken)
    kept = ", then ".join(card.steps_kept) or "none"
    return (
        f"# {card.name}\n\n"
        f"`{card.file}` ({card.precision}, {card.size_bytes / 1000:.1f} kB) classifies an image into "
        f"{len(card.classes)} classes: {card.accuracy.exported_test:.2%} right on "
        f"{card.accuracy.test_images} test images, {latency.measured_ms:.4g} ms a call of {latency.batch} on "
        f"{latency.threads} thread{'s' if latency.threads != 1 else ''} of {latency.runtime}"
        f"{NOT_MEASURED if latency.how == 'computed' else ''}. It {met} the "
        f"limit of {card.limit.latency_ms:.4g} ms.{broken}\n\nCompression steps kept: {kept}."
    )


def _numbers(card: Card) -> str:
    accuracy, latency, other = card.accuracy, card.latency, card.reference
    rows = [
        ("accuracy, file run on test data", f"{accuracy.exported_test:.2%}"),
        ("accuracy, float network on test data", f"{accuracy.float_test:.2%}"),
        ("accuracy, validation data", f"{accuracy.validation:.2%}"),
        *_weights(card),
        ("same prediction as in PyTorch", f"{card.agreement.same_predictions:.2%}"),
        ("largest difference of an output", f"{card.agreement.max_difference:.2g}"),
        (
            f"latency, {latency.how} {'from' if latency.how == 'computed' else 'on'} the file",
            f"{latency.measured_ms:.4g} ms ({latency.low_ms:.4g} to {latency.high_ms:.4g})",
        ),
        (
            "latency, predicted before compression",
            f"{latency.predicted_ms:.4g} ms (at most {latency.upper_ms:.4g})",
        ),
        ("multiply-accumulates", f"{card.macs:,}"),
        ("parameters", f"{card.params:,}"),
        ("size of the file", f"{card.size_bytes:,} bytes"),
        (
            f"the {other.name} network",
            f"{other.exported_test:.2%}, {other.latency_ms:.4g} ms, {other.size_bytes:,} bytes",
        ),
        ("faster than that", f"{other.speedup:.2f} times"),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["## Numbers", "", "| what | value |", "|---|---|", *lines])


def _weights(card: Card) -> list[tuple[str, str]]:
    if card.weights is None:
        return []
    kept = card.weights.kept
    return [
        (f"before compression, {name}{' (kept)' if name == kept else ''}, validation data", f"{accuracy:.2%}")
        for name, accuracy in card.weights.rows()
    ]


def _preparation(card: Card) -> str:
    shape = " x ".join(str(size) for size in card.input.shape)
    lines = [f"- {name}: {_words(value)}" for name, value in card.preprocessing.items()]
    intro = f"Input `{card.input.name}`: {card.input.dtype}, {shape}."
    classes = "Classes, in the order of the outputs: " + ", ".join(card.classes) + "."
    return "\n".join(["## Input and output", "", intro, "", *lines, "", classes])


def _usage(card: Card) -> str:
    return f"""## Use

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{card.file}")
images = np.zeros({tuple(card.input.shape)}, dtype=np.float32)  # prepared as above
scores = session.run(None, {{"{card.input.name}": images}})[0]
best = scores.argmax(axis=1)
```"""


def _origin(card: Card) -> str:
    known = dict(card.provenance)
    recipe = known.get("recipe")
    if isinstance(recipe, dict) and "name" in recipe:  # as a whole it stands in card.json
        known["recipe"] = recipe["name"]
    lines = [f"- {name}: {_words(value)}" for name, value in known.items()]
    arch = ", ".join(f"{name}={value}" for name, value in card.arch.items())
    return "\n".join(
        ["## Provenance", "", *lines, f"- sha256 of the file: `{card.sha256}`", "", f"Arch: {arch}"]
    )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    return str(value)
