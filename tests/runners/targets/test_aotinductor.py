"""AOTInductor as a device: its packages compute what the network computes; without a compiler it says so."""

from pathlib import Path

import numpy as np
import pytest

from compress.target import Target
from runners.targets import aotinductor_calls
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import SHAPE, check_outputs, network


@pytest.fixture(scope="module")
def target() -> Target:
    return open_target(load_profile("cpu-aotinductor"))


@pytest.fixture(scope="module")
def file(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all tests: to compile it takes seconds."""
    made = tmp_path_factory.mktemp("aotinductor") / "a.pt2"
    target.export(network(), SHAPE, made)
    return made


def test_a_file_computes_what_the_network_does(target: Target, file: Path) -> None:
    check_outputs(target, file, 1e-5)
    with pytest.raises(ValueError, match="aotinductor does not tell the time of single operators"):
        target.operator_times(file)


def test_a_file_that_is_none_harms_no_other(target: Target, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(b"this is no model of any runtime")
    good, none = target.measure([file, broken], budget_s=0.3)
    assert 0 < good.median_ms < 10
    assert none.status in ("unsupported", "failed")
    assert none.reason
    with pytest.raises(ValueError, match="does not run in aotinductor"):
        target.run(broken, np.zeros((1, *SHAPE), np.float32))


def test_code_for_one_thread_is_not_timed_on_two(file: Path, tmp_path: Path) -> None:
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((1, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="compiled for 1 threads, and 2 are wanted"):
        aotinductor_calls.run(str(file), str(images), str(tmp_path / "outputs.npy"), threads=2, batch=1)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler, and no-such-compiler cannot be run"):
        open_target(load_profile("cpu-aotinductor"))
    entries = {"name": "a", "runtime": "aotinductor", "precisions": ["int8"]}
    with pytest.raises(ValueError, match="has precision 'int8', but runtime 'aotinductor' runs fp32"):
        open_target(HardwareProfile.model_validate(entries))
