"""ExecuTorch as a device where it is installed, and what is said where it is not."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from compress.target import Target
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import check_outputs, check_timing, files_of

HERE = find_spec("executorch") is not None
needs_it = pytest.mark.skipif(not HERE, reason="ExecuTorch is not installed (CONTRIBUTING.md)")


@pytest.fixture(scope="module")
def target() -> Target:
    return open_target(load_profile("cpu-executorch"))


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files_of(target, tmp_path_factory.mktemp("executorch"))


@needs_it
@pytest.mark.parametrize(("precision", "difference"), [("fp32", 1e-5), ("int8", 0.1)])
def test_a_file_computes_what_the_network_does(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    check_outputs(target, files[precision], difference)


@needs_it
def test_files_are_timed_side_by_side(target: Target, files: dict[str, Path], tmp_path: Path) -> None:
    check_timing(target, files["fp32"], tmp_path)
    with pytest.raises(ValueError, match="executorch-xnnpack does not tell the time of single operators"):
        target.operator_times(files["fp32"])


@pytest.mark.skipif(HERE, reason="ExecuTorch is installed")
def test_where_it_is_not_installed_it_is_said_how() -> None:
    with pytest.raises(ValueError, match=r"pip install --upgrade 'quarry-nas\[executorch\]'"):
        open_target(load_profile("cpu-executorch"))
