"""Recipes: what a run does, as one TOML file, validated as a whole before any work starts."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from results.names import unknown
from runners.recipe.named import missing_module, short_budgets, unknown_hardware, unknown_names


class Section(BaseModel):
    """A part of a recipe: fixed once read, and no key that is not declared."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,  # a folder may be called 2024
    )


class Data(Section):
    """Where the images come from and what the network sees of them."""

    source: str
    """``digits``, a folder (``train/CLASS/*.jpg``), a parquet file or folder, or a hub data set's name."""
    height: int = Field(ge=1)
    """Of the network's input; images are scaled to cover it and cropped at the centre."""
    width: int = Field(ge=1)
    channels: Literal[1, 3] = 3
    image_column: str = ""
    """Of parquet and hub data; empty finds the only column that holds images."""
    label_column: str = ""
    """Of parquet and hub data; empty finds ``label``, ``labels``, ``fine_label`` or ``class``."""
    val_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images that search scores on, where the data bring no validation split."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of all images kept for the end, where the data bring no test split."""
    crop_padding: int = Field(default=0, ge=0)
    """Augmentation: pixels of padding before a random crop back to size."""
    flip: bool = False
    """Augmentation: random horizontal flips."""


class Space(Section):
    """The search space: a preset, or a function of yours."""

    preset: str = "cifar"
    """``digits``, ``cifar-small``, ``cifar`` or ``mobile``."""
    module: str = ""
    """``path/to/file.py:function`` returning a SearchSpace; called with classes and input_shape."""
    mixers: tuple[str, ...] = ()
    """Replaces the mixers of every stage; first the smallest network's, last the largest's."""
    activation: str = "relu"


class Train(Section):
    """How the supernet is trained."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    gradient_clip: float = Field(default=1.0, gt=0)
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup: a batch's images are blended in pairs; 0 does not."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix: a box of each image is replaced by its partner's; 0 does not."""
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    """Of a moving average of the weights; 0 keeps none."""
    rule: str = "sandwich"
    """Which subnets a step trains: a name of ``nas.rules.RULES``."""
    random_subnets: int = Field(default=2, ge=0)
    """Of a step, beside two others (of the sandwich: the largest and the smallest)."""
    sampling: Literal["size", "choices"] = "size"
    """Random subnets are drawn evenly over log MACs (``size``) or over the values of every choice."""
    distillation: Literal["kl", "alpha"] = "kl"
    """What a subnet that learns from the largest minimises: KL or AlphaNet's adaptive alpha-divergence."""
    resolutions: tuple[int, ...] = ()
    """Image heights that all subnets but the largest are trained at, drawn step by step; empty keeps one."""
    device: str = "auto"
    """``auto`` takes a GPU where there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    processes: int = Field(default=1, ge=1)
    """That train together, each on its share of every batch; on GPUs one for each GPU."""
    ray_address: str = ""
    """Of a running Ray cluster for the further processes; empty starts them on this machine."""

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

    @model_validator(mode="after")
    def _buckets_need_sizes(self) -> Train:
        if self.rule == "cost_buckets" and self.sampling != "size":
            raise ValueError('the rule cost_buckets draws by size; give it sampling = "size"')
        return self


class Profile(Section):
    """The device and how carefully it is measured."""

    hardware: str = "cpu-ort"
    """A hardware profile, by name or path."""
    ray_address: str = ""
    """Of a Ray cluster whose nodes offer a resource named as the profile; empty measures here."""
    fit_networks: int = Field(default=30, ge=5)
    """Whole networks measured to fit the correction of the layer sums."""
    check_networks: int = Field(default=30, ge=3)
    """Whole networks measured to state the error; predicted before they are looked at."""
    seconds_each: float = Field(default=0.4, gt=0)
    """Time budget of a layer or network; a narrow interval ends it sooner."""
    seed: int | None = Field(default=None, ge=0)
    """Of this stage; the recipe's where none is given."""


class Search(Section):
    """What is searched for, by whom, and how long."""

    latency_ms: float | None = Field(default=None, gt=0)
    """The limit, on one input batch of the profile. Give this or ``speedup``."""
    speedup: float | None = Field(default=None, gt=1)
    """The limit as a share of the largest network's measured latency: at least this many times faster."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """The limit is met by the upper end of the prediction at this confidence."""
    searchers: tuple[str, ...] = ("guided", "nsga2", "optuna_tpe")
    """Random search always runs beside them as the control."""
    budget: int = Field(default=200, ge=1)
    """Networks each searcher scores."""
    workers: int = Field(default=2, ge=1)
    """Ray workers that score networks; one, without a cluster, works in the run's own process."""
    ray_address: str = ""
    """Of a running Ray cluster; empty starts one on this machine."""
    calibration_images: int = Field(default=512, ge=2)
    """Training images for the BatchNorm statistics of each scored network."""
    held_back: float = Field(default=0.3, ge=0, lt=1)
    """Share of the validation images that no searcher sees; the front is scored on them at the end."""
    seed: int | None = Field(default=None, ge=0)
    """Of this stage; the recipe's where none is given."""

    @model_validator(mode="after")
    def _one_limit(self) -> Search:
        if (self.latency_ms is None) == (self.speedup is None):
            raise ValueError(
                "give either latency_ms (a number of milliseconds) or speedup (over the largest)"
            )
        return self


class Compress(Section):
    """What is done to the networks that were found."""

    networks: int = Field(default=2, ge=1)
    """How many of the front are fine-tuned and compressed."""
    finetune_epochs: int = Field(default=10, ge=0)
    """0 keeps the inherited weights."""
    retrain_epochs: int | None = Field(default=None, ge=0)
    """Of the same network from scratch; the supernet's own where none is given, 0 leaves it out."""
    learning_rate: float = Field(default=1e-3, gt=0)
    teacher_weight: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)
    prune_ratio: float = Field(default=0.25, ge=0, lt=1)
    """Share of channels that pruning tries to remove; 0 leaves it out."""
    channel_step: int = Field(default=16, ge=1)
    """Pruned channel counts are multiples of this."""
    quantize: bool = True
    calibration_images: int = Field(default=256, ge=1)
    """Training images for the ranges of activations."""
    tolerance: float = Field(default=0.01, ge=0, lt=1)
    """How much accuracy compression may cost as a whole, as a fraction."""
    seed: int | None = Field(default=None, ge=0)
    """Of this stage; the recipe's where none is given."""


class Audit(Section):
    """How far the supernet's ranking can be trusted: ``quarry audit``, no part of ``quarry run``."""

    networks: int = Field(default=20, ge=4)
    """Trained alone, spread over the sizes of the space."""
    epochs: int | None = Field(default=None, ge=1)
    """Of a network alone; the supernet's own where none is given."""
    finetune_epochs: int = Field(default=2, ge=0)
    """Of the same networks from what they inherit; 0 leaves it out."""
    workers: int = Field(default=2, ge=1)
    """Ray workers that train networks, one CPU each; 1, or a GPU, trains one after the other without Ray."""
    seed: int | None = Field(default=None, ge=0)
    """Of this stage; the recipe's where none is given."""


class Recipe(Section):
    """What a run does, from data to verified files."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(default=0, ge=0)
    data: Data
    space: Space
    train: Train
    profile: Profile = Profile()
    search: Search
    compress: Compress = Compress()
    audit: Audit = Audit()

    @model_validator(mode="after")
    def _no_searcher_twice(self) -> Recipe:
        if len(set(self.search.searchers)) != len(self.search.searchers):
            raise ValueError(f"search.searchers names one twice: {', '.join(self.search.searchers)}")
        return self


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), seed: int | None = None) -> Recipe:
    """Reads a recipe by name or path, applies ``key=value`` overrides, and validates the whole.

    Args:
        name_or_path: one of ``recipe_names()``, or the path of a TOML file.
        overrides: ``section.key=value``, the value as TOML or plain text.
        seed: replaces the recipe's.

    Raises:
        ValueError: everything that is wrong, each with its key and what would be right.
        FileNotFoundError: there is no such file.
    """
    values = _read(name_or_path)
    for override in overrides:
        _override(values, override)
    if seed is not None:
        values["seed"] = seed
    return _named(validate(values, f"recipe {name_or_path}"), f"recipe {name_or_path}")


def validate(values: dict[str, Any], what: str) -> Recipe:
    """The recipe these values make.

    Raises:
        ValueError: everything that is wrong with them, one line each.
    """
    try:
        return _anchored(Recipe.model_validate(values))
    except ValidationError as error:
        problems = [f"  {_describe(problem)}" for problem in error.errors()]
        raise ValueError("\n".join([f"{what} is not valid:", *problems])) from None


def _anchored(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute: a run goes on from any folder."""
    source, module = Path(recipe.data.source).expanduser(), recipe.space.module
    if source.exists() and recipe.data.source != "digits":
        recipe = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"source": str(source.resolve())})}
        )
    if ":" in module:
        file, _, function = module.rpartition(":")
        anchored = f"{Path(file).expanduser().resolve()}:{function}"
        recipe = recipe.model_copy(update={"space": recipe.space.model_copy(update={"module": anchored})})
    if recipe.profile.hardware.endswith(".toml"):
        hardware = str(Path(recipe.profile.hardware).expanduser().resolve())
        recipe = recipe.model_copy(
            update={"profile": recipe.profile.model_copy(update={"hardware": hardware})}
        )
    return recipe


def revise(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` overrides applied.

    Raises:
        ValueError: as ``load_recipe``.
    """
    values = recipe.model_dump(mode="json")
    for override in overrides:
        _override(values, override)
    what = f"recipe {recipe.name} with these changes"
    return _named(validate(values, what), what)


def _named(recipe: Recipe, what: str) -> Recipe:
    """The recipe, if everything it names is there."""
    problems = unknown_hardware(recipe.profile.hardware)
    problems += short_budgets(recipe.search.searchers, recipe.search.budget)
    if recipe.space.module:
        problems += missing_module(recipe.space.module)
    else:  # a user's module may register mixers and searchers of its own
        problems += unknown_names(
            preset=recipe.space.preset,
            mixers=recipe.space.mixers,
            activation=recipe.space.activation,
            searchers=recipe.search.searchers,
            rule=recipe.train.rule,
        )
    if problems:
        raise ValueError("\n".join([f"{what} is not valid:", *(f"  {problem}" for problem in problems)]))
    return recipe


# Keys of which a recipe gives one: setting it takes the place of the other.
_EITHER = {"search.latency_ms": "speedup", "search.speedup": "latency_ms"}


def _folder() -> Any:
    return resources.files("runners.recipe")


def _read(name_or_path: str) -> dict[str, Any]:
    path = Path(name_or_path).expanduser()
    if name_or_path in recipe_names():  # whatever else is called so in this folder
        content = (_folder() / f"{name_or_path}.toml").read_bytes()
    elif path.is_file():
        content = path.read_bytes()
    elif path.suffix == ".toml":
        raise FileNotFoundError(f"no recipe at {path}. Recipes by name: {', '.join(recipe_names())}")
    else:
        raise ValueError(unknown("recipe", name_or_path, recipe_names()) + " A path ends in .toml.")
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name_or_path} is not valid TOML: {error}") from None


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {override!r}: write it as key=value, for instance search.latency_ms=0.5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word, a path
    excluded = _EITHER.get(key.strip())
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set {override!r}: {section!r} is a value, not a section")
    values[last] = value
    if excluded:
        values.pop(excluded, None)


def _describe(problem: Any) -> str:
    """One problem in words: the key, what it is, what would be right."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        return f"{key}: {unknown('key', path[-1], _keys(path[:-1]))}"
    if problem["type"] == "missing":
        return f"{key}: this is needed and has no default"
    if not path:
        return str(problem["msg"]).removeprefix("Value error, ")
    given = json.dumps(problem["input"], default=str)
    if problem["type"] == "model_type":
        return f"{key} = {given}: this is a section; set its keys, {', '.join(_keys(path))}"
    if problem["type"] == "tuple_type":
        return f'{key} = {given}: this is a list; write it as ["first", "second"]'
    if len(path) == 1 and isinstance(problem["input"], dict):  # of a section as a whole
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{key} = {given}: {problem['msg'].removeprefix('Value error, ')}"


def _keys(path: list[str]) -> list[str]:
    model: Any = Recipe
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
