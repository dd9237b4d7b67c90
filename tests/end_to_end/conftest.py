"""A command in this process."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from runners.cli import app as cli
from tests.end_to_end.command import Call, Said


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the command in this process, in a folder of its own: a new one costs seconds for its imports."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["quarry", *arguments])
        code: object = 0
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
        return Said(int(str(code)), capfd.readouterr().err)

    return run
