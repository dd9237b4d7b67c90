"""``quarry why``: a table and sentences for any two files; what cannot be compared is said in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.onnx.export import export_onnx
from runners.tables.why import why


def _write(path: Path, channels: int, size: int = 8) -> str:
    network = nn.Sequential(nn.Conv2d(1, channels, 3), nn.ReLU(), nn.Conv2d(channels, 8, 3))
    export_onnx(network, torch.zeros(2, 1, size, size), path)
    return str(path)


def test_a_cut_layer_is_in_the_table_with_what_changed(tmp_path: Path) -> None:
    lines: list[str] = []
    report = why(
        _write(tmp_path / "a.onnx", 32), _write(tmp_path / "b.onnx", 20), seconds=0.2, say=lines.append
    )
    told = "\n".join(lines)
    assert "32 to 20 channels" in told
    assert "ms before" in lines[0]
    assert max(map(len, lines)) <= 80
    assert len(report.found.pairs) >= 2


def test_what_cannot_be_compared_is_said_in_a_sentence(tmp_path: Path) -> None:
    whole = _write(tmp_path / "a.onnx", 16)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(Path(whole).read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"cut\.onnx \(\d+ bytes\) is no whole ONNX file"):
        why(whole, str(cut))
    with pytest.raises(FileNotFoundError, match="there is no model at"):
        why(whole, str(tmp_path / "none.onnx"))
    with pytest.raises(ValueError, match="takes inputs of 1x1x8x8, .* of 1x1x10x10: their times say nothing"):
        why(whole, _write(tmp_path / "b.onnx", 16, size=10))
    with pytest.raises(ValueError, match="unknown profile 'cpu-otr'"):
        why(whole, whole, profile="cpu-otr")
    for other in ("cpu-torch", "cpu-openvino"):  # OpenVINO has operators of its own
        with pytest.raises(ValueError, match="times no single operators on this machine"):
            why(whole, whole, profile=other)
    with pytest.raises(ValueError, match="have to be above 0"):
        why(whole, whole, rows=0)
