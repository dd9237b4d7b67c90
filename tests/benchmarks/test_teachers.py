"""The benchmark of teachers: its table compares seed by seed, and every way has methods that there are."""

from __future__ import annotations

from nas.distillation import METHODS
from tests.benchmarks.teachers import LABELS, WAYS, network, table


def line(way: str, seed: int, accuracy: float) -> dict[str, object]:
    return {"way": way, "seed": seed, "epochs": 3, "accuracy": accuracy}


def test_ways_are_compared_seed_by_seed() -> None:
    lines = [line(LABELS, 0, 0.5), line(LABELS, 1, 0.7), line("kd", 0, 0.52), line("kd", 1, 0.76)]
    rows = table(lines, [0.9]).splitlines()
    assert rows[2] == "| labels alone | 3 | 60.0 % |  |"
    assert rows[3] == "| kd | 3 | 64.0 % | +4.0 ± 2.0 |"
    assert rows[-1] == "Teachers: 90.0 %."


def test_ways_have_methods_that_there_are_and_networks_are_of_their_seed() -> None:
    for methods in WAYS.values():
        for name, settings in methods:
            METHODS.configured(name, settings)
    first, again, other = (network(4, 1, seed)[0][0].weight for seed in (0, 0, 1))  # type: ignore[index]
    assert first.equal(again)
    assert not first.equal(other)
