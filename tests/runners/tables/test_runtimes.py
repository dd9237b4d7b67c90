"""One model through several runtimes, each in what it has; the advice follows from the intervals."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from torch import nn

from results.timing import Timing, not_measured
from runners.tables.commands import compare_runtimes
from runners.tables.runtimes import Tried, advice, compare, lines
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import load_profile


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 4)
    ).eval()
    file = tmp_path_factory.mktemp("runtimes") / "model.onnx"
    file.write_bytes(onnx_bytes(network, (3, 8, 8)))
    return file


def test_each_runtime_is_tried_in_its_own_formats_and_one_that_cannot_says_why(model: Path) -> None:
    profiles = [load_profile(name) for name in ("cpu-ort", "cpu-mnn", "cpu-torch")]
    done: list[tuple[int, int]] = []
    rows = compare(
        model,
        profiles,
        batches=(1, 8),
        threads=(1,),
        precisions=("fp32", "fp16"),
        seconds_each=0.1,
        progress=lambda made, total: done.append((made, total)),
    )
    found = {(row.profile, row.precision, row.batch): row for row in rows}
    assert {key[:2] for key in found} == {
        ("cpu-ort", "fp32"),
        ("cpu-mnn", "fp32"),
        ("cpu-mnn", "fp16"),
        ("cpu-torch", "fp32"),
    }
    for name in ("cpu-ort", "cpu-mnn"):
        one, many = (found[name, "fp32", batch].timing for batch in (1, 8))
        assert 0 < one.median_ms < many.median_ms
    assert found["cpu-mnn", "fp16", 1].size_bytes < 0.7 * found["cpu-mnn", "fp32", 1].size_bytes
    assert "takes no ONNX files" in found["cpu-torch", "fp32", 1].timing.reason
    assert done[-1] == (12, 12)  # two runtimes that ran, two batches, three rounds


def test_a_file_is_measured_with_the_batch_that_a_row_names(model: Path, tmp_path: Path) -> None:
    """One that leaves all sizes open with each batch; one that fixes its batch with that alone."""
    profiles, found = [load_profile("cpu-ort")], {}
    for name, sizes in (("open", ("n", 3, "h", "w")), ("fixed", (1, 3, 8, 8))):
        given = onnx.load(model)
        for axis, size in zip(given.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
            if isinstance(size, str):
                axis.dim_param = size
            else:
                axis.dim_value = size
        onnx.save(given, tmp_path / f"{name}.onnx")
        rows = compare(
            tmp_path / f"{name}.onnx",
            profiles,
            input_shape=(3, 8, 8),
            batches=(1, 32),
            threads=(1,),
            precisions=("fp32",),
            seconds_each=0.1,
        )
        found[name] = {row.batch: row.timing.median_ms for row in rows}
    assert found["open"][32] > 4 * found["open"][1]
    assert list(found["fixed"]) == [1]


def test_inputs_of_integers_are_a_reason_and_end_nothing(tmp_path: Path) -> None:
    given = onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, ["n", 6])
    found = onnx.helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, ["n", 6])
    cast = onnx.helper.make_node("Cast", ["tokens"], ["found"], to=onnx.TensorProto.FLOAT)
    opset = [onnx.helper.make_opsetid("", 17)]
    graph = onnx.helper.make_graph([cast], "tokens", [given], [found])
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "tokens.onnx")
    profiles = [load_profile(name) for name in ("cpu-ort", "cpu-mnn")]
    took, refused = compare(
        tmp_path / "tokens.onnx",
        profiles,
        batches=(1,),
        threads=(1,),
        precisions=("fp32",),
        seconds_each=0.1,
    )
    assert took.timing.status == "measured"
    assert refused.timing.reason == "input 'tokens' of the file is int64, and images are float"


def row(runtime: str, low_ms: float, high_ms: float, precision: str = "fp32") -> Tried:
    """A row that was measured in an interval."""
    timing = Timing(median_ms=(low_ms + high_ms) / 2, low_ms=low_ms, high_ms=high_ms, repeats=9)
    return Tried(
        runtime=runtime,
        profile=runtime,
        precision=precision,
        threads=1,
        batch=1,
        timing=timing,
        size_bytes=1000,
    )


def test_the_advice_names_the_fastest_and_those_that_cannot_be_told_from_it() -> None:
    rows = [row("slow", 3, 4), row("near", 1.1, 1.4), row("first", 1, 1.2), row("first", 0.4, 0.6, "int8")]
    best, lower = advice(rows)
    assert best == "1 thread, batch 1: first is the fastest in fp32; near cannot be told from it"
    assert lower.startswith("1 thread, batch 1: first in int8 is 2.20 times as fast")
    (alone,) = advice([row("slow", 3, 4), row("first", 1, 1.2), row("first", 0.9, 1.3, "int8")])
    assert alone.endswith("first is the fastest in fp32")  # int8 overlaps with it
    failed = replace(rows[0], timing=not_measured("failed", "the runtime crashed (aborted) on this model"))
    said = lines([failed, *rows[1:]])
    assert [line.split()[0] for line in said[1:5]] == ["first", "first", "near", "slow"]
    assert said[4].endswith("failed: the runtime crashed (aborted) on this model")


def test_bad_input_is_refused_before_anything_is_measured(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "cpu-ort"\nruntime = "mnn"\n')
    with pytest.raises(ValueError, match="two profiles are called 'cpu-ort'"):
        compare_runtimes(str(model), profiles=f"cpu-ort,{tmp_path / 'mine.toml'}")
    with pytest.raises(ValueError, match="unknown profile 'cpu-mnm'. Did you mean 'cpu-mnn'"):
        compare_runtimes(str(model), profiles="cpu-ort,cpu-mnm")
    with pytest.raises(ValueError, match="number over 0"):
        compare_runtimes(str(model), seconds=float("nan"))
