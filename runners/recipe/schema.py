"""The sections of a recipe: every key with its type, range, default and effect.

The texts below the keys are what docs/recipe.md shows of them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from runners.recipe.part import Part, part
from runners.recipe.precisions import refuse_precisions
from runners.recipe.ranking import Blockwise, Race
from runners.recipe.recovery import Recovery
from runners.recipe.section import Section


class Data(Section):
    """The images: where they come from, and what the network sees of them."""

    source: Part
    """Data source, such as ``digits``; or a folder (``train/CLASS/*.jpg``), a CSV file that names images, an
    npz file of arrays, a parquet file or folder, or the name of a hub's data set."""
    height: int = Field(ge=1)
    """Height of the network's input, in pixels; images are scaled to cover it and cropped at the centre."""
    width: int = Field(ge=1)
    """Width of the network's input, in pixels."""
    channels: int = Field(default=3, ge=1)
    """Channels of the network's input: of image files 1 (grey) or 3 (RGB), of arrays as many as they have."""
    white: float | None = Field(default=None, gt=0)
    """Value of full intensity in images of more than 8 bits a channel, as Pillow reads them: 4095 where 12
    bits of a 16-bit file are used, 65535 where all are. They become round(value * 255 / white), and are
    refused without it; images of 8 bits are as they are. Colour of 16 bits is read with 65535 alone."""
    val_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images that the search scores on, where the data bring no validation split."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of all images kept for the end, where the data bring no test split."""
    crop_padding: int = Field(default=0, ge=0)
    """Pixels of padding before a random crop back to size, as augmentation; 0 does not crop."""
    flip: bool = False
    """Random horizontal flips, as augmentation."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """Share of the way from images that come once an epoch each, 0, to classes that come equally often, 1,
    however many images they have; 0.5 goes by the roots of their numbers. For one class an image."""


class Space(Section):
    """The search space: a preset, a function of yours, or a file of ``quarry space``."""

    preset: str = "cifar"
    """Built-in space. Of MetaFormers: ``digits``, ``cifar-small``, ``cifar``, ``mobile``; of signals, which
    are images of one row: ``signal-short``, ``signal``. Of convolutional networks, by the side of the images
    that they are for: ``fast-8``, ``fast-32``, ``fast-64``, ``fast-128``. Published ones, such as
    ``mobilenetv3`` and ``vit``, for images of 128x128 and more: docs/spaces.md lists them."""
    module: str = ""
    """Function of yours that returns a search space, instead of a preset: ``path/to/file.py:function`` or
    ``package.module:function``; called with ``classes`` and ``input_shape``."""
    network: str = ""
    """File of a space out of a network as it is, instead of a preset: what ``quarry space my.py:make`` wrote
    and you edited."""
    mixers: tuple[str, ...] = ()
    """Mixers of every stage, instead of the preset's; in presets of MetaFormers."""
    blocks: tuple[str, ...] = ()
    """Blocks of every stage, instead of the preset's; in presets of convolutional networks. The name of a
    mixer stands for the MetaFormer block that has it."""
    channel_mixers: tuple[str, ...] = ()
    """Channel mixers of every stage, instead of the preset's, which is the MLP; in presets of MetaFormers.
    Where there are several, each block chooses."""
    norms: tuple[str, ...] = ()
    """Norms of every stage, instead of the preset's, which is ``batch`` (after every convolution); in presets
    of MetaFormers. Where there are several, each block chooses."""
    residuals: tuple[str, ...] = ()
    """Residual forms of every stage, instead of the preset's, which is ``sum``; in presets of MetaFormers.
    Where there are several, each block chooses."""
    entries: tuple[str, ...] = ()
    """Entries of every stage, instead of the preset's, which is ``strided``: what changes resolution and
    width. In presets of convolutional networks they stand before blocks that keep their shape. Where there
    are several, each stage chooses."""
    recursions: tuple[int, ...] = ()
    """Runs of every block but a stage's first, on the same weights, as a choice of each stage: ``[1, 2]``; in
    presets of convolutional networks."""
    resolutions: tuple[int, ...] = ()
    """Sides of images within networks, in pixels, as a choice: they, and their files, resize the data's."""
    strides: tuple[int, ...] = ()
    """Strides of the first layer as a choice, instead of the preset's: of the stem, or sides of a patch."""
    exits: tuple[int, ...] = ()
    """Stages after which networks may end early, counted from 1, as a choice: ``[2, 3]``. Each end has a
    classifier of its own; the rule ``exits`` trains all of them in a step."""
    activation: str = "relu"
    """Activation between convolutions; published presets keep their own."""
    precisions: Literal["", "stage", "block"] = ""
    """Parts of networks that each choose a number format, int8 or fp32, in the search itself (choices
    ``stage0.precision``); empty has networks in one format, their fastest. In spaces of slots, with
    ``search.ranking = "shared"`` and the step ``quantize``."""
    options: dict[str, dict[str, Any]] = Field(default={})
    """Settings of mixers, blocks and the other parts of a space, and values of the choices they bring:
    ``{ cswin = { stripe = [1, 2] } }``. What a preset gives its own parts holds where none are given."""

    rules: tuple[dict[str, Any], ...] = ()
    """Rules over several choices of any space, which no network breaks: ``{ ascending = ["stage*.width"] }``,
    or ``{ forbid = { "stage{n}.block*.mixer" = "attention", "stage{n}.width" = "> 64" } }``."""

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """The names that replace those of a preset, by key."""
        keys = ("mixers", "blocks", "channel_mixers", "norms", "residuals", "entries")
        return {key: getattr(self, key) for key in keys}

    @model_serializer(mode="wrap")
    def _without_what_a_module_leaves_out(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys of presets are no part of a recipe that names something else, unless it gives them."""
        written: dict[str, Any] = plain(self)
        named = "module" if self.module else "network" if self.network else ""
        return {
            key: value
            for key, value in written.items()
            if not named or key == named or key in self.model_fields_set
        }


class Train(Section):
    """The training of the supernet."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(default=128, ge=2)
    """Images in an optimizer step."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Optimizer. ``muon`` makes the steps of matrices orthogonal, by which dense networks learn in fewer
    epochs at the same learning rate; what compression trains again keeps ``adamw``."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate; it rises over the warm-up, then falls to zero along a cosine."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay of matrices and kernels; biases and normalisation have none."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Epochs over which the learning rate rises."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of a label's weight that is spread over all classes."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient; a longer one is scaled down to it."""
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup: a batch's images are blended in pairs; 0 does not."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix: a box of each image is replaced by its partner's; 0 does not."""
    mixed_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the batches that mixup or cutmix changes. Rounds of a race but the last mix none."""
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, per step; 0 keeps none."""
    rule: Part = part("sandwich")
    """Training rule: which subnets a step trains, and what each learns from."""
    sampling: Literal["size", "choices"] = "size"
    """Random subnets are drawn evenly over log MACs (``size``) or over the values of every choice."""
    own_norms: bool = False
    """Norms share their scales and shifts only among networks of the same width at that place; else the
    narrower take the leading ones of the wider. For spaces of layers."""
    distillation: Literal["kl", "alpha"] = "kl"
    """Loss of a subnet that learns from another's outputs: KL, or AlphaNet's adaptive alpha-divergence."""
    resolutions: tuple[int, ...] = ()
    """Image heights, in pixels, that all subnets but the largest are trained at, drawn step by step; empty
    keeps one."""
    device: str = "auto"
    """PyTorch device, such as ``cpu`` or ``cuda:1``; ``auto`` takes a GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the forward and backward passes; ``auto`` takes bf16 where the processor has it and
    the networks run in it."""
    processes: int = Field(default=1, ge=1)
    """Processes that train together, each on its share of every batch; on GPUs, one for each GPU."""
    ray_address: str = ""
    """Address (``host:port``) of a running Ray cluster for the further processes; empty starts them here."""

    @model_validator(mode="after")
    def _batches_have_equal_shares(self) -> Train:
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of processes ({self.processes})"
            )
        return self

    @model_validator(mode="after")
    def _a_cluster_is_for_further_processes(self) -> Train:
        if self.ray_address and self.processes == 1:
            raise ValueError(
                "ray_address is of the cluster that further processes train on; set processes to 2 or more"
            )
        return self


class Measure(Section):
    """The measuring: what the search optimises for, and how carefully it is measured."""

    profile: str = "cpu-ort"
    """Hardware profile, by name or path."""
    ray_address: str = ""
    """Address of a Ray cluster whose nodes offer a resource named as the profile; empty measures here."""
    fit_networks: int = Field(default=30, ge=5)
    """Whole networks measured to fit the correction of the layer sums."""
    check_networks: int = Field(default=30, ge=3)
    """Whole networks measured to state the error; predicted before they are looked at."""
    seconds_each: float = Field(default=0.4, gt=0)
    """Seconds to measure one layer or network; a narrow interval ends it sooner."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the drawn networks; the recipe's where none is given."""


class Search(Section):
    """The search: what is looked for, by whom, and how long."""

    latency_ms: float | None = Field(default=None, gt=0)
    """Latency limit in ms, of one call with the profile's batch. Give this or ``speedup``."""
    speedup: float | None = Field(default=None, gt=1)
    """Latency limit: the largest network's predicted latency divided by this."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence at which the upper end of the predicted latency meets the limit."""
    searchers: tuple[Part, ...] = (part("guided"), part("nsga2"), part("optuna_tpe"))
    """Searchers, one after the other. Random search always runs as the control, once, listed or not."""
    budget: int = Field(default=200, ge=1)
    """Networks that each searcher scores."""
    workers: int = Field(default=2, ge=1)
    """Ray workers that score networks; one, without a cluster, works in the run's own process."""
    ray_address: str = ""
    """Address of a running Ray cluster; empty starts one on this machine."""
    calibration_images: int = Field(default=512, ge=2)
    """Training images for the BatchNorm statistics of each scored network."""
    held_back: float = Field(default=0.3, ge=0, lt=1)
    """Share of the validation images that no searcher sees; the front is scored on them at the end."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the searchers; the recipe's where none is given."""
    ranking: Literal["shared", "alone", "blockwise"] = "shared"
    """Way that networks are ranked: ``shared`` (by the weights of a supernet, trained once for many limits
    and devices), ``alone`` (by trainings of their own, in successive halving near one limit; see ``race``)
    or ``blockwise`` (by how well their blocks learn those of a larger network; see ``blockwise``)."""

    gate: float | None = Field(default=None, ge=-1, le=1)
    """Kendall's tau that the order by shared weights has to reach on validation images in a small audit
    (``audit``) before a search; below it networks are ranked alone. Without it there is no audit."""

    @model_validator(mode="after")
    def _a_gate_is_for_shared_weights(self) -> Search:
        if self.gate is not None and self.ranking != "shared":
            raise ValueError(
                f'gate is for search.ranking = "shared": networks ranked {self.ranking} share no weights'
            )
        return self

    @model_validator(mode="after")
    def _one_limit(self) -> Search:
        if (self.latency_ms is None) == (self.speedup is None):
            raise ValueError(
                "give either latency_ms (a number of milliseconds) or speedup (over the largest)"
            )
        return self


class Compress(Section):
    """The compression of the networks that were found."""

    networks: int = Field(default=2, ge=1)
    """Networks of the front that are fine-tuned and compressed."""
    steps: tuple[Part, ...] = (part("finetune"), part("retrain"), part("prune"), part("quantize"))
    """Steps in order; each is kept only if it pays. Networks that were trained alone need no ``finetune`` and
    no ``retrain``: for them it is ``quantize``, ``quantize_aware``, ``prune``."""
    goal: Literal["limit", "fastest"] = "limit"
    """Aim of the steps that make networks faster: the ``limit``, and no more once a file meets it, or the
    ``fastest`` file that is accurate enough."""
    recovery: Recovery = Recovery()
    """Training after a step, and of the step ``finetune``."""
    calibration_images: int = Field(default=256, ge=1)
    """Training images for the ranges of activations."""
    tolerance: float = Field(default=0.01, ge=0, lt=1)
    """Accuracy that compression may cost as a whole, as a fraction."""
    noise: float = Field(default=0.02, ge=0, lt=1)
    """Share of a latency below which a gain is not believed, even where the intervals do not overlap."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of training and pruning; the recipe's where none is given."""


class Audit(Section):
    """The audit of how far the supernet's ranking can be trusted: ``quarry audit``, not in ``quarry run``."""

    networks: int = Field(default=20, ge=4)
    """Networks to train alone, spread over the sizes of the space."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs to train each network alone; the supernet's own where none is given."""
    finetune_epochs: int = Field(default=2, ge=0)
    """Epochs to train the same networks further from what they inherit; 0 leaves it out."""
    workers: int = Field(default=2, ge=1)
    """Ray workers that train networks, one CPU each; 1, or a GPU, trains one after the other without Ray."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the choice of networks and of their training; the recipe's where none is given."""


class Recipe(Section):
    """A run, from data to verified files."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the run, and of what it hands over."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""
    parts: tuple[str, ...] = ()
    """Code that brings parts of your own: Python files, seen from the recipe, and modules by dotted name."""
    task: Part = part("classification")
    """Task that networks are trained for and judged by: a name, or one of yours, ``my.py:task``."""
    data: Data
    """Images."""
    space: Space
    """Search space."""
    train: Train
    """Training of the supernet."""
    measure: Measure = Measure()
    """Measuring."""
    search: Search
    """Search."""
    compress: Compress = Compress()
    """Compression."""
    audit: Audit = Audit()
    """Audit of the supernet."""
    race: Race = Race()
    """Successive halving of networks trained alone."""
    blockwise: Blockwise = Blockwise()
    """Learning block by block."""
    minutes: float | None = Field(default=None, gt=0)
    """Minutes for the whole run: they are divided over measuring, choosing and training, and take the place
    of ``race.networks`` and ``train.epochs``. For ``search.ranking = "alone"`` or ``"blockwise"``."""

    def seed_or(self, own: int | None) -> int:
        """The seed that a section gives, or the recipe's where it gives none."""
        return self.seed if own is None else own

    @model_validator(mode="before")
    @classmethod
    def _own_steps_for_networks_trained_alone(cls, given: Any) -> Any:
        return with_own_steps(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _what_searched_precisions_need(self) -> Recipe:
        if self.space.precisions:
            refuse_precisions(
                self.search.ranking, self.search.gate, [one.kind for one in self.compress.steps]
            )
        return self

    @model_validator(mode="after")
    def _what_ranking_alone_is_for(self) -> Recipe:
        alone = self.search.ranking != "shared"
        recovery = self.compress.recovery
        undone = [
            step.kind
            for step in self.compress.steps
            if step.kind in _FOR_SHARED_WEIGHTS and not (step.kind == "finetune" and recovery.has_teachers)
        ]
        if alone and undone:
            raise ValueError(
                f"compress.steps: {' and '.join(undone)} make up for shared weights; networks ranked "
                f"{self.search.ranking} have their own, so leave them out (finetune is for them too where "
                f"compress.recovery.teachers names a teacher of yours, or itself)"
            )
        if self.race.sieve and self.search.ranking == "blockwise":
            raise ValueError(
                "race.sieve orders networks of which nothing is known; block by block they are ranked "
                "already, so leave it out"
            )
        if self.minutes is not None and not alone:
            raise ValueError(
                'minutes are for search.ranking = "alone" or "blockwise"; with shared weights give '
                "train.epochs"
            )
        return self


_FOR_SHARED_WEIGHTS = ("finetune", "retrain")
ALONE_STEPS = ("quantize", "quantize_aware", "prune")
"""Compression steps of networks that were trained alone, where a recipe names none."""


def with_own_steps(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values with the compression steps that ``search.ranking`` has where they name none.

    Steps that make up for shared weights are of no use without these.
    """
    search, compress = values.get("search"), values.get("compress", {})
    alone = isinstance(search, dict) and search.get("ranking") in ("alone", "blockwise")
    if not alone or not isinstance(compress, dict) or "steps" in compress:
        return values
    return {**values, "compress": {**compress, "steps": list(ALONE_STEPS)}}


def for_networks_trained_alone(recipe: Recipe) -> Recipe:
    """The recipe without the compression steps that make up for shared weights."""
    steps = tuple(step for step in recipe.compress.steps if step.kind not in _FOR_SHARED_WEIGHTS)
    return recipe.model_copy(update={"compress": recipe.compress.model_copy(update={"steps": steps})})
