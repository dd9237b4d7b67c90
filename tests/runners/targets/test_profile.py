"""Profiles: shipped ones load, and a wrong one says what is wrong and what would be right."""

import math
from pathlib import Path

import pytest

from runners.targets.hardware import Limits
from runners.targets.profile import load_profile, shipped_profiles
from runners.targets.target import open_target


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_is_named_as_its_file(name: str) -> None:
    assert load_profile(name).name == name


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'cpu-ort'"):
        load_profile("cpu-otr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name = 'a'\nruntime = 'onnxruntme'",
            "runtime: unknown runtime 'onnxruntme'. Did you mean 'onnxruntime'",
        ),
        ("name = 'a'\nruntime = 'torch'\nthread = 1", "Did you mean 'threads'"),
        ("name = 'a'\nruntime = 'torch'\n[limits]\nparam = 1", "Did you mean 'params'"),
        (
            "name = 'a'\nruntime = 'torch'\nthreads = -1",
            "threads: Input should be greater than or equal to 0",
        ),
        ("name = 'a'\nruntime = 'remote'", "runtime.address: 'remote' needs this and has no default"),
        (
            "name = 'a'\nruntime = { kind = 'analytic', mac_per_s = 1 }",
            "runtime.mac_per_s: 'analytic' has no setting 'mac_per_s'. Did you mean 'macs_per_s'",
        ),
        (
            "name = 'a'\nruntime = { kind = 'analytic', macs_per_s = 0, bytes_per_s = 1 }",
            "runtime.macs_per_s = 0: Input should be greater than 0",
        ),
        ("name = 'a'\nruntime = { kind = 'torch', device = 'gpu' }", "Input should be 'cpu' or 'cuda'"),
        ("name = 'a'\nruntime = 'torch'\nprecisions = ['fp8']", "unknown precision 'fp8'"),
        (
            "name = 'a'\nbackend = 'torch'",
            "backend: profiles have no such key any more; the runtime is named by",
        ),
        ("name = 'a'\nruntime = 'torch'\nparts = ['gone.py']", "parts: there is no file"),
        ("name = 'a'", "runtime: Field required"),
        ("name = ", "is not TOML"),
    ],
)
def test_a_bad_file_says_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine.toml") as caught:
        load_profile(path)
    assert message in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "thread = 1\nruntime = { kind = 'remote', adress = 'me@box' }\nparts = ['no.such.module']"
    )
    with pytest.raises(ValueError, match="mine.toml") as caught:
        load_profile(path)
    for words in ("name: Field required", "'threads'", "runtime.adress", "there is no module"):
        assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no profile at"):
        load_profile(tmp_path / "none.toml")


def test_a_gpu_that_is_not_there_is_said_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a CUDA GPU"):
        open_target(load_profile("cuda-torch"))


def test_a_limit_on_energy_is_one_on_the_latency_where_the_power_is_known() -> None:
    assert Limits(latency_ms=20, energy_mj=30).most_ms(2.0) == 15
    assert Limits(latency_ms=10, energy_mj=30).most_ms(2.0) == 10
    assert Limits(latency_ms=10).most_ms(None) == 10
    assert Limits().most_ms(2.0) == math.inf
    with pytest.raises(ValueError, match=r"energy_mj = 30 .* nobody knows .* give the profile its watts"):
        Limits(energy_mj=30).most_ms(None)
