"""A pool of Ray workers: evaluations run on them, and a worker that dies or hangs costs one evaluation.

The pool never hands more than one arch to a worker at a time; what it was given beyond that waits here,
so that a lost worker loses nothing else, and a node that joins or leaves only changes how fast it goes.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.search.pool import Outcome
from runners.pools.ray_session import RaySession, check_address, import_ray
from runners.pools.ray_worker import MakeEvaluator, RayWorker, one_line
from runners.processor import note_worker
from search_spaces.space import Arch


@dataclass(slots=True, kw_only=True, eq=False)
class _Task:
    ticket: int
    arch: Arch
    attempts: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """A worker; it is starting while it has no name, and idle while it has no task."""

    actor: Any
    name: str = ""
    task: _Task | None = None
    since: float = 0.0


class RayPool:
    """Evaluates archs on Ray workers, asynchronously.

    Args:
        make_evaluator: function called once in every worker with ``arrays``; returns the function from an
            arch to its scores. It is pickled, so it may be a closure over small things, and over classes and
            functions of a file that ``results.loading`` read. It should set torch to one thread.
        arrays: large arrays, put once into each machine's shared memory; every worker reads the same
            pages (read-only, without a copy), so ten workers hold one copy of a supernet's weights.
        workers: number of workers, one CPU each.
        address: ``host:port`` of a Ray cluster to join (``auto`` finds one on this machine); None starts
            Ray here, or uses the session that this process already has.
        timeout_seconds: seconds after which an evaluation counts as hung; None waits for ever.
        retries: further tries of an evaluation whose worker died or hung. One that raised is not tried again:
            it would raise again.
        start_seconds: seconds to wait while no worker is up, set-up of the evaluator included.

    Raises:
        ValueError: a number out of range, an address that is none, an evaluator that cannot be pickled,
            an array of Python objects.
    """

    def __init__(
        self,
        make_evaluator: MakeEvaluator,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        *,
        workers: int = 2,
        address: str | None = None,
        timeout_seconds: float | None = None,
        retries: int = 1,
        start_seconds: float = 300.0,
    ) -> None:
        _check_numbers(workers, timeout_seconds, retries, start_seconds)
        if address is not None:
            check_address(address)
        self.capacity = workers
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._start_seconds = start_seconds
        self._setup = _pickled(make_evaluator)
        self._arrays = _plain_arrays(arrays or {})
        self._session: RaySession | None = None
        self._closed = False
        self._queue: deque[_Task] = deque()
        self._done: deque[Outcome] = deque()
        self._waiting: dict[Any, _Member] = {}  # what Ray will answer, and who it is about
        self._idle: list[_Member] = []
        self._make_actor: Any = None
        self._failed_starts = 0
        self._none_up_since = 0.0

    # -- the pool's protocol ---------------------------------------------------------------------

    def submit(self, ticket: int, arch: Arch) -> None:
        """Takes an arch; returns at once, also when every worker is busy or still starting.

        Raises:
            ValueError: the pool is closed.
        """
        self.start()
        self._queue.append(_Task(ticket=ticket, arch=dict(arch)))
        self._assign()

    def next(self) -> Outcome:
        """The next finished evaluation, whichever that is; waits for it.

        Raises:
            ValueError: nothing is under way; the evaluator could not be set up; too few CPUs.
            ConnectionError: the cluster does not answer; no worker can be started.
        """
        busy = any(member.task for member in self._waiting.values())
        if not (self._done or self._queue or busy):
            raise ValueError("the pool has nothing under way; submit an arch before asking for an outcome")
        self.start()
        assert self._session is not None
        self._session.wait()
        while not self._done:
            self._assign()
            self._collect()
        self._assign()  # keeps the workers busy while the caller thinks
        return self._done.popleft()

    def close(self) -> None:
        """Stops what is under way, and Ray if this pool started it. A second call does nothing."""
        self._closed = True
        if self._session is None:
            return
        with contextlib.suppress(Exception):  # a session that failed has nothing to kill
            self._session.wait()
            for member in [*self._waiting.values(), *self._idle]:
                import_ray().kill(member.actor)
        for holder in (self._waiting, self._idle, self._queue, self._done):
            holder.clear()
        self._make_actor = None  # lets go of the shared arrays
        self._session.close()
        self._session = None

    def start(self) -> None:
        """Starts Ray and the workers in the background and returns at once; ``submit`` does it too.

        Raises:
            ValueError: the pool is closed.
        """
        if self._closed:
            raise ValueError("the pool is closed; make another one")
        if self._session is None:
            self._session = RaySession(self._address, self.capacity, self._launch)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- workers ---------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Puts the arrays into shared memory and asks for the workers; runs in the session's thread."""
        ray = import_ray()
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < self.capacity:
            raise ValueError(
                f"{self.capacity} workers need one CPU each, and the Ray session has {cpus}; "
                "ask for fewer workers or add nodes"
            )
        actor = ray.remote(num_cpus=1, max_concurrency=1, max_restarts=0)(RayWorker)
        shared = [ray.put(array) for array in self._arrays.values()]
        constants = ray.put(self._setup), list(sys.path), list(self._arrays)
        self._make_actor = lambda: actor.remote(*constants, *shared)
        self._none_up_since = time.monotonic()
        for _ in range(self.capacity):
            self._start_worker()

    def _start_worker(self) -> None:
        member = _Member(actor=self._make_actor())
        self._waiting[member.actor.ready.remote()] = member

    def _assign(self) -> None:
        """Gives waiting tasks to idle workers."""
        while self._queue and self._idle:
            member, task = self._idle.pop(), self._queue.popleft()
            task.attempts += 1
            member.task, member.since = task, time.monotonic()
            self._waiting[member.actor.evaluate.remote(task.ticket, task.arch)] = member

    def _collect(self) -> None:
        """Waits for an answer or a deadline, and takes in all there is."""
        ray = import_ray()
        refs = list(self._waiting)
        answered, _ = ray.wait(refs, num_returns=1, timeout=self._seconds_to_deadline())
        if answered and len(refs) > 1:
            answered, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in answered:
            member = self._waiting.pop(ref)
            try:
                answer = ray.get(ref)
            except ray.exceptions.RayError as error:
                self._replace(member, _reason(error))
            else:
                self._take(member, answer)
        self._enforce_deadlines()

    def _take(self, member: _Member, answer: Any) -> None:
        if isinstance(answer, Outcome):
            note_worker(answer.worker, answer.processor_seconds)
            self._done.append(answer)
        else:
            member.name, error = answer
            if error:
                raise ValueError(f"the evaluator could not be set up in a worker: {error}")
            self._failed_starts = 0
        member.task = None
        self._idle.append(member)

    def _replace(self, member: _Member, reason: str) -> None:
        """Replaces a worker; what it was doing is tried again, or is given up with the reason."""
        with contextlib.suppress(Exception):  # it may be dead already
            import_ray().kill(member.actor)
        if task := member.task:
            if task.attempts <= self._retries:
                self._queue.appendleft(task)
            else:
                self._done.append(
                    Outcome(
                        ticket=task.ticket,
                        scores=None,
                        error=f"{reason}; tried {task.attempts} times",
                        seconds=time.monotonic() - member.since,
                        worker=member.name,
                    )
                )
        elif not member.name:
            self._failed_starts += 1
            if self._failed_starts > max(3, self.capacity):
                raise ConnectionError(f"workers die while they start: {reason}")
        if not self._any_up():
            self._none_up_since = time.monotonic()
        self._start_worker()

    # -- deadlines -------------------------------------------------------------------------------

    def _any_up(self) -> bool:
        """Whether any worker is past its start."""
        return bool(self._idle) or any(member.name for member in self._waiting.values())

    def _seconds_to_deadline(self) -> float | None:
        """Seconds to the next deadline, None if there is none."""
        if not self._any_up():
            return max(0.0, self._none_up_since + self._start_seconds - time.monotonic())
        if self._timeout_seconds is None:
            return None
        begun = [member.since for member in self._waiting.values() if member.task]
        return max(0.0, min(begun) + self._timeout_seconds - time.monotonic()) if begun else None

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        if not self._any_up() and now > self._none_up_since + self._start_seconds:
            raise ConnectionError(
                f"no worker came up within {self._start_seconds:g} s: no node has a free CPU, "
                "or the evaluator takes longer to set up"
            )
        if self._timeout_seconds is None:
            return
        for ref, member in list(self._waiting.items()):
            if member.task and now > member.since + self._timeout_seconds:
                del self._waiting[ref]
                self._replace(member, f"no answer within {self._timeout_seconds:g} s")


def _check_numbers(workers: int, timeout_seconds: float | None, retries: int, start_seconds: float) -> None:
    if workers < 1:
        raise ValueError(f"workers is {workers}; a pool needs at least 1")
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise ValueError(f"timeout_seconds is {timeout_seconds}; give seconds above 0, or None for no limit")
    if retries < 0:
        raise ValueError(f"retries is {retries}; give 0 for none, or more")
    if not start_seconds > 0:
        raise ValueError(f"start_seconds is {start_seconds}; give seconds above 0")


def _pickled(make_evaluator: MakeEvaluator) -> bytes:
    if not callable(make_evaluator):
        raise ValueError(f"make_evaluator is {make_evaluator!r}; give a function from arrays to an evaluator")
    cloudpickle = import_ray().cloudpickle
    try:
        return bytes(cloudpickle.dumps(make_evaluator))
    except Exception as error:  # picklers raise anything
        raise ValueError(
            f"the evaluator cannot be sent to other processes ({one_line(error)}); "
            "make such things inside make_evaluator, which runs in the worker"
        ) from error


def _plain_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise ValueError(f"array {name!r} is not a numpy array of numbers, so it cannot be shared")
    return dict(arrays)


def _reason(error: Exception) -> str:
    """The reason why a worker was lost, in a few words; Ray's own text is a page long."""
    name, text = type(error).__name__, str(error)
    if "OutOfMemory" in name or "memory monitor" in text or "low on memory" in text:
        return "the worker was stopped because its machine ran out of memory"
    if "node has died" in text.lower() or "node died" in text.lower():
        return "the worker's node died"
    if "Actor" in name:
        return "the worker died (killed, out of memory, or a crash in native code)"
    return f"the worker failed: {one_line(error)[:300]}"
