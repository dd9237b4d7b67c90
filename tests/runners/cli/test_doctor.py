"""The doctor says what is there, and for what is not, what it is needed for and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from runners.cli import doctor as module
from runners.cli.doctor import Finding, doctor, examine
from runners.console import Console
from runners.measuring.machine import busy_cores


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits half a second for what other programs do."""
    monkeypatch.setattr(module, "busy_cores", lambda: 0.0)


def found(topic: str, folder: Path = Path()) -> Finding:
    return next(finding for finding in examine(folder) if finding.topic == topic)


def test_what_is_there_is_said_with_versions(tmp_path: Path) -> None:
    findings = {finding.topic: finding for finding in examine(tmp_path)}
    assert findings["torch"].found.startswith(f"{metadata.version('torch')}, ")
    assert findings["onnxruntime"].found.startswith(metadata.version("onnxruntime"))
    assert "CPU" in findings["onnxruntime"].found
    for package in ("ray", "optuna", "nni", "torch-pruning", "datasets", "onnx"):
        assert findings[package].found == metadata.version(package)
        assert not findings[package].problem
    assert str(len(os.sched_getaffinity(0))) in findings["cores"].found
    assert "GiB free" in findings["memory"].found
    assert str(tmp_path) in findings["disk"].found


def test_what_is_missing_is_said_with_its_feature_and_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = metadata.version

    def version(package: str) -> str:
        if package in ("ray", "executorch"):
            raise metadata.PackageNotFoundError
        return installed(package)

    monkeypatch.setattr(module.metadata, "version", version)
    doctor(Console())
    said = capsys.readouterr().out
    assert "not installed" in said
    assert "ray: needed for scoring networks in several processes. pip install ray\n" in said
    assert "executorch: needed for measuring in ExecuTorch" in said
    assert "Nothing is missing" not in said
    assert "optuna:" not in said


def test_a_package_that_cannot_be_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise OSError(f"lib{name}.so: cannot open shared object file")

    monkeypatch.setattr(module, "import_module", broken)
    for package in ("torch", "onnxruntime"):
        finding = found(package)
        assert finding.found == f"{metadata.version(package)}, which cannot be imported"
        assert f"lib{package}.so: cannot open" in finding.problem
        assert finding.remedy == f"pip install {package}"


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (30 * 2**30, 40 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A100")
    assert found("GPU").found == "A100, 40 GiB, 30 GiB free"


def test_little_room_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    monkeypatch.setattr(
        module.psutil, "virtual_memory", lambda: SimpleNamespace(total=2**32, available=2**30)
    )
    assert found("disk").problem == found("memory").problem == "less than 2 GiB is free"
    assert "--out" in found("disk").remedy


def test_a_machine_without_a_compiler_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = found("C++ compiler")
    assert finding.found == "none"
    assert "profile cpu-aotinductor" in finding.problem
    assert "apt install g++" in finding.remedy
    assert "cpu-aotinductor" in found("profiles").found.partition("not ")[2]


def test_a_converter_that_is_missing_or_none_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUARRY_LITERT_PYTHON", raising=False)
    missing = found("LiteRT's converter")
    assert missing.problem == "needed for files of LiteRT (profile cpu-litert)"
    assert "python -m venv" in missing.remedy
    monkeypatch.setenv("QUARRY_LITERT_PYTHON", "no/such/python")
    assert "no/such/python, is no program" in found("LiteRT's converter").problem


def test_a_busy_machine_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "busy_cores", lambda: 1.5)
    assert found("load").found == "other programs keep 1.5 cores busy"
    assert "quiet machine" in found("load").problem
    monkeypatch.setattr(module, "busy_cores", lambda: 0.1)
    assert found("load").problem == ""


def test_how_busy_others_are_is_seen() -> None:
    """A process that computes all the time takes most of a core, wherever else time goes."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert busy_cores(0.5) > 0.4
        finally:
            busy.kill()


def test_where_nothing_is_missing_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "examine", lambda: [Finding(topic="cores", found="2")])
    doctor(Console())
    assert "Nothing is missing." in capsys.readouterr().out
