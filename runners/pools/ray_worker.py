"""The code of a Ray worker: one evaluator, set up once, scores one arch at a time.

Nothing here imports torch: a worker whose evaluator needs none stays small.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from nas.search.pool import Evaluate, Outcome, SerialPool
from search_spaces.space import Arch

Arrays = Mapping[str, NDArray[Any]]
MakeEvaluator = Callable[[Arrays], Evaluate]


def one_line(error: BaseException) -> str:
    """The type and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class RayWorker:
    """The actor of a Ray pool.

    Args:
        setup: pickled function that makes the evaluator.
        paths: import path of the driver; a module beside the user's script is found there.
        names: names of the arrays.
        arrays: read-only views of the machine's one copy.
    """

    def __init__(self, setup: bytes, paths: list[str], names: list[str], *arrays: NDArray[Any]) -> None:
        sys.path.extend(path for path in paths if path not in sys.path)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.error = ""
        try:
            evaluate = pickle.loads(setup)(dict(zip(names, arrays, strict=True)))
            self._pool = SerialPool(evaluate)
        except Exception as error:  # told by `ready`; raised here it would look like a machine that died
            self.error = one_line(error)

    def ready(self) -> tuple[str, str]:
        """The worker's name, and why its evaluator could not be made (empty if it could)."""
        return self.name, self.error

    def evaluate(self, ticket: int, arch: Arch) -> Outcome:
        """The outcome of one evaluation; what the evaluator raises, or a NaN it returns, is in its error."""
        self._pool.submit(ticket, arch)
        found = self._pool.next()
        used = time.process_time()
        outcome = dataclasses.replace(found, worker=self.name, processor_seconds=used)
        wrong = [
            f"{name} is {value}" for name, value in (outcome.scores or {}).items() if not isfinite(value)
        ]
        if wrong:
            told = f"the evaluation gave no usable score: {', '.join(wrong)}"
            return dataclasses.replace(outcome, scores=None, error=told)
        return outcome
