"""Runtimes by the names under which hardware profiles ask for them."""

from __future__ import annotations

from collections.abc import Callable

from compress.target import Target
from results.registry import Registry

RUNTIMES: Registry[Callable[..., Target]] = Registry("runtime")
"""Each takes a ``HardwareProfile`` by position and its own settings by keyword, and gives a ``Target``. Its
ValueError says that the runtime is not installed, or its hardware not there."""
