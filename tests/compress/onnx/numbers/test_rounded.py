"""A network with rounded parts computes what integers would, and nobody else's weights change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from compress.onnx.layers import weighted_nodes
from compress.onnx.numbers.rounded import rounded
from compress.onnx.static import Int8, quantize_static
from compress.plain import faithful_copy
from compress.steps import Quantize
from results.precision import in_precision
from tests.compress.networks import images
from tests.compress.targets import context


def _network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        second = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU())
        return nn.Sequential(first, second, nn.Sequential(nn.Flatten(), nn.Linear(6 * 36, 10))).eval()


def test_weights_and_inputs_are_whole_numbers_of_steps():
    """Against loops in float64 over one linear layer."""
    layer, given = nn.Linear(5, 3), torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.weight[1] = 0.0
    weight, x = layer.weight.detach().double().numpy(), given.double().numpy()
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    step = (high - low) / 255
    zero = round(-low / step)
    expected = np.zeros((20, 3))
    for n in range(20):
        for out in range(3):
            largest = max(abs(value) for value in weight[out])
            for i in range(5):
                whole = min(max(round(x[n, i] / step) + zero, 0), 255) - zero
                part = round(weight[out, i] / (largest / 127)) * largest / 127 if largest else 0.0
                expected[n, out] += whole * step * part
            expected[n, out] += float(layer.bias[out])
    np.testing.assert_allclose(rounded(layer, ("",), given)(given).detach().numpy(), expected, atol=1e-5)


def test_other_parts_and_shared_weights_stay_as_they_are():
    network, x = _network(), torch.from_numpy(images(16))
    kept = network[1][0].weight
    values, right = kept.detach().clone(), network(x)
    got = rounded(network, ("1",), x)(x)
    assert torch.equal(kept, values), "the weight is another network's too"
    assert network[1][0].weight is not kept
    assert not torch.equal(got, right)
    assert torch.equal(network[0](x), _network()[0](x)), "outside of the parts nothing is rounded"


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """The float file of a network whose second part is to be int8."""
    network = _network()
    for part, precision in zip(network, ("fp32", "int8", "fp32"), strict=True):
        in_precision(part, precision)
    path = tmp_path_factory.mktemp("marked") / "float.onnx"
    export_onnx(network, (1, 8, 8), path)
    return network, path


def int8_layers(file):
    """Whether the weight of each layer of a file is int8, by its name."""
    model = onnx.load(file)
    held = {entry.name: entry.data_type for entry in model.graph.initializer}
    return {one.name: held[one.weight] == onnx.TensorProto.INT8 for one in weighted_nodes(model)}


@pytest.mark.parametrize("operators", [(), ("Conv", "Gemm")])
def test_a_file_is_int8_in_the_named_modules_alone(tmp_path, marked, operators):
    _, path = marked
    quantize_static(path, images(32), tmp_path / "made.onnx", Int8(operators=operators, only=("1",)))
    assert int8_layers(tmp_path / "made.onnx") == {"0.0": False, "1.0": True, "2.1": False}


class _Rows(nn.Module):
    """Parts in rows of rows, and in a list, which is not called itself."""

    def __init__(self) -> None:
        super().__init__()
        rows = [nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)) for _ in range(4)]
        self.stem = nn.Conv2d(1, 4, 1)
        self.rows, self.listed = nn.Sequential(nn.Sequential(*rows[:2])), nn.ModuleList(rows[2:])

    def forward(self, x):
        x = self.rows(self.stem(x))
        for one in self.listed:
            x = one(x)
        return x


@pytest.mark.parametrize("part", ["rows.0.1", "rows.0.1.2", "listed.1", "rows", "stem"])
def test_parts_in_rows_of_modules_are_found_in_the_file(tmp_path, part):
    export_onnx(_Rows().eval(), (1, 8, 8), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", images(8), tmp_path / "made.onnx", Int8(only=(part,)))
    found = int8_layers(tmp_path / "made.onnx")
    assert len(found) == 9
    assert {name for name, is_int8 in found.items() if is_int8} == {
        name for name in found if f"{name}.".startswith(f"{part}.")
    }


def test_the_step_makes_the_file_that_the_search_chose_and_none_where_it_chose_float(tmp_path, marked):
    network, path = marked
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(32))
    step = Quantize(operators=("convolutions",))
    (made,) = step.propose(Candidate(network=network, file=path), asked, tmp_path)
    assert made.label == "int8 for convolutions in 1"
    assert int8_layers(made.file) == {"0.0": False, "1.0": True, "2.1": False}
    plain = _network()
    for part in plain:
        in_precision(part, "fp32")
    with pytest.raises(ValueError, match="chose float for every part"):
        step.propose(Candidate(network=plain, file=path), asked, tmp_path)


def test_a_file_is_not_called_int8_where_what_was_chosen_stays_float(tmp_path, marked):
    network, path = faithful_copy(marked[0]), marked[1]
    for part, precision in zip(network, ("int8", "fp32", "fp32"), strict=True):
        in_precision(part, precision)
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(32))
    facts = replace(asked.target.facts, float_thin=True)  # as its first convolution is
    asked = replace(asked, target=replace(asked.target, facts=facts))
    with pytest.raises(ValueError, match="nothing in 0 becomes int8"):
        Quantize().propose(Candidate(network=network, file=path), asked, tmp_path)


def test_a_file_that_does_not_say_what_its_operators_are_of_is_refused(tmp_path, marked):
    _, path = marked
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"
    onnx.save(model, tmp_path / "nameless.onnx")
    with pytest.raises(ValueError, match="do not say which modules they are of"):
        quantize_static(tmp_path / "nameless.onnx", images(8), tmp_path / "made.onnx", Int8(only=("1",)))
