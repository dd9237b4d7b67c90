"""A live view of a run at work, from its records alone: ``quarry watch``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from results.files import read_json
from results.numbers import duration, percent, significant
from results.records import StageSession
from results.report.sources import Sources, read_run
from runners.run.directory import works
from runners.run.stages import WHOLE_RUN, without

_LINES = 6  # last ones of the log


def watch(folder: Path, *, every_s: float, once: bool = False) -> None:
    """Shows a run until it is finished, or once.

    Raises:
        ValueError: there is no run, or it is no job of stages.
    """
    if not (folder / "recipe.json").exists():
        raise ValueError(f"there is no run in {folder}; start one with: quarry run RECIPE --out {folder}")
    if "model" in read_json(folder / "recipe.json"):  # what a job of quarry compress-model writes down
        raise ValueError(f"{folder} holds a compressed model, not a run of stages; see its log.txt")
    console = RichConsole(highlight=False, emoji=False)
    words, finished = view(folder)
    if once or not console.is_terminal:
        console.print(Text(words), soft_wrap=True)
        return
    with Live(Text(words), console=console, auto_refresh=False) as live:
        while not finished:
            time.sleep(every_s)
            words, finished = view(folder)
            live.update(Text(words), refresh=True)


def view(folder: Path) -> tuple[str, bool]:
    """What there is to see of a run now, and whether it is finished."""
    run = read_run(folder)
    ranking = run.recipe.settings.get("search", {}).get("ranking", "shared") if run.recipe else "shared"
    stages = [name for name in WHOLE_RUN if name not in without(ranking)]
    last = _last(run)
    lines = [f"{run.name}: {run.recipe.name if run.recipe else ''}"]
    for name in stages:
        if last is not None and last.stage == name and not (last.finished or last.put_aside):
            lines.append(f"  {name:<9} {_begun(last, folder)}")
        elif name in run.stages:
            lines.append(f"  {name:<9} done in {duration(run.stages[name])}")
        else:
            foretold = f", foretold {duration(run.forecast[name])}" if name in run.forecast else ""
            lines.append(f"  {name:<9} to come{foretold}")
    lines += [f"  {words}" for words in _how_far(run)]
    return "\n".join([*lines, "", *_last_words(folder)]), all(name in run.stages for name in stages)


def _last(run: Sources) -> StageSession | None:
    """The work on a stage that was begun last."""
    sessions = run.manifest.sessions if run.manifest else ()
    return sessions[-1].stages[-1] if sessions and sessions[-1].stages else None


def _begun(last: StageSession, folder: Path) -> str:
    """How it is with a stage that has no end; a process that was killed leaves it as one at work does."""
    if last.seconds or not works(folder):
        return "stopped before its end"
    spent = datetime.now(UTC).timestamp() - datetime.fromisoformat(last.began).timestamp()
    return f"at work for {duration(max(0.0, spent))}"


def _how_far(run: Sources) -> list[str]:
    found = []
    if run.epochs:
        last = run.epochs[-1]
        watched = "".join(f", {name} {percent(value)}" for name, value in last.watched.items())
        found.append(f"epoch {last.epoch + 1}: loss {significant(last.loss)}{watched}")
    if run.raced:
        best = max((one.accuracy or 0.0 for one in run.raced), default=0.0)
        found.append(f"{len(run.raced)} trainings of the race, the best {percent(best)}")
    found += [f"{name}: {len(trials)} networks scored" for name, trials in run.trials.items()]
    if run.steps:
        found.append(f"{len(run.steps)} compression steps, {sum(step.kept for step in run.steps)} kept")
    return found


def _last_words(folder: Path) -> list[str]:
    log = folder / "log.txt"
    if not log.exists():
        return []
    with log.open("rb") as file:  # the end is enough of a long one
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.partition(" ")[2] for line in lines[-_LINES:]]
