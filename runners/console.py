"""What a run says: on the terminal with progress bars, elsewhere as plain lines, and always in its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from results.numbers import duration
from runners.time_left import TimeLeft

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
    """

    def __init__(self, log: Path | None = None) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True, emoji=False)
        self.log = log

    def say(self, text: str, style: str = "") -> None:
        """One line, to the terminal and the log."""
        self._rich.print(text, style=style or None, markup=False)
        self.record(text)

    def warn(self, text: str) -> None:
        """One line that should not be overlooked."""
        self.say(f"warning: {text}", style="yellow")

    def stage(self, title: str) -> None:
        """The heading of a stage."""
        self.say(title, style="bold")

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False
    ) -> None:
        """A small table; the first column is left-aligned, the others right unless they hold words."""
        table = Table(title=Text(title), title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            table.add_column(
                Text(column), justify="left" if index == 0 or words else "right", overflow="fold"
            )
        for row in rows:
            table.add_row(*map(Text, row))  # as text: what stands in brackets is no mark-up
        self._rich.print(table)
        for row in [columns, *rows]:
            self.record(" | ".join(row))

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Bar]:
        """A bar while the work inside goes on."""
        if not self._rich.is_terminal:
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
