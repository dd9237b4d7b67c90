"""One exported network for the whole session: an export takes a second or two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.onnx.export import Exported, export_onnx
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
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(network, EXAMPLE, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="session")
def float_file(exported: Exported) -> Path:
    return exported.path
