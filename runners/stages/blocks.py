"""Ranking block by block: a teacher is trained, everything else learns its blocks, an exact program chooses.

"Block-wisely Supervised Neural Architecture Search with Knowledge Distillation" (DNA, Li et al., CVPR 2020),
"LANA: Latency Aware Network Acceleration" (Molchanov et al., ECCV 2022). What is chosen is trained alone like
the networks of a race.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.blockwise import Lesson, Teacher, errors, learn, lessons_of, loss_terms
from nas.costs.model.reach import latency_terms
from nas.search.exact import Bound, Solution, solve
from nas.supernet import Supernet
from nas.supernet.calibration import recalibrate
from results.files import append_line, read_json, read_lines, write_json
from results.numbers import count as in_units
from results.records import BlockErrors, BlocksPlan, Scouted
from runners.console import Console
from runners.data.prepared import RunData
from runners.pools.known import key_of
from runners.recipe.schema import Recipe
from runners.scoring.networks import own_calibration
from runners.scoring.score import score
from runners.stages.candidates import Candidates
from runners.stages.clock import BLOCKS, TEACHER, Clock
from runners.stages.scout import Scouting, known, measure_networks, meeting
from runners.stages.train import train_settings, training_data
from runners.training.batches import TrainingData, batches, batches_per_epoch
from runners.training.pace import seconds_per_epoch
from runners.training.standalone import train_alone
from runners.training.watch import Watch
from search_spaces.reference.extremes import Term
from search_spaces.space import Arch, Rows, SearchSpace

PLAN, ERRORS, TEACHER_FILE = "blocks.json", "blocks.jsonl", "teacher.safetensors"
_JUDGED = 1024  # validation images that errors are of
_PACED = 3  # steps that the pace of learning is taken from
_LEAST_STEPS = 20
_MORE = 2  # networks that are asked for beyond those wanted: predictions are not measurements
_GAP = 0.02  # of an error, where the very least takes too long to find
_ROUNDS = 3  # of choosing under a bound that is tightened, where what is chosen measures over the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRanking:
    """What ranking block by block works with.

    Attributes:
        space: space of the networks, of slots.
        teacher: gives the arch of the network whose blocks are learned from.
        data: what is trained on; errors are of its validation images.
        costs: what is known of archs without training them.
        limit_ms: limit on the latency.
        scouting: what networks are measured with.
        recipe: recipe of the run.
        device: device to train on.
        clock: time of the run; None where the recipe says how long is trained.
        folder: folder ``search/`` of the run.
        console: console of the run.
    """

    space: SearchSpace
    teacher: Callable[[], Arch]
    data: RunData
    costs: Candidates
    limit_ms: float
    scouting: Scouting
    recipe: Recipe
    device: torch.device
    clock: Clock | None
    folder: Path
    console: Console

    @property
    def seed(self) -> int:
        """Seed of the trainings."""
        return self.recipe.seed_or(self.recipe.search.seed)

    @property
    def training_data(self) -> TrainingData:
        """What the teacher is trained on; alternatives see its images."""
        return training_data(self.data, self.recipe.train, self.device)


def check_blocks(space: SearchSpace) -> None:
    """Whether networks of a space can be ranked block by block: known before anything is trained.

    Raises:
        ValueError: they cannot; says why.
    """
    try:
        found = lessons_of(space, space.largest())
    except ValueError as error:
        raise ValueError(f'search.ranking = "blockwise": {error}. Rank "alone" instead') from None
    if all(len(one.fitting) < 2 for one in found):
        raise ValueError(
            f'search.ranking = "blockwise": in space {space.name!r} nothing but the largest network\'s own '
            'blocks fits between them, so there is nothing to choose. Rank "alone" instead'
        )


def ranked_by_blocks(work: BlockRanking) -> list[Scouted]:
    """Networks that meet the limit as measured, those with the least error of their blocks first.

    Writes ``blocks.json``, ``teacher.safetensors`` and, as places are learned, ``blocks.jsonl``; goes on from
    these.

    Raises:
        ValueError: nothing with the teacher's widths is under the limit.
        DivergedError: the teacher's training went wrong.
    """
    plan = _planned(work)
    teacher = _teacher(work, plan)
    found = _learned(work, teacher, plan)
    return _chosen(work, loss_terms(teacher, found))


def _planned(work: BlockRanking) -> BlocksPlan:
    """The plan that was begun with, or one for the time that is left."""
    file, own = work.folder / PLAN, work.recipe.blockwise
    if file.exists():
        return BlocksPlan.from_json(read_json(file))
    arch, clock = work.teacher(), work.clock
    each = batches_per_epoch(len(work.data.splits.train), work.recipe.train.batch_size)
    epochs, steps = own.epochs, own.block_epochs * each
    if clock is not None:
        training_s = clock.training_s
        network = Supernet(work.space.only(arch), seed=work.seed, device=work.device)
        pace = seconds_per_epoch(network, work.training_data, train_settings(work.recipe.train))
        epochs = max(1, math.floor(TEACHER * training_s / pace))
        steps = max(_LEAST_STEPS, math.floor(BLOCKS * training_s / _seconds_per_step(work, arch)))
    plan = BlocksPlan(teacher=dict(arch), epochs=epochs, steps=steps)
    write_json(file, plan.to_json())
    return plan


def _seconds_per_step(work: BlockRanking, arch: Arch) -> float:
    """Seconds of an optimizer step of all alternatives, from a few with a teacher that knows nothing."""
    teacher = Teacher(space=work.space, arch=arch, network=work.space.build(arch).to(work.device))
    took = 0.0
    for lesson in _to_learn(teacher):
        began = time.monotonic()
        learn(teacher, _images(work, _PACED), steps=_PACED, seed=work.seed, only=[lesson.name])
        took += time.monotonic() - began
    return took / _PACED


def _to_learn(teacher: Teacher) -> list[Lesson]:
    """The lessons in which there is something to judge."""
    return [one for one in teacher.lessons if len(one.fitting) > 1]


def _teacher(work: BlockRanking, plan: BlocksPlan) -> Teacher:
    """The trained teacher."""
    file, arch = work.folder / TEACHER_FILE, plan.teacher
    if not file.exists():
        row = work.space.to_row(arch)[None]
        macs, ms = (float(work.costs(row)[name][0]) for name in ("macs", "latency_ms"))
        epochs = f"{plan.epochs} epoch{'s' if plan.epochs > 1 else ''}"
        work.console.say(
            f"training the teacher, {in_units(macs)} MACs, {ms / work.limit_ms:.1f} times the limit, {epochs}"
        )
        settings = train_settings(work.recipe.train.model_copy(update={"epochs": plan.epochs}))
        checkpoint = work.folder / "under_way.safetensors"
        with work.console.progress("training the teacher") as bar:
            trained = train_alone(
                work.space,
                arch,
                work.training_data,
                settings,
                seed=work.seed,
                checkpoint=checkpoint,
                watch=Watch(step=bar.update),
            )
        trained.save(file)
        checkpoint.unlink(missing_ok=True)
    only = work.space.only(arch)
    network = recalibrate(Supernet.load(file, only).extract(arch), own_calibration(work.data))
    teacher = Teacher(space=work.space, arch=arch, network=network.to(work.device))
    val = work.data.splits.val
    teacher.check_chain(work.data.example.to(work.device))
    accuracy = score(teacher.network, work.data.images(val).to(work.device), val.labels, work.data.task)
    work.console.say(f"the teacher: {accuracy:.1%} on validation")
    return teacher


def _learned(work: BlockRanking, teacher: Teacher, plan: BlocksPlan) -> dict[str, NDArray[np.float64]]:
    """The errors of everything that fits, place by place; places that are done are read."""
    done = {one.place: one for one in map(BlockErrors.from_json, read_lines(work.folder / ERRORS))}
    lessons = _to_learn(teacher)
    waiting = [one for one in lessons if one.name not in done]
    if waiting:
        work.console.say(
            f"{sum(len(one.fitting) - 1 for one in lessons)} alternatives in {len(lessons)} places learn the "
            f"teacher's blocks, {plan.steps} steps each"
        )
    judged = [one.to(work.device) for one in _validation(work)]
    with work.console.progress("learning blocks") as bar:
        for lesson in waiting:
            began, only = time.monotonic(), [lesson.name]
            images = _images(work, plan.steps)
            students = learn(teacher, images, steps=plan.steps, seed=work.seed, only=only)
            found = errors(teacher, students, judged, only=only)[lesson.name]
            told = tuple(float(one) if math.isfinite(one) else None for one in found)
            seconds = round(time.monotonic() - began, 1)
            done[lesson.name] = BlockErrors(place=lesson.name, errors=told, seconds=seconds)
            append_line(work.folder / ERRORS, done[lesson.name].to_json())
            bar.update(len(done), len(lessons))
    return {
        one.name: _numbers(done[one.name].errors) if one.name in done else _fixed(one)
        for one in teacher.lessons
    }


def _numbers(told: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.inf if one is None else one for one in told])


def _fixed(lesson: Lesson) -> NDArray[np.float64]:
    """Errors of a place at which nothing but the teacher's own fits."""
    return np.where(np.arange(len(lesson.span.alternatives)) == lesson.teacher, 0.0, np.inf)


def _images(work: BlockRanking, steps: int) -> Iterator[Tensor]:
    """Augmented training images, a batch a step."""
    size, data = work.recipe.train.batch_size, work.training_data
    each = batches_per_epoch(len(data.images), size)
    for epoch in range(-(-steps // each)):
        yield from (images for images, _ in batches(data, batch_size=size, seed=work.seed, epoch=epoch))


def _validation(work: BlockRanking) -> list[Tensor]:
    """Validation images in batches."""
    images = work.data.images(work.data.splits.val, _JUDGED)
    return list(images.split(work.recipe.train.batch_size))


def _chosen(work: BlockRanking, losses: Sequence[Term]) -> list[Scouted]:
    """The archs of least error that measure under the limit, best first.

    Raises:
        ValueError: none does.
    """
    wanted, bound_ms, order = work.recipe.blockwise.networks, work.limit_ms, dict[str, float]()
    for _ in range(_ROUNDS):
        solutions = _solved(work, losses, bound_ms, wanted + _MORE)
        order |= {key_of(work.space.to_arch(one.row)): one.loss for one in solutions}
        there = {key_of(one.arch) for one in known(work.scouting)}
        rows = [one.row for one in solutions if key_of(work.space.to_arch(one.row)) not in there]
        if rows:
            measure_networks(work.scouting, np.stack(rows))
        measured = [one for one in known(work.scouting) if key_of(one.arch) in order]
        met = sorted(meeting(measured, work.limit_ms), key=lambda one: order[key_of(one.arch)])
        if met:
            told = f"{len(met)} networks of least error measure under {work.limit_ms:.4g} ms"
            work.console.say(f"{told}; error of their blocks {order[key_of(met[0].arch)]:.3g} and more")
            return met[:wanted]
        fastest = min((one.latency_ms for one in measured if one.latency_ms is not None), default=math.inf)
        if not math.isfinite(fastest):
            raise ValueError(f"no network that was chosen block by block runs there: {measured[0].reason}")
        bound_ms *= min(0.95, work.limit_ms / fastest)
    raise ValueError(
        f"no network with the teacher's widths measures under {work.limit_ms:.4g} ms: the fastest that was "
        f'chosen takes {fastest:.4g} ms. Raise search.latency_ms, or rank "alone"'
    )


def _solved(work: BlockRanking, losses: Sequence[Term], bound_ms: float, n: int) -> list[Solution]:
    """The n archs of least error whose upper bound is under a latency in some form, best first."""
    found: dict[bytes, Solution] = {}
    problems = []
    for model in work.costs.models.values():
        terms, offset_ms = latency_terms(work.space, model)
        share = model.upper_share / model.lower_share  # of the lower end of the interval, which terms are of
        limit = {"latency_ms": Bound(terms=terms, limit=bound_ms / share - offset_ms)}
        try:
            solutions = _exactly(work, losses, limit, n)
        except ValueError as error:
            problems.append(str(error))
            continue
        found |= {one.row.tobytes(): one for one in solutions}
    if not found:
        raise ValueError(f'{problems[0]}. Raise search.latency_ms, or rank "alone"')
    rows: Rows = np.stack([one.row for one in found.values()])
    upper_ms = work.costs(rows)["latency_ms_upper"]
    good = [one for one, ms in zip(found.values(), upper_ms, strict=True) if ms <= bound_ms]
    return sorted(good or found.values(), key=lambda one: one.loss)[:n]


def _exactly(
    work: BlockRanking, losses: Sequence[Term], limit: Mapping[str, Bound], n: int
) -> list[Solution]:
    """The n archs of least error; to a few per cent, and said so, where that takes too long to prove."""
    try:
        return solve(work.space, losses, limit, k=n)
    except TimeoutError:
        work.console.warn(f"the archs of least error are within {_GAP:.0%} of it; more would take too long")
        return solve(work.space, losses, limit, k=n, gap=_GAP)
