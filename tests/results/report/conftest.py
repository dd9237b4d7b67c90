"""A finished run, which each test may change."""

import shutil

import pytest

from tests.results.report.finished_run import write_finished_run


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    return write_finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished, tmp_path):
    # Each line of a log waits for the disk; a copy does not.
    return shutil.copytree(finished, tmp_path / "run")
