"""The records of searching: one for each trial, and the front that was found."""

from __future__ import annotations

from dataclasses import dataclass

from results.records.codec import Record, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Record):
    """One evaluation of a search that came to an end; a line of search/SEARCHER.jsonl.

    Attributes:
        ticket: place in the order of proposals, from 0.
        arch: evaluated network, choice names to values.
        scores: results of the evaluation by objective; None where it failed.
        costs: costs known beforehand, by name.
        error: reason of a failure; empty where there was none.
        seconds: time the evaluation took.
        worker: name of the worker that did it.
        session: number of the start of the search it ended in, from 0; a resumed search counts on.
        capacity: evaluations that session kept under way at once.
    """

    ticket: int
    arch: dict[str, Value]
    scores: dict[str, float] | None
    costs: dict[str, float]
    error: str = ""
    seconds: float = 0.0
    worker: str = ""
    session: int = 0
    capacity: int = 1

    @property
    def ok(self) -> bool:
        """Whether there are scores."""
        return self.scores is not None

    @property
    def numbers(self) -> dict[str, float]:
        """Costs and scores together; what was measured counts where both know it."""
        return {**self.costs, **(self.scores or {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRecord(Record):
    """The scores of one network, kept for later searches of the same supernet; a line of train/scores.jsonl.

    Attributes:
        evaluator: description of what scored it; scores of another evaluator say nothing here.
        arch: scored network, choice names to values.
        scores: results by objective.
    """

    evaluator: str
    arch: dict[str, Value]
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord(Record):
    """One layer of a lowered network, for drawing it and for showing where its time goes.

    Attributes:
        name: place in the network.
        kind: kind of layer, such as "depthwise".
        sizes: sizes it was built with: channels, kernel, ratio, ...
        output_shape: shape of its output without the batch, (C, H, W) for maps.
        latency_ms: median latency of the layer alone in the cost table; None where it has none.
    """

    name: str
    kind: str
    sizes: dict[str, Value]
    output_shape: tuple[int, ...]
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEntry(Record):
    """A network of the front, measured again on the target as an exported file.

    Attributes:
        name: name of the network; its artifact has the same.
        arch: choice names to values.
        searcher: name of the searcher that found it.
        accuracy: accuracy on the validation data that the search scored on, with inherited weights.
        predicted_ms: latency by the cost model; of a reference network with layers that the profile rules
            out, for which there is no prediction, the measured one.
        upper_ms: upper bound of the prediction at the run's confidence.
        measured_ms: median latency of the file on the target.
        low_ms: lower end of the interval of that median.
        high_ms: upper end of the interval of that median.
        macs: multiply-accumulates for one input.
        params: parameters.
        meets_limit: whether the measured latency is within the limit.
        layers: layers in order of execution; empty where the space has only a model to build.
        held_back_accuracy: accuracy on the validation data that no searcher saw; None where none were held
            back.
        precision: number format in which it was predicted and measured, its fastest; the target's first for
            the reference network.
    """

    name: str
    arch: dict[str, Value]
    searcher: str
    accuracy: float
    predicted_ms: float
    upper_ms: float
    measured_ms: float
    low_ms: float
    high_ms: float
    macs: int
    params: int
    meets_limit: bool
    layers: tuple[LayerRecord, ...] = ()
    held_back_accuracy: float | None = None
    precision: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorQuality(Record):
    """How well a searcher's predictor of accuracy did on scored networks that it had not seen, at its end.

    Attributes:
        searcher: name of the searcher.
        networks: number of networks, each left out of the fit that predicted it.
        tau: Kendall's rank correlation of predicted and scored, in [-1, 1].
        mean_error: mean of |predicted - scored|, as a fraction.
        interval: half width of the interval that holds nine of ten errors, as a fraction.
    """

    searcher: str
    networks: int
    tau: float
    mean_error: float
    interval: float

    def summary(self) -> str:
        """The figures in one sentence."""
        return (
            f"{self.searcher} predicted the accuracy of {self.networks} networks that were left out: "
            f"{100 * self.mean_error:.1f} points off on average, nine of ten within "
            f"{100 * self.interval:.1f}, rank correlation (tau) {self.tau:.2f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary(Record):
    """The result of a search; search/front.json.

    Attributes:
        limit_ms: latency limit.
        confidence: confidence at which predictions had to be under it, in (0, 1).
        reference: (accuracy, latency_ms) that bounds the hypervolume: of the control's median network, and
            the limit.
        front: networks in order of latency.
        largest: reference network of the space, measured beside them; None where it was not trained.
        scored_images: validation images that the search scored on.
        held_back_images: validation images that no searcher saw.
        known_first: number of trials, of every searcher but the control, that were the best known from
            earlier searches of the same supernet.
        predictors: quality of the predictors of accuracy, of searchers that have one.
        schema: form of this record.
    """

    limit_ms: float
    confidence: float
    reference: tuple[float, float]
    front: tuple[FrontEntry, ...]
    largest: FrontEntry | None
    scored_images: int = 0
    held_back_images: int = 0
    known_first: int = 0
    predictors: tuple[PredictorQuality, ...] = ()
    schema: int = 1

    @property
    def entries(self) -> tuple[FrontEntry, ...]:
        """The front, and the largest where it was trained."""
        return self.front if self.largest is None else (*self.front, self.largest)

    def validation_accuracy(self, entry: FrontEntry) -> float:
        """Accuracy of a network on all validation images, those held back included."""
        if entry.held_back_accuracy is None:
            return entry.accuracy
        right = entry.accuracy * self.scored_images + entry.held_back_accuracy * self.held_back_images
        return right / (self.scored_images + self.held_back_images)
