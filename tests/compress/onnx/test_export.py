"""What is exported is one file that any batch size can be run through, equal to its network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.onnx.export import OPSET, export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.verify import accuracy, verify
from tests.compress.networks import EXAMPLE, digits_network, images


def test_the_file_equals_the_network_at_any_batch_size(float_file, network):
    run = OnnxFile(float_file)
    for count in (1, 3, 64):
        batch = images(count, seed=count)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        assert np.abs(run(batch) - expected).max() < 1e-4


def test_the_record_says_how_the_file_is_called(exported):
    graph = onnx.load(exported.path).graph
    assert [entry.name for entry in graph.input] == [exported.input_name]
    assert [entry.name for entry in graph.output] == [exported.output_name]
    assert exported.size_bytes == exported.path.stat().st_size
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"]


def test_the_graph_is_folded_and_holds_nothing_of_the_machine(exported):
    model = onnx.load(exported.path)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert not kinds & {"Constant", "Identity", "Shape", "Cast"}
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {OPSET}
    assert b".py" not in exported.path.read_bytes()


def test_a_network_of_several_outputs_is_refused(tmp_path):
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ValueError, match="Pair gives a tuple; only networks that give one tensor"):
        export_onnx(Pair(), EXAMPLE, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_depends_on_values_is_refused_by_name(tmp_path):
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match="Branching cannot be exported to ONNX: "):
        export_onnx(Branching(), EXAMPLE, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_verify_compares_over_all_images_whatever_the_batches(float_file, network):
    data, labels = images(50), np.arange(50) % 10
    whole = verify(float_file, network, (data, labels), max_difference=1e-3, max_accuracy_loss=0.0)
    batched = verify(
        float_file, network, [(data[:33], labels[:33]), (torch.from_numpy(data[33:]), labels[33:])]
    )
    assert whole.images == batched.images == 50
    assert whole.max_difference == pytest.approx(batched.max_difference, rel=0.5, abs=1e-6)
    assert whole.equal_predictions == batched.equal_predictions == 1.0
    assert whole.accuracy_file == whole.accuracy_network == accuracy(float_file, (data, labels))
    assert accuracy(network, (data, labels)) == whole.accuracy_network
    assert whole.mean_difference <= whole.max_difference < 1e-4 * whole.logit_scale


def test_verify_refuses_a_file_of_another_network(float_file, network):
    other = nn.Sequential(network, nn.Linear(10, 10))
    with pytest.raises(ValueError, match="is not the network it came from: a logit differs by"):
        verify(float_file, other, (images(20), np.zeros(20)), max_difference=1e-3)


def test_verify_refuses_a_file_that_loses_too_much(float_file, network):
    data = images(40)
    labels = -network(torch.from_numpy(data)).detach().numpy()
    flipped = nn.Sequential(network, _Negated())
    with pytest.raises(ValueError, match=r"loses 100\.00% accuracy .* accepted: 1\.00%"):
        verify(float_file, flipped, (data, labels.argmax(axis=1)), max_accuracy_loss=0.01)


class _Negated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


def test_verify_names_what_is_wrong_with_the_data(float_file, network):
    with pytest.raises(ValueError, match="there are no images to verify"):
        verify(float_file, network, (images(0), np.zeros(0)))
    with pytest.raises(ValueError, match="3 images came with 2 labels"):
        verify(float_file, network, (images(3), np.zeros(2)))
    with pytest.raises(ValueError, match=r"takes images of shape \(1, 8, 8\), got \(3, 8, 8\)"):
        OnnxFile(float_file)(np.zeros((1, 3, 8, 8), np.float32))


def test_verify_leaves_the_modes_of_the_network(float_file, network):
    network.train()
    network[0].eval()
    verify(float_file, network, (images(4), np.zeros(4)))
    assert network.training
    assert not network[0].training
    network.eval()


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing\.onnx"):
        OnnxFile(tmp_path / "missing.onnx")
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x07 cut short")
    with pytest.raises(ValueError, match=r"cut\.onnx cannot be loaded by ONNX Runtime"):
        OnnxFile(tmp_path / "cut.onnx")


def test_new_weights_go_into_an_old_file_where_they_fit(float_file, tmp_path, monkeypatch):
    trained = digits_network()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.01)
    monkeypatch.setattr(
        "compress.onnx.export.onnx_bytes", lambda *_: pytest.fail("the network was traced again")
    )
    target = tmp_path / "model.onnx"
    export_onnx(trained, EXAMPLE, target, like=float_file)
    verify(target, trained, (images(30), np.zeros(30)), max_difference=1e-4)


def test_where_they_do_not_fit_the_network_is_traced(float_file, tmp_path, monkeypatch):
    traced = []
    monkeypatch.setattr("compress.onnx.export.onnx_bytes", lambda *_: traced.append(True) or b"traced")
    wider = digits_network(**{"stage0.width": 48})
    same_weights_other_forward = nn.Sequential(*digits_network().children())
    renamed = dict(zip(same_weights_other_forward._modules, digits_network()._modules, strict=True))
    for old, new in renamed.items():
        same_weights_other_forward._modules[new] = same_weights_other_forward._modules.pop(old)
    same_weights_other_forward.add_module("negated", _Negated())
    for network in (wider, same_weights_other_forward):
        export_onnx(network.eval(), EXAMPLE, tmp_path / "model.onnx", like=float_file)
    assert traced == [True, True]
