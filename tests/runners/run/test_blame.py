"""What a stage raises becomes a sentence: stage, place in the user's code, way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.loading import load_module
from runners.run.blame import StageError, in_words
from runners.run.stages import BY_NAME

CODE = """
import json

class Net:
    def forward(self, x):
        return json.loads(x) if isinstance(x, str) else x.missing
"""


def raised(call: object, given: object) -> Exception:
    try:
        call(given)  # type: ignore[operator]
    except Exception as error:
        trace = error.__traceback__
        return error.with_traceback(trace and trace.tb_next)  # without this file
    raise AssertionError("nothing was raised")


@pytest.fixture
def forward(tmp_path: Path) -> object:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    return load_module(str(file)).Net().forward


def test_an_error_of_the_users_code_names_stage_class_file_and_line(forward: object) -> None:
    told = in_words(raised(forward, 3), BY_NAME["compress"])
    assert isinstance(told, StageError)
    assert str(told) == (
        "Compressing (stage compress) failed: AttributeError: 'int' object has no attribute 'missing', "
        "raised in forward of Net (mine.py, line 6); mend it and run the same command again: what was done "
        "is kept, and it goes on from there"
    )


def test_what_a_library_raised_under_the_users_code_names_the_users_line(forward: object) -> None:
    inside = raised(forward, "{").__traceback__  # its innermost frames are the library's
    told = in_words(KeyError("x").with_traceback(inside), BY_NAME["train"])
    assert "raised in forward of Net (mine.py, line 6)" in str(told)


def test_what_only_we_or_libraries_raised_is_a_bug_of_ours() -> None:
    told = in_words(raised(load_module, 3), BY_NAME["report"])
    assert "Writing the report (stage report) failed: AttributeError" in str(told)
    assert "this looks like a bug; --debug shows where" in str(told)


@pytest.mark.parametrize(
    "error", [ValueError("a sentence"), FileNotFoundError("there is no x"), MemoryError()]
)
def test_sentences_and_errors_of_the_system_stay(error: Exception) -> None:
    assert in_words(error, BY_NAME["train"]) is error
