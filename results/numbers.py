"""Numbers as people read them, on the page and on the console; a space before a unit does not break."""

from __future__ import annotations

import math


def percent(fraction: float, digits: int = 1) -> str:
    """0.9734 as 97.3 %, with a space that does not break."""
    return f"{100 * fraction:.{digits}f}\u00a0%"


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    value = round(100 * difference, 1)
    return f"{sign(value)}{abs(value):.1f}\u00a0pt"


def compared(difference: float) -> str:
    """A difference of accuracies in words: 0.012 as 1.2 points more accurate."""
    rounded = round(100 * difference, 1)
    if rounded == 0:
        return "as accurate"
    return f"{abs(rounded):.1f} points {'more' if rounded > 0 else 'less'} accurate"


def sign(value: float) -> str:
    """Plus, minus or both, as typeset."""
    if value == 0:
        return "\u00b1"
    return "+" if value > 0 else "\u2212"


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in powers of ten."""
    if not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def tiny(value: float) -> str:
    """0.0000032 as 3.2·10⁻⁶."""
    if value == 0 or abs(value) >= 1e-3:
        return significant(value, 2)
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}\u00b710{str(int(power)).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def brief(latency_ms: float) -> str:
    """A layer's time: 0.00812 as 8.12 µs."""
    if 0 < latency_ms < 0.1:
        return f"{significant(1000 * latency_ms)}\u00a0µs"
    return milliseconds(latency_ms)


def milliseconds(value: float) -> str:
    """0.12345 as 0.123 ms."""
    return f"{significant(value)}\u00a0ms"


def count(value: float) -> str:
    """1234567 as 1.23 M."""
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{significant(value / size)}\u00a0{unit}"
    return f"{value:,.0f}"


def size(n_bytes: float) -> str:
    """123456 as 123 kB; powers of ten."""
    for unit_size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= unit_size:
            return f"{significant(n_bytes / unit_size)}\u00a0{unit}"
    return f"{n_bytes:,.0f}\u00a0bytes"


def duration(seconds: float) -> str:
    """75 as 1 min 15 s."""
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}\u00a0h {minutes}\u00a0min"
    return f"{minutes}\u00a0min {rest}\u00a0s"
