"""What the stages of a run are handed: each thing made when first asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch

from compress.target import Target
from nas.costs.model.fit import MeasurePlan
from nas.costs.model.latency import LatencyModel
from nas.supernet import Supernet
from results.records import CardProvenance, Provenance, Scouted, SearchSummary, read_record
from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.recipe.schema import Recipe, for_networks_trained_alone
from runners.run.directory import RunDirectory
from runners.run.narrowing import fixed_space, trained_space
from runners.run.spaces import make_space, measure_plan, rules_out
from runners.run.teaching import teacher_arch
from runners.scoring.networks import Inherited, Networks, Own
from runners.stages.audit import Auditing
from runners.stages.blocks import BlockRanking, ranked_by_blocks
from runners.stages.candidates import Candidates, latency_limit
from runners.stages.clock import Clock
from runners.stages.export import Exporting
from runners.stages.finalists import trained
from runners.stages.first_look import FirstLook
from runners.stages.measure import (
    fitted,
    forms_of,
    imported_table,
    mixed_form,
    watts_of,
)
from runners.stages.race import MOST_RACED, PLAN
from runners.stages.racing import RACE, Racing
from runners.stages.scout import (
    Scouting,
    known,
    scout_limit,
    scout_sizes,
    scouted,
    scouted_limit,
    using_limit,
)
from runners.stages.search import Searching, candidates_of
from runners.stages.train import SUPERNET
from runners.stages.trainings import Compressing
from runners.targets.hardware import HardwareProfile
from runners.targets.imported import ImportedTarget
from runners.targets.profile import load_profile
from runners.targets.ray_nodes import RayTarget
from runners.targets.target import open_target
from runners.tasks import open_task, scoring_problem
from runners.training.crowd import training_device
from search_spaces.space import SearchSpace


class Wiring:
    """The things that stages are made of, each made when first asked for.

    Args:
        run: an opened run; its recipe may be replaced by a revised one before anything is asked for.
        console: console that the stages speak on.
    """

    def __init__(self, run: RunDirectory, console: Console) -> None:
        self.run, self.console, self.path = run, console, run.path
        self._began = time.monotonic()

    @cached_property
    def data(self) -> RunData:
        """The data, checked."""
        recipe = self.run.recipe
        self.console.say(f"reading {recipe.data.source}")
        task = open_task(recipe.task.kind, recipe.task.settings)
        decoded = self.path / "decoded.safetensors"
        splits = load_data(recipe.data, recipe.seed, decoded, answer=task.answer.kind)
        self.console.say(splits.sentence)
        prepare = Prepare(
            preprocessing=splits.preprocessing, crop_padding=recipe.data.crop_padding, flip=recipe.data.flip
        )
        task = task.fitted(splits.train.labels, splits.classes)
        for name, split in (("validation", splits.val), ("test", splits.test)):
            if problem := scoring_problem(task, split.labels, len(splits.classes)):
                raise ValueError(f"the {name} images of {recipe.data.source} have no score: {problem}")
        return RunData(
            splits=splits,
            prepare=prepare,
            calibration_images=recipe.search.calibration_images,
            task=task,
            balance=recipe.data.balance,
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Mixers of the preset that the space does without: those of the profile that it was trained for."""
        fixed = fixed_space(self.path)
        return rules_out(self.run.recipe.space, self.profile) if fixed is None else fixed.left_out

    @cached_property
    def given(self) -> SearchSpace:
        """The search space for the data as the recipe names it, less what the profile cannot run."""
        return self.space_without(self.left_out)

    @cached_property
    def space(self) -> SearchSpace:
        """The part of it that is trained and searched; first asked for when that is written down."""
        fixed = fixed_space(self.path)
        return self.given if fixed is None else trained_space(self.given, fixed)

    @property
    def models(self) -> dict[str, LatencyModel]:
        """The latency model of each form that a network can be handed over in, from the tables."""
        return self.models_of(self.given)

    def models_of(self, given: SearchSpace) -> dict[str, LatencyModel]:
        """The same for a space that was measured."""
        found = fitted(given, self.plan, self.path / "measure", self.forms)
        return {form: one.model for form, one in found.items()}

    def limit_ms(self, models: Mapping[str, LatencyModel], given: SearchSpace) -> float:
        """The limit on the latency; a speed-up is over the largest network of the space as given."""
        first = next(iter(models.values()))
        return latency_limit(given, first, self.run.recipe.search, self.device_ms)

    @property
    def device_ms(self) -> float:
        """The most ms that a call may take on the device itself, for its own limits on time and energy."""
        return self.profile.limits.most_ms(watts_of(self.path / "measure", self.profile))

    def space_without(self, without: tuple[str, ...]) -> SearchSpace:
        """The space as the recipe names it, without some of the preset's parts, by name."""
        outputs, shape = self.data.outputs, self.data.input_shape
        return make_space(self.run.recipe.space, classes=outputs, input_shape=shape, without=without)

    @cached_property
    def device(self) -> torch.device:
        """The device that networks are trained on."""
        return training_device(self.run.recipe.train.device)

    @cached_property
    def profile(self) -> HardwareProfile:
        """The hardware profile."""
        return load_profile(self.run.recipe.measure.profile)

    @cached_property
    def target(self) -> Target:
        """What files are made for: here, on the nodes of a Ray cluster that offer it, or out of reach."""
        imported = imported_table(self.path / "measure")
        if imported is not None:
            return ImportedTarget(self.profile, imported)
        address = self.run.recipe.measure.ray_address
        return RayTarget(self.profile, address) if address else open_target(self.profile)

    @property
    def forms(self) -> tuple[str, ...]:
        """The number formats that networks may be handed over in."""
        if self.run.recipe.space.precisions:
            return (mixed_form(self.target.facts),)
        steps = [step.kind for step in self.run.recipe.compress.steps]
        return forms_of(self.target.facts, steps)

    @property
    def plan(self) -> MeasurePlan:
        """How much of the target is measured."""
        return measure_plan(self.run.recipe)

    @cached_property
    def supernet(self) -> Supernet:
        """The trained supernet, on the CPU."""
        return Supernet.load(self.path / "train" / SUPERNET, self.space)

    @cached_property
    def clock(self) -> Clock | None:
        """The time that is left of the run's minutes; None where it was given none."""
        return Clock.of(self.run.recipe.minutes, self.run.finished, began=self._began)

    @property
    def alone(self) -> bool:
        """Whether networks near the limit are measured and raced: the recipe says so, or shared weights
        failed its gate."""
        return self.ranking == "alone"

    @property
    def ranking(self) -> str:
        """The way that networks are ranked: the recipe's, or ``alone`` where shared weights failed a gate."""
        given = self.run.recipe.search.ranking
        return "alone" if given == "shared" and (self.path / "search" / RACE).exists() else given

    @property
    def networks(self) -> Networks:
        """The networks with their weights, wherever these come from."""
        if self.ranking != "shared":
            space, path = self.space, self.path
            return Own(space=space, load=lambda arch: trained(space, arch, path), data=self.data)
        return Inherited(supernet=self.supernet, data=self.data)

    @property
    def scouting(self) -> Scouting:
        """What networks near the limit are looked for with, in the time that the run has for it."""
        if self.clock is None:
            return self.untimed_scouting
        return replace(self.untimed_scouting, networks=MOST_RACED, seconds=self.clock.measuring_s)

    @property
    def untimed_scouting(self) -> Scouting:
        """The same without a clock, which starts when it is first asked for."""
        recipe = self.run.recipe
        return Scouting(
            space=self.space,
            target=self.target,
            precisions=self.forms,
            limits=self.profile.limits,
            networks=recipe.race.networks,
            seconds=math.inf,
            seed=recipe.seed_or(recipe.measure.seed),
            folder=self.path / "measure",
            console=self.console,
        )

    @property
    def scouted_limit_ms(self) -> float:
        """The limit on the latency of networks that are measured one by one."""
        found = [one for one in scouted(self.path / "measure") if one.precision in self.forms]
        return scouted_limit(self.run.recipe.search, self.device_ms, self.space, found)

    @property
    def racing(self) -> Racing:
        """What a race works with; networks near the limit are measured for it."""
        scouting = self.scouting
        scout_sizes(scouting)
        limit_ms = self.scouted_limit_ms
        begun = (self.path / "search" / PLAN).exists()  # with the networks that were known then
        found = using_limit(known(scouting), limit_ms) if begun else scout_limit(scouting, limit_ms)
        return self._racing(found, limit_ms, self.run.recipe)

    def _racing(self, candidates: Sequence[Scouted], limit_ms: float, recipe: Recipe) -> Racing:
        return Racing(
            space=self.space,
            data=self.data,
            target=self.target,
            candidates=candidates,
            limit_ms=limit_ms,
            recipe=recipe,
            device=self.device,
            clock=self.clock,
            run=self.path,
            console=self.console,
        )

    def first_look(self, space: SearchSpace) -> FirstLook:
        """What a first look at a space works with."""
        return FirstLook(
            space=space,
            data=self.data,
            target=self.target,
            forms=self.forms,
            recipe=self.run.recipe,
            shared=not self.alone,
            device=self.device,
            console=self.console,
        )

    @property
    def blockwise(self) -> BlockRanking:
        """What ranking block by block works with."""
        recipe, models = self.run.recipe, self.models
        limit_ms = self.limit_ms(models, self.given)
        return BlockRanking(
            space=self.space,
            teacher=lambda: teacher_arch(self.space, list(models.values()), limit_ms),
            data=self.data,
            costs=self.costs(models),
            limit_ms=limit_ms,
            scouting=self.untimed_scouting,
            recipe=recipe,
            device=self.device,
            clock=self.clock,
            folder=self.path / "search",
            console=self.console,
        )

    @property
    def blockwise_racing(self) -> Racing:
        """A race from its second round on, of the networks that are best block by block."""
        work = self.blockwise
        own, race = work.recipe.blockwise, work.recipe.race
        later = race.model_copy(update={"networks": own.networks, "epochs": race.keep * race.epochs})
        recipe = work.recipe.model_copy(update={"race": later})
        return self._racing(ranked_by_blocks(work), work.limit_ms, recipe)

    @property
    def summary(self) -> SearchSummary:
        """What the search wrote."""
        return read_record(SearchSummary, self.path / "search" / "front.json")

    @property
    def origin(self) -> CardProvenance:
        """Recipe and provenance of the run, for its cards."""
        recorded = read_record(Provenance, self.path / "provenance.json")
        return CardProvenance.of(recorded, self.run.recipe.model_dump(mode="json"))

    def costs(self, models: Mapping[str, LatencyModel]) -> Candidates:
        """What is known of the archs of the space without scoring them."""
        watts = watts_of(self.path / "measure", self.profile)
        return candidates_of(self.space, self.given, models, self.profile, watts)

    @property
    def searching(self) -> Searching:
        """What a search works with; its predictions follow from the table alone."""
        recipe, models = self.run.recipe, self.models
        return Searching(
            name=recipe.name,
            supernet=self.supernet,
            data=self.data,
            target=self.target,
            limits=self.profile.limits,
            costs=self.costs(models),
            limit_ms=self.limit_ms(models, self.given),
            recipe=recipe.search,
            seed=recipe.seed_or(recipe.search.seed),
            split_seed=recipe.seed,
            run=self.path,
            console=self.console,
        )

    @property
    def compressing(self) -> Compressing:
        """What compression works with."""
        return Compressing(
            networks=self.networks,
            data=self.data,
            target=self.target,
            recipe=self.run.recipe
            if self.ranking == "shared"
            else for_networks_trained_alone(self.run.recipe),
            device=self.device,
            folder=self.path / "compress",
            console=self.console,
            clock=self.clock,
        )

    @property
    def exporting(self) -> Exporting:
        """What the export works with."""
        return Exporting(
            networks=self.networks,
            data=self.data,
            target=self.target,
            profile=self.profile,
            summary=self.summary,
            run=self.path,
            origin=self.origin,
            console=self.console,
        )

    @property
    def auditing(self) -> Auditing:
        """What an audit works with."""
        return Auditing(
            space=self.space,
            data=self.data,
            recipe=self.run.recipe,
            device=self.device,
            run=self.path,
            console=self.console,
        )
