"""How far trainings in other processes are, from the files that they write about themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from results.files import read_json
from runners.scoring.alone import AlonePlan
from search_spaces.space import Arch

_SECONDS = 3.0


@contextmanager
def following(plan: AlonePlan, archs: Sequence[Arch], tell: Callable[[float, float], None]) -> Iterator[None]:
    """Tells how far the trainings of networks are while the work inside goes on.

    Args:
        plan: how they are trained; weights of earlier trainings of the same networks are removed.
        archs: their archs.
        tell: told trainings done, with those under way by their share, and trainings in all.
    """
    ended = threading.Event()
    watched = [(plan.progress(arch), plan.weights(arch)) for arch in archs]
    for _, weights in watched:
        weights.unlink(missing_ok=True)

    def follow() -> None:
        while not ended.wait(_SECONDS):
            tell(sum(_share(*files) for files in watched), len(watched))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _share(progress: Path, weights: Path) -> float:
    if weights.exists():
        return 1.0
    try:
        told = read_json(progress)
        return float(told["done"]) / float(told["total"])
    except (OSError, ValueError, KeyError):  # not begun, or just over
        return 0.0
