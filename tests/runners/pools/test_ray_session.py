"""Starting and ending Ray: quiet, quick to say no, from any folder, and nothing left behind."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from runners.pools.evaluate_all import evaluate_all
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import import_ray
from search_spaces.space import Arch
from tests.runners.pools import evaluators

SCRIPT = """
import sys, os, signal, time
from runners.pools.ray_pool import RayPool
import beside

def make(arrays):
    def evaluate(arch):
        print("noise from a worker")
        if arch["x"] == 1:
            os.kill(os.getpid(), 9)
        return {"accuracy": beside.score(arch["x"])}
    return evaluate

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
    with RayPool(make, workers=1) as pool:
        before = time.monotonic()
        pool.start()
        assert time.monotonic() - before < 1, "start must not wait"
        for x in range(3):
            pool.submit(x, {"x": x})
        print([(o.ticket, o.scores) for o in (pool.next() for _ in range(3))], flush=True)
        if "stay" in sys.argv:
            time.sleep(600)
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """A user's script with a module beside it, which Ray must find wherever it is run."""
    (tmp_path / "job.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("def score(x):\n    return x / 4\n")
    return [sys.executable, str(tmp_path / "job.py")]


@pytest.fixture
def not_ray() -> Iterator[int]:
    """A port where something answers that is not Ray."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def test_from_any_folder_without_noise(script: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(script, cwd=elsewhere, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert sorted(eval(done.stdout)) == [(0, {"accuracy": 0.0}), (1, None), (2, {"accuracy": 0.5})]


def test_a_killed_driver_leaves_no_worker_and_no_server(script: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([*script, "stay"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline().startswith("[")
            ours = _without_agents(psutil.Process(driver.pid).children(recursive=True))
        finally:
            driver.kill()
    assert any("RayWorker" in name for name in ours.values()), ours
    assert any("raylet" in name for name in ours.values()), ours
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert not [ours[process] for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_sigterm_is_left_to_the_driver_which_ends_what_it_began(script: list[str]) -> None:
    with subprocess.Popen([*script, "stay"], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith("[")
        ours = _without_agents(psutil.Process(driver.pid).children(recursive=True))
        driver.terminate()
        assert driver.wait(timeout=60) == 9
    assert not [command for process, command in ours.items() if process.is_running()]


def _without_agents(processes: list[psutil.Process]) -> dict[psutil.Process, str]:
    """Commands by process. Ray's agents are left out: they go too, a minute later."""
    commands: dict[psutil.Process, str] = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it ended just now
            commands[process] = " ".join(process.cmdline())
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return {process: command for process, command in commands.items() if not command.startswith(agents)}


def test_ten_workers_read_one_copy(tmp_path: Path) -> None:
    """Ten times 200 MB in the sum of resident memory, and once in the sum of proportional shares."""
    weights = np.ones(evaluators.BIG, dtype=np.float32)
    size_mb = weights.nbytes / 2**20
    archs: list[tuple[int, Arch]] = [
        (x, {"x": x, "workers": 10, "meeting": str(tmp_path)}) for x in range(10)
    ]
    with RayPool(evaluators.memory, {"weights": weights}, workers=10) as pool:
        told = [outcome.scores or {} for outcome in evaluate_all(pool, archs, lambda outcome: None)]
    assert not import_ray().is_initialized(), "the pool ends the session that it began"
    assert {scores["sum"] for scores in told} == {float(evaluators.BIG)}
    assert {scores["writeable"] for scores in told} == {0.0}
    assert min(scores["resident_mb"] for scores in told) > 0.95 * size_mb, "each has all of it in reach"
    assert sum(scores["proportional_mb"] for scores in told) < 1.3 * size_mb, "and there is one copy of it"


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_an_address_that_does_not_answer_fails_within_seconds(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{host}:{server.getsockname()[1]}"  # free once the server is closed
    _refused(address, "no Ray cluster answers at ")


def test_what_is_not_ray_fails_within_seconds(not_ray: int) -> None:
    _refused(f"127.0.0.1:{not_ray}", "is not a Ray cluster")


def test_auto_without_a_cluster_says_so() -> None:
    _refused("auto", "could not join the Ray cluster at auto: Could not find any running Ray instance")


def _refused(address: str, words: str) -> None:
    start = time.monotonic()
    with RayPool(evaluators.plain, address=address) as pool:
        pool.submit(0, {"x": 0})
        with pytest.raises(ConnectionError, match=words):
            pool.next()
    assert time.monotonic() - start < 10
