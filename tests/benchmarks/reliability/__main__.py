"""What becomes of a job that is killed, damaged, or out of disk: the table of docs/reliability.md.

    python -m tests.benchmarks.reliability [FOLDER] [--moments 20] [--only kill,disk] [--job run]

Takes a small job of each kind (`quarry run` on the digits, `quarry compress-model`), under latencies that are
computed, so that a job follows from its seed. Prints every fault and writes the table of the kinds that are
there; they stay in FOLDER (runs/benchmarks/reliability), and a kind is tried again when its file there is
deleted. Exits 1 where a job ended wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from results.files import write_atomic, write_json
from tests.benchmarks.reliability import faults
from tests.benchmarks.reliability.commands import load
from tests.benchmarks.reliability.faults import Ending, Whole
from tests.benchmarks.reliability.jobs import jobs, write_images
from tests.benchmarks.reliability.table import table

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by tests.benchmarks.reliability -->", "<!-- up to here -->"
HALF_WAY = {
    "in training": lambda run: (run / "train" / "checkpoint.safetensors").exists(),
    "in the search": lambda run: _lines(run / "search" / "nsga2-population=4.jsonl") > 4,
    "in compression": lambda run: _lines(run / "compress" / "steps.jsonl") > 0,
}


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def kinds(whole: Whole, moments: int, seed: int, file: str) -> dict[str, Callable[[Path], Iterator[Ending]]]:
    """The kinds of faults by name, each made when called with a folder to work in."""

    def damaged_half_way(happened: Callable[[Path], bool], scratch: Path) -> Iterator[Ending]:
        state = faults.half_finished(whole, scratch / "half", happened)
        return faults.damaged(whole, state, scratch, file)

    half_way = {words: happened for words, happened in HALF_WAY.items() if words in whole.job.half_way}
    return {
        "kill -9": lambda scratch: faults.killed(whole, scratch, moments, seed),
        "file damaged when done": lambda scratch: faults.damaged(whole, whole.folder, scratch, file),
        **{
            f"file damaged {words}": partial(damaged_half_way, happened)
            for words, happened in half_way.items()
        },
        "disk full": lambda scratch: faults.disk_full(whole, scratch),
        "two processes": lambda scratch: faults.two_processes(whole, scratch),
        "another clock": lambda scratch: faults.clock_set_back(whole, scratch),
    }


def main() -> None:
    """Makes the faults and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/benchmarks/reliability"))
    parser.add_argument("--moments", type=int, default=20, help="random moments to kill each job at [20]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments [0]")
    parser.add_argument("--only", default="", help="parts of the names of kinds of faults, with commas")
    parser.add_argument("--job", default="", help="part of the name of a job: run, or compress")
    parser.add_argument("--file", default="", help="part of the name of the files to damage")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    load()
    whole_kinds = not options.file
    for job in jobs(write_images(folder / "images")):
        if options.job not in job.name:
            continue
        place = folder / job.name.split()[-1]
        whole = faults.undisturbed(job, place / "whole")
        made = kinds(whole, options.moments, options.seed, options.file)
        for name, make in made.items():
            file = place / f"{name}.json"
            if not any(part in name for part in options.only.split(",")) or (whole_kinds and file.exists()):
                continue
            endings = []
            for ending in make(place / name):
                repeated = "" if ending.repeated is None else f" ({ending.repeated:+.0%} time)"
                print(f"{job.name}, {name}: {ending.what}: {ending.how}{repeated} {ending.words}", flush=True)
                endings.append(ending)
                if whole_kinds:
                    write_json(file, [asdict(one) for one in endings])
    lines, wrong = table(folder)
    print("\n".join(lines))
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    write_atomic(PAGE, "\n".join([before + BEGIN, "", *lines, "", END + after]))
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
