"""How long a piece of work will still take, from how fast it went of late."""

from __future__ import annotations

import time
from collections import deque

_LATELY = 0.5  # share of the time so far that the rate is taken over
_LEAST_S = 30.0  # but no less than this
_KEPT = 256  # readings in that time
_KNOWN, _KNOWN_S = 0.05, 60.0  # share of the work, or time, before which a rate is that of getting started


class TimeLeft:
    """The time left of one piece of work.

    It goes by the rate of the later half of the time so far: a cold start, or a program that ran beside it
    for a while, is forgotten, and a pause between epochs counts as often as it comes.
    """

    def __init__(self) -> None:
        self._began = self._before = self._first = 0.0
        self._readings: deque[tuple[float, float]] = deque()

    def seconds(self, done: float, total: float) -> float | None:
        """Seconds left, now that ``done`` of ``total`` is done; None while no rate is known.

        Before a minute is over or a twentieth is done, what is seen is mostly how long getting started takes.

        The first reading sets the clock, so a resumed piece of work does not start at zero. Less done than
        before is another piece of work, with a clock of its own.
        """
        now, readings = time.monotonic(), self._readings
        if done < self._before:
            readings.clear()
        self._before = done
        if not readings:
            self._began, self._first = now, done
            readings.append((now, done))
            return None
        window_s = max(_LEAST_S, _LATELY * (now - self._began))
        if now - readings[-1][0] >= window_s / _KEPT:
            readings.append((now, done))
        while len(readings) > 2 and now - readings[1][0] >= window_s:
            readings.popleft()
        if done - self._first < _KNOWN * (total - self._first) and now - self._began < _KNOWN_S:
            return None
        then, earlier = readings[0]
        return (total - done) * (now - then) / (done - earlier) if done > earlier else None
