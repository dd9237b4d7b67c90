"""Power from the counters of Linux, on a tree of files like its own."""

from pathlib import Path

import pytest

from runners.measuring.power import watts_during


def counter(root: Path, name: str, microjoules: int) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "energy_uj").write_text(f"{microjoules}\n")
    (root / name / "max_energy_range_uj").write_text("10000000\n")


def test_packages_are_added_up_parts_are_not_and_a_counter_may_turn_over(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", 9_000_000)
    counter(tmp_path, "intel-rapl:0:0", 0)
    counter(tmp_path, "intel-rapl:1", 1_000_000)

    def work() -> None:
        counter(tmp_path, "intel-rapl:0", 2_000_000)  # 3 J, past the turn
        counter(tmp_path, "intel-rapl:0:0", 5_000_000)
        counter(tmp_path, "intel-rapl:1", 6_000_000)  # 5 J

    seconds = iter((10.0, 12.0))
    assert watts_during(work, root=tmp_path, clock=lambda: next(seconds)) == pytest.approx(4.0)


def test_without_a_readable_counter_nothing_is_run(tmp_path: Path) -> None:
    ran: list[int] = []
    assert watts_during(lambda: ran.append(1), root=tmp_path / "none") is None
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()  # cannot be read, as for others than root
    assert watts_during(lambda: ran.append(1), root=tmp_path) is None
    assert not ran
