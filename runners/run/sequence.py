"""The stages that run, in order, on an opened run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from results.files import write_atomic
from runners.console import Console, Listener
from runners.pools.ray_session import reach
from runners.reading.check import load_parts
from runners.reading.load import load_recipe, revise
from runners.recipe.schema import Recipe
from runners.run.blame import in_words
from runners.run.directory import RunDirectory
from runners.run.stages import BY_NAME, WHOLE_RUN, without

if TYPE_CHECKING:  # it brings PyTorch, for which a wrong argument should not wait
    from runners.run.wiring import Wiring
    from search_spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who has a run work.

    Attributes:
        command: command or call, for the record.
        listener: function that is told everything in place of the terminal; None speaks on the terminal.
    """

    command: str
    listener: Listener | None = None


def start(
    recipe_name: str, out: Path | None, overrides: Sequence[str], seed: int | None, *, last: str = "report"
) -> None:
    """Starts a run, or goes on with it, up to and including a stage."""
    recipe = load_recipe(recipe_name, overrides, seed)
    run_recipe(recipe, out or Path("runs") / recipe.name, last=last)


def run_recipe(recipe: Recipe, out: Path, *, last: str = "report", caller: Caller | None = None) -> None:
    """Starts a run of a recipe, or goes on with it, up to and including a stage."""
    with _locked(out, recipe, caller) as (run, console):
        finished = run.finished
        left_out = without(run.recipe.search.ranking)
        if last in left_out:
            run.require(last)
        stages = [name for name in WHOLE_RUN[: WHOLE_RUN.index(last) + 1] if name not in left_out]
        for name in ("search", "train"):
            if name not in finished and name in stages:
                reach(getattr(recipe, name).ray_address)
        made = _wired(run, console)
        if "measure" not in finished:
            _check(made, "measure")
            _foretell(made)
        for name in stages:
            if name in finished:
                console.say(f"{BY_NAME[name].title}: done before ({finished[name]:.0f} s)")
            else:
                _kept(console, run.put_aside_stale(name))
                _do(made, name)
        if last == WHOLE_RUN[-1]:
            from runners.stages.summary import print_summary

            print_summary(run.path, console)


def stage(
    name: str, out: Path, overrides: Sequence[str], seed: int | None = None, *, caller: Caller | None = None
) -> None:
    """Does one stage of a run again, or for the first time; what it made before is put aside.

    So is what an earlier one made where the change concerns it too (other data, another space); it is done
    again as well.
    """
    with _locked(out, None, caller) as (run, console):
        if seed is not None:  # the run's own seed belongs to its training
            own = "seed" if name == "train" else f"{BY_NAME[name].section}.seed"
            overrides = [*overrides, f"{own}={seed}"]
        recipe = revise(run.recipe, overrides)
        if name in ("train", "search"):
            reach(getattr(recipe, name).ray_address)
        run.require(name)
        made = _wired(run, console, load=False)  # the revised recipe's parts are loaded
        place = run.revise(recipe, name, check=lambda: _check(made, name))
        if name in run.finished:
            place = run.put_aside(name)
        _kept(console, place)
        for one in (*run.before(name), name):
            if one not in run.finished:
                _do(made, one)


def audit(
    out: Path, overrides: Sequence[str], seed: int | None = None, *, caller: Caller | None = None
) -> None:
    """Audits the supernet of a run, going on with networks that are done; other trainings begin anew."""
    if seed is not None:
        overrides = [*overrides, f"audit.seed={seed}"]
    with _locked(out, None, caller) as (run, console):
        recipe = revise(run.recipe, overrides)
        run.require("audit")
        made = _wired(run, console, load=False)
        _kept(console, run.revise(recipe, "audit", check=lambda: _check(made, "audit")))
        _do(made, "audit")


def take_table(out: Path, source: Path) -> None:
    """Takes a table measured elsewhere, a kit's folder or CSV, into a run in place of measuring here.

    The table is fitted and checked; what was measured, searched and exported before is put aside.

    Raises:
        ValueError: the table is not of the run's space, or the run has no use for one.
    """
    from runners.tables.commands import import_table

    def write(space: SearchSpace, target: Path, console: Console) -> None:
        table = import_table(source, target, space=space, say=lambda _: None)
        console.say(f"{len(table.lines)} lines of {table.header.profile} on {table.header.machine}")

    _take(out, write)


def take_transferred(out: Path, known: Sequence[Path], measured: Path) -> None:
    """Takes the table of a device on which few networks were measured into a run, as ``take_table``.

    Args:
        out: the run.
        known: tables of known devices for the run's space.
        measured: networks measured on the new one: a kit's folder, CSV or a table.

    Raises:
        ValueError: tables that do not go together, too few networks, or the run has no use for a table.
    """
    from runners.tables.transfer import transfer_table

    _take(
        out,
        lambda space, target, console: transfer_table(known, measured, target, space=space, say=console.say),
    )


def _take(out: Path, write: Callable[[SearchSpace, Path, Console], object]) -> None:
    """Lets ``write`` make the table of a run's space, and puts it in the place of measuring."""
    with _locked(out, None) as (run, console):
        _refuse_table(run.recipe)
        made = _wired(run, console)
        with TemporaryDirectory() as folder:  # a table that is refused leaves the run as it was
            taken = Path(folder) / "table.parquet"
            write(made.given, taken, console)
            content = taken.read_bytes()
        run.put_aside("measure")
        write_atomic(run.path / "measure" / "imported.parquet", content)
        _do(made, "measure")


def start_kit(
    recipe_name: str,
    out: Path | None,
    folder: Path,
    overrides: Sequence[str],
    seed: int | None,
    *,
    networks: int = 0,
) -> None:
    """Starts a run of a recipe, and writes what a device without PyTorch needs to measure its space."""
    recipe = load_recipe(recipe_name, overrides, seed)
    _refuse_table(recipe)
    out = out or Path("runs") / recipe.name
    with _locked(out, recipe):
        pass  # the run is there from now on
    write_kit(out, folder, networks=networks)


def write_kit(
    out: Path,
    folder: Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    *,
    networks: int = 0,
) -> None:
    """Writes what a device without PyTorch needs to measure the space of a run.

    Args:
        out: the run, whose own settings stay as they are.
        folder: folder of the kit.
        overrides: settings of measuring, for this kit.
        seed: seed of the draw of its networks.
        networks: networks of a kit that holds nothing else; 0 makes one for a table.

    Raises:
        ValueError: a setting of something else.
    """
    from runners.run.spaces import measure_plan
    from runners.tables.commands import make_kit

    section = BY_NAME["measure"].section
    others = [entry for entry in overrides if not entry.startswith(f"{section}.")]
    if others:
        raise ValueError(f"a kit takes settings of [{section}] alone, which {', '.join(others)} is not")
    with _locked(out, None) as (run, console):
        _refuse_table(run.recipe)
        made = _wired(run, console)
        recipe = revise(run.recipe, [*overrides, *([] if seed is None else [f"{section}.seed={seed}"])])
        make_kit(
            made.given,
            folder,
            profile=recipe.measure.profile,
            plan=measure_plan(recipe),
            networks=networks,
            say=console.say,
        )


def _refuse_table(recipe: Recipe) -> None:
    """Refuses a table of layers where nothing would read it."""
    if recipe.search.ranking == "alone":
        raise ValueError(
            'with search.ranking = "alone" whole networks are measured while the run goes on, so a table of '
            'layers from elsewhere is of no use; rank with "shared", or reach the device by '
            'measure.ray_address or a profile with the runtime "remote"'
        )
    if recipe.space.precisions:
        raise ValueError(
            "space.precisions: a table from elsewhere is of one number format; leave it out, or reach the "
            'device by measure.ray_address or a profile with the runtime "remote"'
        )


def write_report_of(out: Path, *, caller: Caller | None = None) -> None:
    """Writes the report of a run, whatever it has so far."""
    with _locked(out, None, caller) as (run, console):
        _do(_wired(run, console), "report")


@contextmanager
def opened(path: Path, recipe: Recipe | None) -> Iterator[Wiring]:
    """A run and what its stages are handed, locked until the end; what stops it is in its log too.

    Raises:
        ValueError: as ``RunDirectory``.
    """
    with _locked(path, recipe) as (run, console):
        yield _wired(run, console)


@contextmanager
def _locked(
    path: Path, recipe: Recipe | None, caller: Caller | None = None
) -> Iterator[tuple[RunDirectory, Console]]:
    """The same before PyTorch is loaded: the run and where it speaks."""
    caller = caller or Caller(command=shlex.join(["quarry", *sys.argv[1:]]))
    run = RunDirectory(path, recipe, caller.command)
    console = Console(path / "log.txt", caller.listener)
    try:
        yield run, console
    except Exception as error:
        with suppress(OSError):  # the disk may be what is full
            console.record(f"error: {error}")
        raise
    finally:
        run.close()


def _wired(run: RunDirectory, console: Console, *, load: bool = True) -> Wiring:
    """What the stages of a run are handed, the code that its recipe names loaded unless that was done.

    Raises:
        ValueError: some of it cannot be loaded.
    """
    if load and (problems := load_parts(run.recipe)):
        raise ValueError("\n".join(problems))
    # Imported when a run is opened: what is wrong with the command is said before PyTorch is loaded.
    from runners.run.wiring import Wiring

    return Wiring(run, console)


def _check(made: Wiring, name: str) -> None:
    """What is known to be impossible before a stage begins; nothing is put aside for it."""
    from runners.run.work import CHECKS

    if name in CHECKS:
        CHECKS[name](made)


def _foretell(made: Wiring) -> None:
    """Says how long the whole job will take, before its first stage."""
    from runners.run.foretell import foretell

    foretell(made)


def _kept(console: Console, place: Path | None) -> None:
    if place is not None:
        console.say(f"what was made before is kept in {place}")


def _do(made: Wiring, name: str) -> None:
    from runners.run.work import WORK

    made.console.stage(BY_NAME[name].title)
    try:
        with made.run.stage(name):
            WORK[name](made)
    except Exception as error:  # whatever a user's code or a library raises
        told = in_words(error, BY_NAME[name])
        if told is error:
            raise
        raise told from error
