"""The whole job, and each stage of it, as one call in Python: what ``import quarry`` gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from results.names import unknown
from results.records import Card, FrontEntry
from results.report.headline import headline
from results.report.sources import Sources, read_run
from runners.console import Listener
from runners.reading.load import recipe_of
from runners.recipe.schema import Recipe
from runners.run.sequence import Caller, audit, run_recipe, write_report_of
from runners.run.sequence import stage as work_on
from runners.run.stages import BY_NAME

Stage = Literal["measure", "train", "search", "compress", "export", "report", "audit"]
"""The stages of a run."""
Settings = Mapping[str, Any]
"""Keys of a recipe, dotted, with their values: ``{"search.latency_ms": 5}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run has made so far.

    Attributes:
        folder: folder of the run.
        records: everything it wrote about itself, typed.
    """

    folder: Path
    records: Sources

    @property
    def front(self) -> tuple[FrontEntry, ...]:
        """The networks of which none is both faster and more accurate; empty before the search."""
        return () if self.records.summary is None else self.records.summary.front

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of the artifacts, the chosen one first; empty before the export."""
        return tuple(self.records.cards)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the artifacts, in the order of ``cards``."""
        return tuple(self.folder / "artifacts" / card.name / card.file for card in self.cards)

    @property
    def report(self) -> Path:
        """The report; it is there when the stage ``report`` is done."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """What a notebook shows: the first section of the report."""
        return str(headline(self.records))


def open_run(folder: str | Path) -> Result:
    """What a run has made so far; nothing is changed.

    Raises:
        ValueError: there is no such folder.
    """
    return Result(folder=Path(folder), records=read_run(Path(folder)))


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    settings: Settings | None = None,
    last: Stage = "report",
    progress: Listener | None = None,
) -> Result:
    """Does the whole job, as ``quarry run`` does, or goes on with it.

    Args:
        recipe: name of a recipe, path of one, its values, or one that was read.
        out: folder of the run; ``runs/NAME`` where none is given.
        settings: keys that are changed.
        last: stage after which it ends.
        progress: function that is told all that happens (``runners.console.Told``), in place of the terminal.

    Raises:
        ValueError: as the command; the message says what would be right.
    """
    read = recipe_of(recipe, _overrides(settings))
    folder = Path("runs") / read.name if out is None else Path(out)
    if last not in BY_NAME or BY_NAME[last].alone:
        raise ValueError(unknown("stage", last, (name for name in BY_NAME if not BY_NAME[name].alone)))
    given = recipe.model_dump(mode="json", exclude_unset=True) if isinstance(recipe, Recipe) else recipe
    command = _written("run", given, out=folder, settings=settings, last=None if last == "report" else last)
    run_recipe(read, folder, last=last, caller=Caller(command=command, listener=progress))
    return open_run(folder)


def stage(
    name: Stage,
    out: str | Path,
    *,
    settings: Settings | None = None,
    seed: int | None = None,
    progress: Listener | None = None,
) -> Result:
    """Does one stage of a run again, or for the first time, as the command of that name does.

    Args:
        name: stage.
        out: folder of the run.
        settings: keys that are changed.
        seed: seed of the stage.
        progress: function that is told all that happens, as of ``run``.

    Raises:
        ValueError: as the command.
    """
    if name not in BY_NAME:
        raise ValueError(unknown("stage", name, BY_NAME))
    folder, overrides = Path(out), _overrides(settings)
    command = _written("stage", name, folder, settings=settings, seed=seed)
    caller = Caller(command=command, listener=progress)
    if name == "report":
        write_report_of(folder, caller=caller)
    elif name == "audit":
        audit(folder, overrides, seed, caller=caller)
    else:
        work_on(name, folder, overrides, seed, caller=caller)
    return open_run(folder)


def _written(call: str, *given: Any, **named: Any) -> str:
    """A call for the record, as Python takes it after ``import quarry``."""
    words = [_word(value) for value in given]
    words += [f"{name}={_word(value)}" for name, value in named.items() if value not in (None, {})]
    return f"quarry.{call}({', '.join(words)})"


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {_word(one)}' for name, one in value.items())}}}"
    return repr(str(value) if isinstance(value, Path) else value)


def _overrides(settings: Settings | None) -> list[str]:
    return [f"{key}={_toml(value, key)}" for key, value in (settings or {}).items()]


def _toml(value: Any, key: str) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(str(name))} = {_toml(one, key)}" for name, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_toml(one, key) for one in value)}]"
    raise ValueError(f"{key}: {value!r} is nothing that a recipe can hold; right are numbers, text, lists")
