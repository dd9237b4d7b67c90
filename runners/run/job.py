"""What the stages of one run share: its data, space, device and supernet, each made when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from nas.costs.model.fit import Profiled, ProfilePlan
from nas.costs.table.table import LatencyTable, load_table
from nas.supernet.supernet import Supernet
from results.files import read_json, write_json
from results.loading import load_object
from results.records import TargetRecord
from runners.cli.console import Console
from runners.data.load import load_data
from runners.data.splits import Prepare, Split, Splits
from runners.measuring.layers import Layers, layers_of, profile_on
from runners.recipe.schema import Recipe, Space
from runners.run.directory import RunDirectory
from runners.scoring.subnets import SubnetEvaluator
from runners.targets.imported import DeviceElsewhere, fit_imported
from runners.targets.profile import HardwareProfile, load_profile
from runners.targets.ray_nodes import RayDevice
from runners.targets.target import Device, open_device
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.presets import PRESETS, preset


class Job:
    """One run at work.

    Args:
        run: its folder.
        console: where it speaks.
    """

    def __init__(self, run: RunDirectory, console: Console) -> None:
        self.run, self.console = run, console
        self._profiled: Profiled | None = None
        self._layers: Layers | None = None

    @property
    def recipe(self) -> Recipe:
        """What the run does."""
        return self.run.recipe

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.run.path

    @cached_property
    def splits(self) -> Splits:
        """The data, checked."""
        self.console.say(f"reading {self.recipe.data.source}")
        splits = load_data(self.recipe.data, self.recipe.seed, self.path / "decoded.safetensors")
        self.console.say(
            f"{len(splits.train)} training, {len(splits.val)} validation, {len(splits.test)} test images, "
            f"{len(splits.classes)} classes"
        )
        return splits

    @cached_property
    def space(self) -> SearchSpace:
        """The search space for the data."""
        return make_space(
            self.recipe.space,
            classes=len(self.splits.classes),
            input_shape=self.splits.input_shape,
            without=self.mixers_left_out,
        )

    @property
    def mixers_left_out(self) -> tuple[str, ...]:
        """Mixers of the preset that the profile cannot run.

        Fixed when training begins: a profile that is chosen later finds the space that was trained, and
        what it cannot run of that is infeasible.
        """
        if not self.supernet_path.parent.exists():  # nothing is trained yet
            return rules_out(self.recipe.space, self.profile)
        return tuple(read_json(self._left_out)) if self._left_out.exists() else ()

    @property
    def _left_out(self) -> Path:
        return self.path / "left_out.json"

    def fix_space(self) -> None:
        """Writes down which mixers the space does without, and says so; the first act of training."""
        left_out = self.mixers_left_out
        write_json(self._left_out, left_out)
        if left_out:
            self.console.say(
                f"{', '.join(left_out)} left out of the space: profile {self.profile.name} cannot run it"
            )

    @cached_property
    def device(self) -> torch.device:
        """Where training runs."""
        name = self.recipe.train.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"train.device = {name!r} cannot be used: {str(error).splitlines()[0]}"
            ) from None

    @cached_property
    def prepare(self) -> Prepare:
        """Stored images to network input, with the recipe's augmentation."""
        data = self.recipe.data
        return Prepare(
            preprocessing=self.splits.preprocessing, crop_padding=data.crop_padding, flip=data.flip
        )

    @property
    def supernet_path(self) -> Path:
        """Of the trained supernet."""
        return self.path / "train" / "supernet.safetensors"

    @cached_property
    def supernet(self) -> Supernet:
        """The trained supernet, on the CPU."""
        return Supernet.load(self.supernet_path, self.space)

    @property
    def profile(self) -> HardwareProfile:
        """The hardware profile."""
        return load_profile(self.recipe.measure.profile)

    @cached_property
    def target(self) -> Device:
        """The device that is measured: here, on the nodes of a Ray cluster that offer it, or out of reach."""
        if self.imported is not None:
            return DeviceElsewhere(self.profile, self.imported)
        address = self.recipe.measure.ray_address
        return RayDevice(self.profile, address) if address else open_device(self.profile)

    @property
    def imported_path(self) -> Path:
        """Where a table lies that was measured elsewhere."""
        return self.path / "profile" / "imported.parquet"

    @cached_property
    def imported(self) -> LatencyTable | None:
        """A table that was measured elsewhere and takes the place of measuring; None where there is none."""
        return load_table(self.imported_path) if self.imported_path.exists() else None

    @property
    def precision(self) -> str:
        """What the layers and the networks of the front are timed in: the first that the profile names."""
        return self.profile.precisions[0]

    @property
    def watts(self) -> float | None:
        """What the profiled device draws, as its profile says or a counter did; None where nobody knows."""
        device = self.path / "profile" / "device.json"
        if not device.exists():
            return self.profile.machine.watts
        return TargetRecord.from_json(read_json(device)).watts

    @property
    def profile_plan(self) -> ProfilePlan:
        """How much of the device is measured."""
        return profile_plan(self.recipe)

    def layers(self, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Layers:
        """The distinct layers of the space, found once: a space that only builds has networks run for it."""
        if self._layers is None:
            self._layers = layers_of(self.space, self.profile_plan.seed, progress)
        return self._layers

    def profiled(self, progress: Callable[[int, int, float], None]) -> Profiled:
        """Table, latency model and check, made once; measures what is not measured yet."""
        if self._profiled is None:
            self._profiled = self._profile(progress)
        return self._profiled

    def _profile(self, progress: Callable[[int, int, float], None]) -> Profiled:
        if self.imported is not None:
            return fit_imported(self.layers()[0], self.imported, self.recipe.search.confidence)
        table = self.path / "profile" / "table.parquet"
        return profile_on(
            self.target,
            self.space,
            table,
            plan=self.profile_plan,
            precision=self.precision,
            layers=self.layers(),
            measurers=self.target.measurers if isinstance(self.target, RayDevice) else (),
            progress=progress,
        )

    def images(self, split: Split, n: int | None = None) -> Tensor:
        """The first n images of a split as network input, without augmentation."""
        return self.prepare(split.images[:n], None)

    def training_images(self, n: int) -> Tensor:
        """n training images as network input, evenly spread over the split, whatever its order."""
        images = self.splits.train.images
        chosen = torch.linspace(0, len(images) - 1, min(n, len(images))).long()
        return self.prepare(images[chosen], None)

    @cached_property
    def calibration(self) -> Tensor:
        """Fixed training images for the BatchNorm statistics of scored networks."""
        return self.training_images(self.recipe.search.calibration_images)

    def evaluator(self, supernet: Supernet) -> SubnetEvaluator:
        """Scores subnets on the validation images."""
        return SubnetEvaluator(
            supernet=supernet,
            calibration=self.calibration.to(supernet.device),
            images=self.images(self.splits.val).to(supernet.device),
            labels=self.splits.val.labels.to(supernet.device),
        )


def profile_plan(recipe: Recipe) -> ProfilePlan:
    """How much of a device a recipe has measured."""
    return ProfilePlan(
        fit_networks=recipe.measure.fit_networks,
        check_networks=recipe.measure.check_networks,
        seconds_each=recipe.measure.seconds_each,
        confidence=recipe.search.confidence,
        seed=recipe.seed if recipe.measure.seed is None else recipe.measure.seed,
    )


def check_whole(profile: HardwareProfile) -> None:
    """Whether a run can go through all stages on a profile: known before it begins, not an hour into it.

    Raises:
        ValueError: the profile runs other files than those that are compressed and exported.
    """
    if profile.backend in ("torch", "executorch"):
        raise ValueError(
            f"profile {profile.name!r} times {profile.backend} programs, but a run compresses, exports and "
            "times ONNX files: choose a profile of ONNX Runtime for it, such as cpu-ort. To train, profile "
            f"and search for {profile.name!r}, begin with quarry train, then profile and search"
        )


def check_size(space: SearchSpace, plan: ProfilePlan) -> None:
    """Whether a space has the networks that profiling measures: known before it is trained, not after.

    Raises:
        ValueError: it has fewer.
    """
    needed = plan.fit_networks + plan.check_networks
    if space.size == 1:
        raise ValueError(f"space {space.name!r} holds one network: there is nothing to search")
    if space.size < needed:
        raise ValueError(
            f"space {space.name!r} holds {space.size} networks, and measure.fit_networks + "
            f"measure.check_networks are {needed}: add choices, or ask for fewer"
        )


def rules_out(recipe: Space, profile: HardwareProfile) -> tuple[str, ...]:
    """The mixers of a recipe's preset that a profile cannot run; a user's own space is taken as it is."""
    if recipe.module or recipe.preset not in PRESETS:
        return ()
    mixers = recipe.mixers or sorted({name for stage in PRESETS[recipe.preset] for name in stage.mixers})
    return tuple(name for name in mixers if name in profile.unsupported_mixers)


def make_space(
    recipe: Space, *, classes: int, input_shape: Shape, without: Collection[str] = ()
) -> SearchSpace:
    """The space a recipe names, for a data set, without these mixers where it is a preset.

    Raises:
        ValueError: an unknown preset or mixer, a stage left without any, or a user's module that gives no
            space.
        FileNotFoundError: a user's file that is not there.
    """
    if recipe.module:
        return _from_module(recipe.module)(classes=classes, input_shape=input_shape)
    return preset(
        recipe.preset,
        classes=classes,
        input_shape=input_shape,
        mixers=recipe.mixers,
        without=without,
        activation=recipe.activation,
    )


def _from_module(module: str) -> Callable[..., SearchSpace]:
    function = load_object(module)
    if not callable(function):
        raise ValueError(f"space.module: {module} is no function")

    def build(*, classes: int, input_shape: Shape) -> SearchSpace:
        try:
            space = function(classes=classes, input_shape=input_shape)
        except Exception as error:  # or while it makes the space
            raise ValueError(f"space.module: {module} fails: {type(error).__name__}: {error}") from error
        if not isinstance(space, SearchSpace):
            raise ValueError(f"space.module: {module} gave a {type(space).__name__}, not a SearchSpace")
        return space

    return build
