"""Other programs beside a training: what is said, and when nothing is."""

from __future__ import annotations

import pytest
import torch

from runners.training import crowd as module
from runners.training.crowd import crowded


@pytest.mark.parametrize(
    ("threads", "busy", "advice"),
    [(8, 1.2, "OMP_NUM_THREADS=6"), (2, 1.0, "OMP_NUM_THREADS=1"), (2, 5.0, "OMP_NUM_THREADS=1")],
)
def test_it_says_with_how_many_threads_to_go_on(
    monkeypatch: pytest.MonkeyPatch, threads: int, busy: float, advice: str
) -> None:
    monkeypatch.setattr(module.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "busy_cores", lambda: busy)
    assert f"{busy} cores busy, and {threads} threads" in crowded(torch.device("cpu"))
    assert advice in crowded(torch.device("cpu"))


@pytest.mark.parametrize(("threads", "busy", "device"), [(1, 2.0, "cpu"), (8, 0.1, "cpu"), (8, 4.0, "cuda")])
def test_one_thread_a_quiet_machine_and_a_gpu_need_no_word(
    monkeypatch: pytest.MonkeyPatch, threads: int, busy: float, device: str
) -> None:
    monkeypatch.setattr(module.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "busy_cores", lambda: busy)
    assert crowded(torch.device(device)) == ""
