"""Networks exported once for the whole session: what most tests of files read, and what runs begin with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.onnx.export import export_onnx
from compress.pruning.importance import CRITERIA
from compress.run import run_steps
from compress.steps import STEPS
from tests.compress.networks import EXAMPLE, digits_network
from tests.compress.scripted import scripted


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return digits_network()


@pytest.fixture(scope="session")
def float_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(network, EXAMPLE, path)
    return path


@pytest.fixture(scope="session")
def _begun_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    folder = tmp_path_factory.mktemp("begun")
    network = nn.Conv2d(1, 2, 1)
    run_steps("net", network, [], scripted(), folder=folder, log=folder / "steps.jsonl")
    return folder, network


@pytest.fixture
def begun(_begun_once: tuple[Path, nn.Module], tmp_path: Path) -> tuple[Path, nn.Module, Path]:
    """A folder where the network compression begins with is exported already; the network; the log."""
    folder, network = _begun_once
    shutil.copytree(folder / "0_start", tmp_path / "net" / "0_start")
    return tmp_path / "net", network, tmp_path / "steps.jsonl"


@pytest.fixture(autouse=True)
def _parts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that a test registers are gone after it."""
    for parts in (STEPS, CRITERIA):
        monkeypatch.setattr(parts, "_entries", dict(parts._entries))
