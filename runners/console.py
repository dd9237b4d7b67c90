"""What a run says: on the terminal with progress bars, elsewhere as plain lines, and always in its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from results.numbers import duration
from runners.time_left import TimeLeft


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that a run says, for whoever listens in place of a terminal.

    Attributes:
        kind: sort of it: a line, a warning, the heading of a stage, a table, or how far some work is.
        text: words; of a table, its lines.
        done: how much of the work is done; None where it is no progress.
        total: how much there is to do, in the same unit.
        left_s: seconds that are left of the work; None where that is not known.
    """

    kind: Literal["line", "warning", "stage", "table", "progress"]
    text: str
    done: float | None = None
    total: float | None = None
    left_s: float | None = None


Listener = Callable[[Told], object]
_PLAIN_SECONDS = 10.0  # between progress lines where there is no terminal


class Bar:
    """Progress of one piece of work, or of one after the other."""

    def __init__(self, description: str, progress: Progress | None, console: Console) -> None:
        self._description, self._progress, self._console = description, progress, console
        self._task = progress.add_task(description, total=None, note="", left="") if progress else None
        self._last = time.monotonic()
        self._left = TimeLeft()

    def begin(self, description: str) -> None:
        """Another piece of work begins here, with a name and a clock of its own."""
        self._description, self._left = description, TimeLeft()
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, total=None, description=description, note="", left="")

    def update(self, done: float, total: float, note: str = "") -> None:
        """Shows that ``done`` of ``total`` is done; ``note`` is a few words on how it goes."""
        left_s = self._left.seconds(done, total)
        if self._console.listener is not None:
            words = f"{self._description}: {note}" if note else self._description
            told = Told(kind="progress", text=words, done=done, total=total, left_s=left_s)
            self._console.listener(told)
            return
        left = "" if left_s is None else f"{_in_words(left_s)} left"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, note=note, left=left)
            return
        now = time.monotonic()
        if now - self._last < _PLAIN_SECONDS:
            return
        self._last = now
        left = f", {left}" if left else ""
        self._console.say(
            f"{self._description}: {done / max(total, 1e-9):.0%}{left}{'; ' + note if note else ''}"
        )


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds).replace("\u00a0", " ")


class Console:
    """The place where a run speaks.

    Args:
        log: file that gets every line, without colours; None keeps none.
        listener: function that is called with everything, in place of the terminal.
    """

    def __init__(self, log: Path | None = None, listener: Listener | None = None) -> None:
        self.listener = listener
        self._rich = RichConsole(highlight=False, soft_wrap=True, emoji=False)
        self.log = log

    def say(self, text: str, style: str = "") -> None:
        """One line, to the terminal and the log."""
        self._say(text, "line", style)

    def warn(self, text: str) -> None:
        """One line that should not be overlooked."""
        self._say(f"warning: {text}", "warning", "yellow")

    def stage(self, title: str) -> None:
        """The heading of a stage."""
        self._say(title, "stage", "bold")

    def _say(self, text: str, kind: Literal["line", "warning", "stage"], style: str) -> None:
        if self.listener is not None:
            self.listener(Told(kind=kind, text=text))
        else:
            self._rich.print(text, style=style or None, markup=False)
        self.record(text)

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False
    ) -> None:
        """A small table; the first column is left-aligned, the others right unless they hold words.

        Names and numbers are never broken: where they do not fit the terminal side by side, each row is a
        list of its own. Words are broken between words.
        """
        lines = [" | ".join(row) for row in [columns, *rows]]
        if self.listener is not None:
            self.listener(Told(kind="table", text="\n".join([title, *lines])))
        elif _narrowest(columns, rows, words=words) <= self._rich.width:
            self._rich.print(_table(title, columns, rows, words=words))
        else:
            self._rich.print(_lists(title, columns, rows))
        for line in lines:
            self.record(line)

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Bar]:
        """A bar while the work inside goes on."""
        if self.listener is not None or not self._rich.is_terminal:
            yield Bar(description, None, self)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self._rich, transient=True) as progress:
            yield Bar(description, progress, self)

    def record(self, text: str) -> None:
        """One line, to the log alone."""
        if self.log is not None:
            stamp = datetime.now(UTC).isoformat(timespec="seconds")
            with self.log.open("a") as file:
                file.write(f"{stamp} {text}\n")


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool) -> int:
    """Characters that a table takes at least: its longest words, or whole cells where they are not broken."""

    def least(index: int) -> int:
        cells = [row[index] for row in rows]
        parts = [part for cell in cells for part in cell.split()] if words and index else cells
        return max(map(len, [*columns[index].split(), *parts]), default=0)

    return 1 + sum(3 + least(index) for index in range(len(columns)))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        whole = index == 0 or not words
        least = max((len(row[index]) for row in rows), default=0) if whole else None
        justify: Literal["left", "right"] = "left" if index == 0 or words else "right"
        table.add_column(Text(column), justify=justify, min_width=least)
    for row in rows:
        table.add_row(*map(Text, row))  # as text: what stands in brackets is no mark-up
    return table


def _lists(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Each row as its name and, indented, what it has."""
    width = max(map(len, columns[1:]), default=0)
    lines = []
    for row in rows:
        lines.append(row[0])
        given = zip(columns[1:], row[1:], strict=True)
        lines += [f"  {column:<{width}}  {cell}" for column, cell in given if cell]
    return Text("\n").join([Text(title, style="bold"), *map(Text, lines)])
