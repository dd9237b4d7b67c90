"""One exported network for the whole session: an export takes a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from compress.export import Exported, export_onnx
from tests.compress.networks import EXAMPLE, digits_network


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return digits_network()


@pytest.fixture(scope="session")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(network, EXAMPLE, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="session")
def float_file(exported: Exported) -> Path:
    return exported.path
