"""Memory of a process that runs a file: what comes with the file, and what is said where it does not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.measuring.memory import peak_of
from runners.targets.profile import load_profile

PROFILE = load_profile("cpu-ort")
CALLS = "tests.runners.measuring.memory_calls"


def test_what_comes_with_a_file_is_told_from_what_was_there(tmp_path: Path) -> None:
    found = peak_of(f"{CALLS}:takes", tmp_path / "any", PROFILE)
    assert 69e6 < found.own_bytes < 80e6, "40 MB kept, and 30 MB at once that are given back"
    assert 5e6 < found.process_bytes - found.own_bytes < 60e6, "Python and NumPy, not PyTorch"


@pytest.mark.parametrize(("loader", "words"), [("fails", "no such operator"), ("dies", "runtime crashed")])
def test_a_file_that_does_not_run_says_why(tmp_path: Path, loader: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        peak_of(f"{CALLS}:{loader}", tmp_path / "any", PROFILE)
