"""One exported network for the whole session: what most tests of files read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.onnx.export import export_onnx
from compress.pruning.importance import CRITERIA
from compress.steps import STEPS
from tests.compress.networks import EXAMPLE, digits_network


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


@pytest.fixture(autouse=True)
def _parts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that a test registers are gone after it."""
    for parts in (STEPS, CRITERIA):
        monkeypatch.setattr(parts, "_entries", dict(parts._entries))
