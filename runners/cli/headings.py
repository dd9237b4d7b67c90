"""The commands in ``quarry --help``: under headings, in the order in which someone meets them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

HEADINGS = {
    "To begin with": ("run", "init", "recipes", "presets"),
    "Stages of a run, one by one": ("measure", "train", "search", "compress", "export", "report", "audit"),
    "Runs, and what they hand over": ("watch", "compare", "studies", "predict", "verify"),
    "Models of your own, and of others": ("compress-model", "space", "latency", "why"),
    "What is here": ("table", "doctor", "version"),
}


class Headings(TyperGroup):
    """The commands of ``quarry``, listed under ``HEADINGS``."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the lists."""
        widest = max(map(len, self.commands))
        room = formatter.width - 6 - widest
        for heading, names in HEADINGS.items():
            found = [(name.ljust(widest), self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, one.get_short_help_str(room)) for name, one in found if one])
