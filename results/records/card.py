"""The card of an artifact: what a model file is, and what was measured on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from results.records.answer import ONE_CLASS, Answer
from results.records.codec import Record, Value
from results.records.run import Provenance

FROM_PICTURES = (
    "first frame, a JPEG in full and not at a reduced size; turned upright as EXIF says; more than 8 "
    "bits rounded to 8 (see white, refused without); transparency laid over white; then to grey or RGB"
)
FROM_ARRAYS = (
    "an array (height, width, channels); other than 8 bits rounded to 8 (see white, refused without)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardInput(Record):
    """Input of the model.

    Attributes:
        name: name of the input.
        shape: shape with the batch first.
        dtype: number format of its values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAccuracy(Record):
    """Accuracy as fractions; the task's score where that has another name, see ``Card.metric``.

    Attributes:
        validation: accuracy of the file on the images that search and compression looked at.
        float_test: accuracy of the float network before quantization, in PyTorch, on the test set.
        exported_test: accuracy of the file, run in its runtime on the test set.
        test_images: number of images in the test set.
    """

    validation: float
    float_test: float
    exported_test: float
    test_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWeights(Record):
    """The three sets of weights the network was offered with, by accuracy on validation data.

    Attributes:
        inherited: accuracy with the supernet's weights.
        finetuned: accuracy with these trained on; None where that was left out.
        retrained: accuracy with weights trained from scratch; None where that was left out.
        kept: name of the weights that went on into the file.
    """

    inherited: float
    finetuned: float | None
    retrained: float | None
    kept: str

    def offered(self) -> list[tuple[str, float]]:
        """The sets of weights there were, each with its accuracy."""
        named = (("inherited", self.inherited), ("finetuned", self.finetuned), ("retrained", self.retrained))
        return [(name, accuracy) for name, accuracy in named if accuracy is not None]

    def sentence(self) -> str:
        """The accuracies in words."""
        told = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in self.offered())
        return f"weights before compression, on validation data: {told}; kept: {self.kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Record):
    """Agreement of the file with the PyTorch network it came from, on the test set.

    Attributes:
        max_difference: largest absolute difference of any output.
        same_predictions: share of images with the same answer (``Card.answer``), in [0, 1].
    """

    max_difference: float
    same_predictions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLatency(Record):
    """Latency of one call, in milliseconds.

    Attributes:
        predicted_ms: latency of the network before compression, by the cost model; None where nobody
            predicted it, as of a model that was given.
        upper_ms: upper bound of that prediction.
        measured_ms: median latency of the final file.
        low_ms: lower end of the interval of that median.
        high_ms: upper end of the interval of that median.
        profile: name of the hardware profile.
        runtime: name and version of the runtime.
        threads: threads the runtime was given.
        batch: inputs in a call.
        computed: whether all of this was computed from constants and nothing was measured.
    """

    predicted_ms: float | None
    upper_ms: float | None
    measured_ms: float
    low_ms: float
    high_ms: float
    profile: str
    runtime: str
    threads: int
    batch: int
    computed: bool

    @property
    def how(self) -> str:
        """``measured`` or ``computed``, for the words around the figures."""
        return "computed" if self.computed else "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMet(Record):
    """The limits, and whether the file as measured meets them.

    Attributes:
        latency_ms: latency limit; None where there is none, as where a given model has to get smaller.
        met: whether the file meets that limit, all others that were asked for, and all of the hardware
            profile.
        broken: those of the others and of the profile that the file breaks, in words.
    """

    latency_ms: float | None
    met: bool
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference(Record):
    """The reference network of the space, or the model that was given, exported and measured alike.

    Attributes:
        name: name of that network.
        latency_ms: median latency of its file.
        exported_test: accuracy of its file on the test set.
        size_bytes: size of its file.
        speedup: latency of its file over the latency of this network's, both of one measurement.
        earlier_ms: latency of its file when the search measured it, where that disagrees; None where both
            measurements agree.
    """

    name: str
    latency_ms: float
    exported_test: float
    size_bytes: int
    speedup: float
    earlier_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing(Record):
    """The way from an image to the model's input.

    Attributes:
        channels: 1 (grey), 3 (RGB), or others, which are no pictures.
        height: height of the input in pixels.
        width: width of the input in pixels.
        mean: mean of each channel, of values in [0, 1].
        std: standard deviation of each channel, of values in [0, 1].
        white: value of full intensity in images of more than 8 bits a channel, as Pillow reads them; they
            become round(value * 255 / white). None where they are refused.
        decode: way from a file to 8-bit pixels, in words.
        resize: treatment of images of another size than the input's, in words.
        scale: way from pixels to the values that mean and deviation are of, in words.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float | None = None
    decode: str = FROM_PICTURES
    resize: str = "bilinear to cover the input, aspect kept, then a centre crop"
    scale: str = "8-bit pixels / 255, then (value - mean) / std, in float32"

    @property
    def is_picture(self) -> bool:
        """Whether inputs are made of picture files: of 1 or 3 channels."""
        return self.channels in (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProvenance(Provenance):
    """The origin of a model, for a card that has left its run's folder.

    Attributes:
        recipe: settings of the run, as in ``RecipeRecord``.
    """

    recipe: dict[str, Any]

    @classmethod
    def of(cls, provenance: Provenance, recipe: dict[str, Any]) -> CardProvenance:
        """The provenance of a run together with its recipe."""
        return cls.from_json({**provenance.to_json(), "recipe": recipe})


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Record):
    """An exported model; artifacts/NAME/card.json.

    Attributes:
        name: name of the network.
        file: name of the model's file, beside the card; its ending is the format.
        sha256: hash of that file.
        arch: choice names to values.
        input: input of the model.
        classes: names of the classes, labels or values in the order of the outputs.
        preprocessing: way from an image to the input.
        accuracy: accuracy on validation and test data.
        agreement: agreement of file and PyTorch network.
        latency: latency, predicted and measured.
        size_bytes: size of the file.
        macs: multiply-accumulates for one input.
        params: parameters.
        precision: number format, such as "fp32" or "int8".
        steps_kept: compression steps that were kept, in order.
        limit: limits, and whether they are met.
        reference: reference network of the space, for comparison; None where it was not trained.
        provenance: recipe, seed, versions, commit, machine, date, command.
        weights: accuracy with each set of weights that was offered; None where nothing was compressed.
        metric: name of what is called accuracy here: the score that the task judges by.
        answer: way from outputs to an answer.
        schema: form of this record.
    """

    name: str
    file: str
    sha256: str
    arch: dict[str, Value]
    input: CardInput
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    accuracy: CardAccuracy
    agreement: Agreement
    latency: CardLatency
    size_bytes: int
    macs: int
    params: int
    precision: str
    steps_kept: tuple[str, ...]
    limit: LimitMet
    reference: Reference | None
    provenance: CardProvenance
    weights: CardWeights | None = None
    metric: str = "accuracy"
    answer: Answer = ONE_CLASS
    schema: int = 3

    @property
    def share_of_limit(self) -> float:
        """The share of the latency limit that the file uses; over 1 where it does not meet it. Zero where
        there is no limit."""
        limit_ms = self.limit.latency_ms
        return 0.0 if limit_ms is None else self.latency.measured_ms / limit_ms


def best_first(cards: Iterable[Card]) -> list[Card]:
    """Cards in order of choice: within the limit, then by validation accuracy, then by latency.

    Test accuracy is there to report, not to choose by.
    """
    return sorted(
        cards, key=lambda card: (not card.limit.met, -card.accuracy.validation, card.latency.measured_ms)
    )
