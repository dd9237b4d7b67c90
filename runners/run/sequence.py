"""Which stages run, in order, on an opened run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from runners.cli.console import Console
from runners.pools.ray_session import reach
from runners.recipe.check import load_parts
from runners.recipe.load import load_recipe, revise
from runners.recipe.schema import Recipe
from runners.run.directory import STAGES, RunDirectory, section_of

if TYPE_CHECKING:  # it brings PyTorch, for which a wrong argument should not wait
    from runners.run.job import Job

_TITLES = {
    "train": "Training the supernet",
    "profile": "Measuring the device",
    "search": "Searching",
    "compress": "Compressing",
    "export": "Exporting and verifying",
    "report": "Writing the report",
    "audit": "Auditing the supernet",
}


def start(
    recipe_name: str, out: Path | None, overrides: Sequence[str], seed: int | None, *, last: str = "report"
) -> None:
    """Starts a run, or goes on with it, up to and including a stage."""
    recipe = load_recipe(recipe_name, overrides, seed)
    if last == "report":
        _check_whole(recipe)
    with _locked(out or Path("runs") / recipe.name, recipe) as (run, console):
        if "search" not in run.finished and last == "report":
            reach(recipe.search.ray_address)
        if "train" not in run.finished:
            reach(recipe.train.ray_address)
        job = _job(run, console)
        if last == "report" and "profile" not in run.finished:
            from runners.run.job import check_size

            check_size(job.space, job.profile_plan)
        for name in STAGES[: STAGES.index(last) + 1]:
            if name in run.finished:
                job.console.say(f"{_TITLES[name]}: done before ({run.finished[name]:.0f} s)")
            else:
                _do(job, name)
        if last == "report":
            _summary(job)


def stage(name: str, out: Path, overrides: Sequence[str], seed: int | None = None) -> None:
    """Does one stage of a run again, or for the first time; what it made before is put aside."""
    with _locked(out, None) as (run, console):
        if seed is not None:  # the run's own seed belongs to its training
            overrides = [*overrides, f"seed={seed}" if name == "train" else f"{section_of(name)}.seed={seed}"]
        recipe = revise(run.recipe, overrides)
        if name in ("train", "search"):
            reach(getattr(recipe, name).ray_address)
        run.require(name)
        job = _job(run, console)
        place = run.revise(recipe, name, check=lambda: _check(job, name))
        if name in run.finished:
            place = run.put_aside(name)
        _kept(job, place)
        _do(job, name)


def audit(out: Path, overrides: Sequence[str], seed: int | None = None) -> None:
    """Audits the supernet of a run, going on with networks that are done; other trainings begin anew."""
    if seed is not None:
        overrides = [*overrides, f"audit.seed={seed}"]
    with _locked(out, None) as (run, console):
        recipe = revise(run.recipe, overrides)
        run.require("audit")
        job = _job(run, console)
        _kept(job, run.revise(recipe, "audit", check=lambda: _check(job, "audit")))
        _do(job, "audit")


def write_kit(out: Path, folder: Path, overrides: Sequence[str] = (), seed: int | None = None) -> None:
    """Writes what a device without PyTorch needs to measure the space of a run.

    Args:
        out: the run, whose own settings stay as they are.
        folder: of the kit.
        overrides: settings of ``[measure]``, for this kit.
        seed: of the draw of its networks.

    Raises:
        ValueError: a setting of something else than ``[measure]``.
    """
    from runners.measuring.commands import make_kit
    from runners.run.job import profile_plan

    others = [entry for entry in overrides if not entry.startswith("measure.")]
    if others:
        raise ValueError(f"a kit takes settings of [measure] alone, which {', '.join(others)} is not")
    with opened(out, None) as job:
        recipe = revise(job.recipe, [*overrides, *([] if seed is None else [f"measure.seed={seed}"])])
        make_kit(
            job.space,
            folder,
            profile=recipe.measure.profile,
            plan=profile_plan(recipe),
            say=job.console.say,
        )


def write_report_of(out: Path) -> None:
    """Writes the report of a run, whatever it has so far."""
    with opened(out, None) as job:
        _do(job, "report")


@contextmanager
def opened(path: Path, recipe: Recipe | None) -> Iterator[Job]:
    """A run at work, locked until the end; what stops it is in its log too.

    Raises:
        ValueError: as ``RunDirectory``.
    """
    with _locked(path, recipe) as (run, console):
        yield _job(run, console)


@contextmanager
def _locked(path: Path, recipe: Recipe | None) -> Iterator[tuple[RunDirectory, Console]]:
    """The same before PyTorch is loaded: the run and where it speaks."""
    run = RunDirectory(path, recipe, shlex.join(["quarry", *sys.argv[1:]]))
    console = Console(path / "log.txt")
    try:
        yield run, console
    except Exception as error:
        with suppress(OSError):  # the disk may be what is full
            console.record(f"error: {error}")
        raise
    finally:
        run.close()


def _job(run: RunDirectory, console: Console) -> Job:
    """An opened run at work, the code that its recipe names loaded.

    Raises:
        ValueError: some of it cannot be loaded.
    """
    if problems := load_parts(run.recipe):
        raise ValueError("\n".join(problems))
    from runners.run.job import Job

    return Job(run, console)


def _check_whole(recipe: Recipe) -> None:
    from runners.run.job import check_whole
    from runners.targets.profile import load_profile

    check_whole(load_profile(recipe.measure.profile))


def _check(job: Job, name: str) -> None:
    """What is known to be impossible before a stage begins; nothing is put aside for it."""
    if name in ("train", "search", "audit"):
        getattr(import_module(f"runners.stages.{name}"), f"check_{name}")(job)


def _kept(job: Job, place: Path | None) -> None:
    if place is not None:
        job.console.say(f"what was made before is kept in {place}")


def _do(job: Job, name: str) -> None:
    job.console.stage(_TITLES[name])
    # Imported when it runs: a stage should not wait for what only the others need.
    module = {"profile": "measure"}.get(name, name)
    work: Callable[[Job], None] = getattr(import_module(f"runners.stages.{module}"), f"run_{name}")
    with job.run.stage(name):
        work(job)


def _summary(job: Job) -> None:
    from runners.stages.summary import print_summary

    print_summary(job)
