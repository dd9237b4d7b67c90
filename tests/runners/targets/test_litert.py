"""LiteRT as a device where it and its converter are; where they are not, what is missing is said."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from compress.target import Target
from runners.targets import litert
from runners.targets.litert import CONVERTER
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import check_outputs, check_timing, files_of

HERE = find_spec("ai_edge_litert") is not None and CONVERTER in os.environ
needs_it = pytest.mark.skipif(not HERE, reason="LiteRT or its converter is not there (CONTRIBUTING.md)")


@pytest.fixture(scope="module")
def target() -> Target:
    return open_target(load_profile("cpu-litert"))


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files_of(target, tmp_path_factory.mktemp("litert"))


@needs_it
@pytest.mark.parametrize(("precision", "difference"), [("fp32", 1e-5), ("int8", 0.1)])
def test_a_file_computes_what_the_network_does(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    check_outputs(target, files[precision], difference)


@needs_it
def test_files_are_timed_side_by_side(target: Target, files: dict[str, Path], tmp_path: Path) -> None:
    check_timing(target, files["fp32"], tmp_path)
    assert files["int8"].stat().st_size < files["fp32"].stat().st_size + 2000  # few weights, and their scales


def test_without_a_converter_it_is_said_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONVERTER, raising=False)
    with pytest.raises(ValueError, match="needs a converter for LiteRT. .* environment of its own"):
        open_target(load_profile("cpu-litert"))


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no/such/python", "no/such/python, is no program"),
        (sys.executable, "does not run LiteRT's converter: No package metadata was found for litert-torch"),
        (
            "/bin/false",
            "does not run LiteRT's converter: the runtime cannot be started: it ended with code 1",
        ),
    ],
)
def test_a_converter_that_is_none_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, python: str, message: str
) -> None:
    monkeypatch.setattr(litert, "runtime_version", lambda *_, **__: "2.3.0")
    monkeypatch.setenv(CONVERTER, python)
    with pytest.raises(ValueError, match=message):
        open_target(load_profile("cpu-litert"))
