"""What is exported is one file that any batch size can be run through, equal to its network."""

from __future__ import annotations

import copy
import threading

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.onnx import export
from compress.onnx.export import INPUT_NAME, OPSET, OUTPUT_NAME, export_onnx, onnx_bytes
from compress.onnx.file import OnnxFile
from compress.onnx.verify import accuracy, verify
from tests.compress.networks import EXAMPLE, images


def test_the_file_equals_the_network_at_any_batch_size(float_file, network):
    run = OnnxFile(float_file)
    for count in (1, 3, 64):
        batch = images(count, seed=count)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        assert np.abs(run(batch) - expected).max() < 1e-4


def test_the_graph_is_folded_and_holds_nothing_of_the_machine(float_file):
    model = onnx.load(float_file)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert not kinds & {"Constant", "Identity", "Shape", "Cast"}
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {OPSET}
    assert [entry.name for entry in model.graph.input] == [INPUT_NAME]
    assert [entry.name for entry in model.graph.output] == [OUTPUT_NAME]
    assert b".py" not in float_file.read_bytes()
    assert [path.name for path in float_file.parent.iterdir()] == ["model.onnx"]


def test_the_same_network_gives_the_same_bytes(float_file, network):
    assert onnx_bytes(network, (1, 8, 8)) == float_file.read_bytes() == onnx_bytes(network, EXAMPLE)


class _Block(nn.Module):
    """What spaces of one's own hold: a reshape into heads, a class token, a GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 1, 16))
        self.norm, self.qkv, self.last = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 10)
        self.first = nn.Conv2d(1, 16, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).flatten(2).transpose(1, 2)
        batch, tokens, _ = x.shape
        x = self.norm(torch.cat([self.token.expand(batch, -1, -1), x], 1))
        q, k, v = self.qkv(x).reshape(batch, tokens + 1, 3, 4, -1).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens + 1, -1)
        return self.last(nn.functional.gelu(x)[:, 0])


def _operators(network: nn.Module, example: Tensor | tuple[int, ...]) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(onnx_bytes(network, example)).graph.node]


def test_reshapes_cost_no_operators_of_their_own_and_gelu_is_one():
    operators = _operators(_Block(), EXAMPLE)
    assert operators.count("Gelu") == 1
    # Of the class token's copies alone the number follows from the batch.
    assert sum(operators.count(kind) for kind in ("Shape", "Gather", "Unsqueeze")) <= 6
    assert operators.count("Concat") <= 2


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.MultiheadAttention(16, 2, batch_first=True), (5, 16)),
        (nn.GRU(8, 16, batch_first=True), (5, 8)),
        (nn.Sequential(nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.AdaptiveAvgPool2d(4)), (1, 10, 10)),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(5)),
            (1, 10, 10),
        ),  # torch.export alone takes it
        (nn.Linear(8, 4).bfloat16(), (8,)),
        (nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 4)), torch.randint(0, 50, (1, 12))),
        (nn.Identity(), (8,)),
    ],
)
def test_layers_of_all_kinds_run_at_any_batch(network, shape, capfd):
    layer = _First(network).eval()
    run = OnnxFile(onnx_bytes(layer, shape))
    for count in (1, 5):
        inputs = shape.expand(count, -1) if isinstance(shape, Tensor) else torch.randn(count, *shape)
        with torch.no_grad():
            expected = layer.float()(inputs).numpy()
        np.testing.assert_allclose(run(inputs.numpy()), expected, atol=1e-5)
    assert capfd.readouterr() == ("", "")  # exporters are talkative


class _First(nn.Module):
    """A layer's first output; attention takes its input three times."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        return output[0] if isinstance(output, tuple) else output


def test_a_condition_on_shapes_is_traced_and_one_on_values_is_refused_by_name(tmp_path):
    class Careful(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() if x.shape[1] == 1 else x

    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > -1e9 else -x  # a comparison on any one input would not notice

    assert _operators(Careful(), EXAMPLE) == ["Relu"]
    with pytest.raises(ValueError, match="Branching cannot be exported to ONNX: "):
        export_onnx(Branching(), EXAMPLE, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "condition",
    [
        lambda x: torch.equal(x, x.abs()),
        lambda x: x.equal(x.abs()),
        lambda x: torch.allclose(x, x.abs()),
        lambda x: torch.is_nonzero((x < -1e9).sum()),
    ],
)
def test_conditions_on_values_of_which_the_tracer_says_nothing_are_refused(condition):
    """None holds for the normal numbers that the file is tried on, and each for some images."""

    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -x if condition(x) else x

    with pytest.raises(ValueError, match=r"Branching cannot be exported .*is a condition on values"):
        onnx_bytes(Branching(), EXAMPLE.shape[1:])


@pytest.mark.parametrize(("special", "batch"), [(lambda n: n == 1, 1), (lambda n: n >= 4, 8)])
def test_a_condition_on_the_batch_is_refused_with_the_batch_and_the_reason(special, batch):
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x if special(x.shape[0]) else x

    with pytest.raises(ValueError, match=rf"at a batch of {batch} and not at 3: a condition on the batch"):
        onnx_bytes(Branching(), EXAMPLE)


def test_a_network_that_does_not_run_on_one_image_is_refused():
    class Several(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[0] == 1:
                raise RuntimeError("give me more")
            return x

    with pytest.raises(ValueError, match=r"Several does not run on inputs of \(1, 1, 8, 8\): give me more"):
        onnx_bytes(Several(), EXAMPLE)


class _Counting(nn.Module):
    """Whose trace holds the batch as a constant."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[index].relu() for index in range(len(x))])


class _Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, training=True)


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class _Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class _Uncopyable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        return x


class _Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((1, 2, 3)).sub(torch.nan)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            _Counting(),
            "_Counting cannot be exported to ONNX: .* over the batch in forward makes it a constant",
        ),
        (_Random(), "_Random cannot be exported to ONNX: the file is not the network: an output differs by"),
        (_Broken(), "the network's outputs are not finite, so its file cannot be compared"),
        (_Uncopyable(), "_Uncopyable cannot be exported to ONNX: cannot pickle"),
        (_Pair(), "_Pair gives a tuple; only networks that give one tensor"),
        (_Two(), r"_Two does not run on inputs of \(3, 1, 8, 8\): .*missing 1 required positional argument"),
        (nn.Linear(3, 3), r"Linear does not run on inputs of \(3, 1, 8, 8\): .*cannot be multiplied"),
    ],
)
def test_what_is_not_one_network_at_any_batch_is_refused_with_the_reason(tmp_path, network, words):
    with pytest.raises(ValueError, match=words):
        export_onnx(network, EXAMPLE, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_the_network_is_never_written(tmp_path, monkeypatch):
    """Whatever goes wrong on the way: here a folding that forgets the convolution's bias."""
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forgetful(module: nn.Module) -> nn.Module:
        fused = copy.deepcopy(module)
        fused.get_submodule("0").register_parameter("bias", None)
        return fused

    monkeypatch.setattr(export, "fuse", forgetful)
    with pytest.raises(ValueError, match="the file is not the network: an output differs by"):
        export_onnx(network, EXAMPLE, tmp_path / "model.onnx")
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


@pytest.mark.parametrize(
    ("expected", "got", "equal"),
    [
        ([[1, 2], [3, 0]], [[0, 5], [0, 1]], 0.5),  # (N, classes)
        ([1, -2, 3, -4], [2, -1, -3, -4], 0.75),  # (N,): the sign
        ([[1], [-2]], [[1], [2]], 0.5),  # (N, 1)
        ([[[[1, 1]], [[0, 0]]]], [[[[1, 0]], [[0, 1]]]], 0.5),  # (N, classes, height, width)
        ([[[[1, -1]]]], [[[[1, 1]]]], 0.5),  # (N, 1, height, width)
    ],
)
def test_predictions_are_compared_whatever_the_shape_of_the_outputs(tmp_path, expected, got, equal):
    right, other = torch.tensor(expected).float(), np.array(got, np.float32)
    network = _Given(right)
    data = (images(len(right)), np.zeros(len(right)))
    record = verify(
        tmp_path, network, data, run=lambda path, images: other, score=lambda outputs, labels: 1.0
    )
    assert record.equal_predictions == equal


class _Given(nn.Module):
    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _: Tensor) -> Tensor:
        return self.outputs


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
