"""Profiles: shipped ones load, and a wrong one says what is wrong and what would be right."""

from pathlib import Path

import pytest

from runners.targets.profile import load_profile, shipped_profiles
from runners.targets.target import open_device


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_is_named_as_its_file(name: str) -> None:
    assert load_profile(name).name == name


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'cpu-ort'"):
        load_profile("cpu-otr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'a'\nbackend = 'onnxruntme'", "Did you mean 'onnxruntime'"),
        ("name = 'a'\nbackend = 'torch'\nthread = 1", "Did you mean 'threads'"),
        ("name = 'a'\nbackend = 'torch'\n[limits]\nparam = 1", "Did you mean 'params'"),
        (
            "name = 'a'\nbackend = 'torch'\nthreads = -1",
            "threads: Input should be greater than or equal to 0",
        ),
        ("name = 'a'\nbackend = 'remote'", "needs address"),
        ("name = 'a'\nbackend = 'analytic'", "macs_per_s"),
        ("name = 'a'\nbackend = 'torch'\nprecisions = ['fp8']", "unknown precision 'fp8'"),
        ("name = ", "is not TOML"),
    ],
)
def test_a_bad_file_says_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine.toml") as caught:
        load_profile(path)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no profile at"):
        load_profile(tmp_path / "none.toml")


def test_a_gpu_that_is_not_there_is_said_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a CUDA GPU"):
        open_device(load_profile("cuda-torch"))
