"""Code of other people: files and modules that a recipe names, and packages that bring parts."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from results.names import did_you_mean

ENTRY_POINTS = "quarry.parts"
"""Group of entry points by which an installed package brings parts; each names a module that registers."""


def load_module(spec: str) -> ModuleType:
    """A Python file by path (``parts.py``), or a module by its dotted name; read once, or after it changed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the module cannot be imported, with what it said.
    """
    if spec.endswith(".py"):
        path = Path(spec).expanduser().resolve()
        if not path.is_file():
            near = did_you_mean(path.name, (other.name for other in path.parent.glob("*.py")))
            raise FileNotFoundError(f"there is no file {path}.{near}")
        return _from_file(path, path.stat().st_mtime_ns, path.stat().st_size)
    try:
        return importlib.import_module(spec)
    except ModuleNotFoundError as error:
        name = error.name or spec
        if not f"{spec}.".startswith(f"{name}."):  # it is there, but what it imports is not
            raise ValueError(f"module {spec!r} cannot be imported: {_said(error)}") from error
        raise ValueError(
            f"there is no module {name!r}.{did_you_mean(name, _beside(name))} It has to be installed, or lie "
            "on PYTHONPATH; a file is given by its path, which ends in .py"
        ) from error
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise ValueError(f"module {spec!r} cannot be imported: {_said(error)}") from error


def _beside(name: str) -> list[str]:
    """The modules in the package that one would be in, with their full names."""
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    prefix = f"{parent}." if parent else ""
    return [f"{prefix}{found.name}" for found in pkgutil.iter_modules(path)]


@cache
def _from_file(path: Path, _changed: int, _size: int) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Dataclasses look their module up while they are made. It is not left there: what is pickled for a worker
    # then goes by value, and a file may be called like an installed package.
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's file raises while it is read
        raise ValueError(f"{path} fails: {_said(error)}") from error
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
    return module


def load_object(spec: str) -> Any:
    """What ``path/to/file.py:name`` or ``package.module:name`` stands for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another form, a module that fails, or no such name in it.
    """
    where, colon, name = spec.rpartition(":")
    if not (where and colon and name):
        raise ValueError(f"{spec!r}: write it as path/to/file.py:name or package.module:name")
    module = load_module(where)
    if not hasattr(module, name):
        raise ValueError(f"{where} has no {name!r}.{did_you_mean(name, vars(module))}")
    return getattr(module, name)


def load_installed_parts() -> None:
    """Imports what installed packages bring under the entry points ``quarry.parts``.

    Raises:
        ValueError: one of them fails; names the package and the entry point.
    """
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # whatever a stranger's package raises
            package = entry.dist.name if entry.dist else "an installed package"
            raise ValueError(
                f"entry point {entry.name!r} of {package} ({entry.value}) fails: {_said(error)}; uninstall "
                f"{package}, or mend it"
            ) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
