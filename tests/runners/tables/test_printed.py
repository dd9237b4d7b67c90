"""What tools print is read as they print it, and becomes the table of a device.

The texts in ``printed/`` are of real runs: benchncnn on a Raspberry Pi (Tencent/ncnn, pull request 5151),
benchmark_model on a computer and a phone (tensorflow/tensorflow, issues 73862 and 42507), executor_runner
(pytorch/executorch, issue 3919, but for its last lines, which are in the form of its source).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas.costs.layers.probes import network_key, rows_of
from nas.costs.model.fit import fit_table
from nas.costs.table.table import load_table
from results.files import read_json, write_json
from runners.tables.commands import make_kit
from runners.tables.kit import read_kit
from runners.tables.printed import read_printed, take_printed
from runners.tables.transfer import transfer_table
from tests.nas.costs.model.test_transferred import Tasteful, whole_table
from tests.nas.costs.synthetic import layers, space

TEXTS = Path(__file__).parent / "printed"


def test_benchncnn_is_read() -> None:
    found = read_printed((TEXTS / "benchncnn.txt").read_text())
    assert (found.runtime, found.threads) == ("ncnn", 4)
    assert list(found.timings) == ["squeezenet", "squeezenet_int8", "mobilenet", "efficientnetv2_b0"]
    one = found.timings["efficientnetv2_b0"]
    assert (one.median_ms, one.low_ms, one.high_ms, one.repeats) == (16.90, 16.38, 19.24, 10)


def test_what_benchncnn_rounds_to_nothing_is_said_or_lies_within_the_interval() -> None:
    line = "loop_count = 9\n    4.param  min =    0.00  max =    0.02  avg =    0.0{}\n"
    timing = read_printed(line.format(1)).timings["4"]
    assert 0 < timing.low_ms <= 0.005 < timing.median_ms
    with pytest.raises(ValueError, match="4.param benchncnn prints 0.00 ms: .* whole networks"):
        read_printed(line.format(0))


def test_benchmark_model_is_read_without_its_warm_up() -> None:
    text = (TEXTS / "benchmark_model.txt").read_text()
    found = read_printed(text)
    assert (found.runtime, found.threads) == ("litert", 4)
    assert list(found.timings) == ["mobilenet_v1_1.0_224", "espcn_harmonic_2x_slim_w_cl"]
    one = found.timings["mobilenet_v1_1.0_224"]
    assert (one.median_ms, one.repeats) == (13.5202, 74)
    assert one.high_ms - one.median_ms == pytest.approx(1.96 * 0.470 / 74**0.5)
    cut = text[: text.index("Inference timings in us: Init: 855")]  # the second died before its end
    assert list(read_printed(cut).timings) == ["mobilenet_v1_1.0_224"]


def test_what_the_profiler_of_benchmark_model_counts_is_no_latency() -> None:
    text = (TEXTS / "benchmark_model.txt").read_text()
    profiler = "Timings (microseconds): count=9 first=5 curr=5 min=4 max=6 avg=5 std=1\n"
    found = read_printed(text + profiler).timings["espcn_harmonic_2x_slim_w_cl"]
    assert (found.median_ms, found.repeats) == (33.2094, 50)


def test_executor_runner_is_read_and_a_model_that_failed_left_out() -> None:
    found = read_printed((TEXTS / "executor_runner.txt").read_text())
    assert (found.runtime, found.threads) == ("executorch", None)
    assert {name: one.median_ms for name, one in found.timings.items()} == {"model": 1.99125}


def test_executor_runner_says_the_threads_that_it_took_by_itself() -> None:
    said = "executor_runner.cpp:344] Resetting threadpool with num threads = 4\n"
    assert read_printed(said + (TEXTS / "executor_runner.txt").read_text()).threads == 4


@pytest.mark.parametrize("text", ["", "squeezenet took 8 ms", "Graph: [a.tflite]\nkilled"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there is no latency of benchncnn"):
        read_printed(text)


def test_runs_with_several_thread_counts_are_refused() -> None:
    text = (TEXTS / "benchncnn.txt").read_text()
    with pytest.raises(ValueError, match="runs with 1 and 4 threads are no one table"):
        read_printed(text + text.replace("num_threads = 4", "num_threads = 1"))


def printed_of(latency_ms: dict[int, float], threads: int = 1) -> str:
    lines = [
        f"{index:>16}.param  min = {ms:7.4f}  max = {ms:7.4f}  avg = {ms:7.4f}"
        for index, ms in latency_ms.items()
    ]
    return "\n".join(["loop_count = 8", f"num_threads = {threads}", *lines]) + "\n"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(space(), tmp_path_factory.mktemp("kits") / "kit", networks=10, say=lambda _: None)


@pytest.fixture
def own_kit(kit: Path, tmp_path: Path) -> Path:
    shutil.copytree(kit, tmp_path / "kit")
    return tmp_path / "kit"


def test_a_phone_gets_its_table_from_ten_networks_and_a_known_device(own_kit: Path, tmp_path: Path) -> None:
    """A kit of networks alone; what a tool printed of them; the table of another device."""
    assert "quarry table transfer TABLE... --measured kit --run RUN" in (own_kit / "README.txt").read_text()
    whole_table(Tasteful(0.01, 1e-6, 0.01), "known", tmp_path)
    new, here = Tasteful(0.03, 3e-6, 0.02), space()
    keys = [str(entry["key"]) for entry in read_json(own_kit / "kit.json")["models"]]
    assert len(keys) == 13
    assert len(set(keys)) == 10
    times = {i: new.of(here.build(here.to_arch(rows_of([key])[0]))) for i, key in enumerate(keys)}
    (tmp_path / "out.txt").write_text(printed_of(times))
    take_printed(own_kit, tmp_path / "out.txt", "a phone")
    said: list[str] = []
    transfer_table(
        [tmp_path / "known.parquet"], own_kit, tmp_path / "new.parquet", space=here, say=said.append
    )
    table = load_table(tmp_path / "new.parquet")
    assert (table.header.runtime, table.header.machine) == ("ncnn", "a phone")
    assert said[0].startswith("cpu-ort on a phone is taken for ")
    assert "each of the 7 networks" in said[1]
    assert "3 unseen networks" in said[2]
    model = fit_table(table, layers(), 0.95).model
    rows = here.canonical(here.sample(30, np.random.default_rng(4)))
    rows = np.array([row for row in rows if network_key(row) not in keys])
    truth = np.array([new.of(here.build(here.to_arch(row))) for row in rows])
    assert np.abs(model.latency_ms(rows) / truth - 1).mean() < 0.06


def test_models_of_which_nothing_was_printed_have_failed(own_kit: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text(printed_of({0: 1.5, 2: 2.5}))
    take_printed(own_kit, tmp_path / "out.txt", "a phone")
    table = read_kit(own_kit)
    assert table.lines.status.to_list() == ["measured", "failed", "measured", *["failed"] * 10]
    assert "there is no latency of it in what the tool of ncnn printed" in table.lines.reason[1]


@pytest.mark.parametrize(
    ("text", "machine", "words"),
    [
        (printed_of({0: 1.5}), "", "does not say on what it ran; name it"),
        (printed_of({77: 1.5}), "a phone", "a latency of '77', which is no model of .* 0 to 12"),
        (printed_of({0: 1.5}, threads=4), "a phone", "is of 4 threads and .* of 1"),
        ("nothing", "a phone", "out.txt: there is no latency of benchncnn"),
    ],
)
def test_texts_that_do_not_belong_to_a_kit_are_refused(
    own_kit: Path, tmp_path: Path, text: str, machine: str, words: str
) -> None:
    (tmp_path / "out.txt").write_text(text)
    with pytest.raises(ValueError, match=words):
        take_printed(own_kit, tmp_path / "out.txt", machine)
    assert not (own_kit / "measured.jsonl").exists()


def test_a_kit_for_all_threads_takes_any_and_one_for_several_images_none_of_benchncnn(
    own_kit: Path, tmp_path: Path
) -> None:
    job = read_json(own_kit / "kit.json")
    (tmp_path / "out.txt").write_text(printed_of({0: 1.5}, threads=8))
    write_json(own_kit / "kit.json", {**job, "threads": 0})
    take_printed(own_kit, tmp_path / "out.txt", "a phone")
    header = read_kit(own_kit).header
    assert header.threads == 8
    assert "half precision" in header.runtime_version
    write_json(own_kit / "kit.json", {**job, "threads": 0, "batch": 4})
    with pytest.raises(ValueError, match="benchncnn runs one image at a time, and .* is for 4 in a call"):
        take_printed(own_kit, tmp_path / "out.txt", "a phone")


def test_a_kit_of_few_networks_and_what_is_no_kit_are_refused(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 8 or more of them, not 7"):
        make_kit(space(), tmp_path / "few", networks=7)
    with pytest.raises(FileNotFoundError, match=r"is no kit: it has no kit\.json"):
        take_printed(tmp_path, tmp_path / "out.txt", "a phone")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        take_printed(kit, tmp_path / "out.txt", "a phone")
