"""ONNX Runtime as a device: real layers get real figures, and a bad model harms no other."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from compress.candidate import Candidate, Context
from compress.steps import Quantize
from runners.measuring.lock import device_lock
from runners.targets.hardware import HardwareProfile
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset

SHAPE = (8, 8, 8)


def _conv(channels: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())


class Unexportable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.matrix_exp(x)


def test_more_work_takes_longer_and_a_broken_file_is_unsupported(tmp_path: Path) -> None:
    target = open_target(load_profile("cpu-ort"))
    files = [tmp_path / f"{name}.onnx" for name in ("small", "broken", "large")]
    target.export(_conv(8), SHAPE, files[0])
    files[1].write_bytes(b"not a model")
    target.export(_conv(512), SHAPE, files[2])
    small, broken, large = target.measure(files, budget_s=0.3)
    assert {entry.operator for entry in target.operator_times(files[0])} & {"Conv", "FusedConv"}
    assert broken.status == "unsupported"
    assert broken.reason
    assert 0 < small.median_ms < large.median_ms
    assert small.low_ms <= small.median_ms <= small.high_ms


def test_exports_compute_what_the_module_computes_with_norms_folded() -> None:
    for layer in preset("digits", classes=10, input_shape=(1, 8, 8)).layers[::9]:
        module = layer.build().eval()
        content = onnx_bytes(module, layer.input_shape)
        images = torch.randn(1, *layer.input_shape)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(output, module(images).numpy(), atol=1e-4)
        operators = {node.op_type for node in onnx.load_from_string(content).graph.node}
        assert "BatchNormalization" not in operators


def test_int8_files_hold_int8_weights() -> None:
    content = onnx_bytes(_conv(16), SHAPE, precision="int8")
    types = {tensor.data_type for tensor in onnx.load_from_string(content).graph.initializer}
    assert onnx.TensorProto.INT8 in types


def test_what_cannot_be_exported_or_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be exported to ONNX") as caught:
        onnx_bytes(Unexportable(), (4, 4))
    assert "\n" not in str(caught.value)
    entries = {"name": "a", "runtime": "onnxruntime", "unsupported_operators": ["Softmax"]}
    profile = HardwareProfile.model_validate(entries)
    with pytest.raises(ValueError, match="uses Softmax, which the profile cannot run"):
        open_target(profile).export(nn.Softmax(dim=1), SHAPE, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_is_run_whatever_number_of_images_it_takes(tmp_path: Path) -> None:
    network = nn.Sequential(_conv(4), nn.Flatten()).eval()
    images = np.random.default_rng(0).standard_normal((5, *SHAPE), dtype=np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    for batch in (1, 3):
        entries = {"name": "a", "runtime": "onnxruntime", "batch": batch}
        target = open_target(HardwareProfile.model_validate(entries))
        target.export(network, SHAPE, tmp_path / "a.onnx")
        np.testing.assert_allclose(target.run(tmp_path / "a.onnx", images), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="no images"):
        target.run(tmp_path / "a.onnx", images[:0])


def test_one_device_measures_one_thing_at_a_time() -> None:
    told: list[str] = []
    with device_lock("test-device"):

        def second() -> None:
            message = f"still measuring for process {os.getpid()}"
            with (
                pytest.raises(OSError, match=message),
                device_lock("test-device", patience_s=0.1, waiting=told.append),
            ):
                pass

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(told) == 1
    with device_lock("test-device", patience_s=0):
        pass


def test_int8_is_timed_as_compression_first_makes_it(tmp_path: Path) -> None:
    network = nn.Sequential(_conv(8), nn.AvgPool2d(2), _conv(16), nn.Flatten(), nn.Linear(256, 10)).eval()
    timed = onnx_bytes(network, SHAPE, precision="int8")
    (tmp_path / "float.onnx").write_bytes(onnx_bytes(network, SHAPE))
    context = SimpleNamespace(
        calibration=np.random.default_rng(1).standard_normal((1, *SHAPE), np.float32),
        file=lambda folder, name: folder / f"{name}.onnx",
        seed=0,
        target=open_target(load_profile("cpu-ort")),
    )
    candidate = Candidate(network=network, file=tmp_path / "float.onnx")
    first = Quantize().propose(candidate, cast(Context, context), tmp_path)[0]
    made, wanted = onnx.load_from_string(timed), onnx.load(first.file)
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in wanted.graph.node]
    weights = [
        [(tensor.dims, tensor.data_type) for tensor in model.graph.initializer] for model in (made, wanted)
    ]
    assert weights[0] == weights[1]
