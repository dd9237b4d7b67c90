"""The judge: networks made by hand against ``quarry run``, at equal latency and equal total cost.

    python -m tests.benchmarks.by_hand DATA --minutes 30 --limits 0.08
    python -m tests.benchmarks.by_hand DATA --minutes 60 --limits 0.06,0.12,0.25,0.6 --cores 2
    taskset -c 0 python -m tests.benchmarks.by_hand DATA --minutes 30 --cores 1 --side hand    (two terminals,
    taskset -c 1 python -m tests.benchmarks.by_hand DATA --minutes 30 --cores 1 --side quarry   one folder)
    python -m tests.benchmarks.by_hand --report --again --picture docs/by_hand.svg

The rules are in docs/results.md. Whatever is done stands in the folder of ``--out``; the same command goes on
after an interruption, and a network that is done is not made again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from results.files import write_atomic
from runners.recipe.paths import found
from tests.benchmarks.by_hand.candidates import PRECISIONS
from tests.benchmarks.by_hand.judge import by_hand, by_quarry, measured_again
from tests.benchmarks.by_hand.lines import HAND, Lines
from tests.benchmarks.by_hand.picture import picture
from tests.benchmarks.by_hand.setting import Setting, chosen_cores
from tests.benchmarks.by_hand.table import table
from tests.benchmarks.settings import keep


def main() -> None:
    """Runs the sides that are asked for, then prints the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended too
    parser = _parser()
    options = parser.parse_args()
    if not options.report:
        if not options.data or options.minutes is None:
            parser.error("give DATA and --minutes, or --report for what is there")
        setting = Setting(
            data=found(options.data, Path.cwd()),
            recipe=found(options.recipe, Path.cwd()),
            limits_ms=options.limits,
            minutes=options.minutes,
            cores=options.cores,
        )
    try:
        if not options.report:
            _run(setting, options)
        if options.again:
            measured_again(options.out)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    lines = Lines(options.out).latest()
    print(table(lines))
    if options.picture:
        if not lines:
            sys.exit(f"error: there are no results in {options.out} to draw")
        write_atomic(options.picture, picture(lines))


def _run(setting: Setting, options: argparse.Namespace) -> None:
    cores = chosen_cores(setting.cores)
    keep(setting, options.out)
    seeds = range(options.seeds)
    if options.side in ("hand", "both"):
        by_hand(
            setting,
            seeds=seeds,
            screen_epochs=options.screen,
            families=options.families,
            columns=(options.column,) if options.column else PRECISIONS,
            cores=cores,
            folder=options.out,
        )
    if options.side in ("quarry", "both"):
        by_quarry(
            setting, seeds=seeds, extra=options.set, label=options.label, cores=cores, folder=options.out
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.by_hand",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("data", nargs="?", default="", help="data source, as a recipe's data.source takes it")
    parser.add_argument("--minutes", type=_positive, help="budget of a seed for all limits; times the cores")
    parser.add_argument("--limits", type=_limits, default=(0.08,), help="latency limits in ms, with commas")
    parser.add_argument("--seeds", type=_count, default=3, help="number of seeds [3]")
    parser.add_argument("--cores", type=_count, default=1, help="cores that a side uses, the first allowed")
    parser.add_argument("--side", choices=("hand", "quarry", "both"), default="both")
    parser.add_argument(
        "--recipe", default="cifar10", help="Quarry's recipe; its data section is both sides'"
    )
    parser.add_argument("--set", action="append", default=[], help="key=value for quarry run; repeatable")
    parser.add_argument("--label", type=_label, default="Quarry", help="name of Quarry's lines")
    parser.add_argument("--screen", type=_count, default=3, help="epochs by which by hand picks a family [3]")
    parser.add_argument("--families", type=_names, default=(), help="families of by hand, with semicolons")
    parser.add_argument("--column", choices=PRECISIONS, help="one column of by hand [both]")
    parser.add_argument("--out", type=Path, default=Path("build/by_hand"), help="folder of the results")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--again", action="store_true", help="time all files again, side by side")
    parser.add_argument("--picture", type=Path, help="SVG file to draw the fronts into")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _limits(text: str) -> tuple[float, ...]:
    return tuple(sorted({_positive(part) for part in text.split(",")}))


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(";"))))


def _label(text: str) -> str:
    if text in HAND.values():
        raise argparse.ArgumentTypeError(f"{text!r} is by hand's name")
    return text


if __name__ == "__main__":
    main()
