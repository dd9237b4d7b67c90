"""Hardware profiles from TOML files: those that ship with Quarry, by name, and your own, by path."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.loading import load_module
from results.names import unknown
from runners.targets.hardware import HardwareProfile, Limits
from runners.targets.registry import RUNTIMES
from runners.targets.target import SHIPPED as SHIPPED_RUNTIMES

__all__ = ["HardwareProfile", "load_profile", "shipped_profiles"]

SHIPPED = Path(__file__).parent / "profiles"
assert SHIPPED_RUNTIMES  # imported, so that profiles can name them

# Keys of profiles before runtimes had settings of their own, and where they stand now.
_MOVED = {
    "backend": 'the runtime is named by runtime = "..."',
    "device": 'it is a setting of the runtime torch: runtime = { kind = "torch", device = "cuda" }',
    "address": 'it is a setting of the runtime remote: runtime = { kind = "remote", address = "me@box" }',
    "python": "it is a setting of the runtime remote",
    "options": "it is a setting of the runtimes onnxruntime and remote",
    "machine": "watts stands at the top; the other constants are settings of the runtime analytic",
}


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with Quarry."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def load_profile(name: str | Path) -> HardwareProfile:
    """A profile by name, or by the path of a TOML file.

    Raises:
        ValueError: no such name, a file that is not TOML, or everything that is wrong in it: unknown keys and
            runtimes, bad values, modules of ``parts`` that cannot be imported; names the nearest valid ones.
        FileNotFoundError: a path (something that ends in .toml) at which there is no file.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in shipped_profiles():
            raise ValueError(
                unknown("profile", str(name), shipped_profiles())
                + " A file of your own is given by its path."
            )
        path = SHIPPED / f"{name}.toml"
    if not path.exists():
        raise FileNotFoundError(
            f"there is no profile at {path}; shipped ones: {', '.join(shipped_profiles())}"
        )
    try:
        entries = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {path} is not TOML: {error}") from error
    profile, problems = _read(entries, path.resolve().parent)
    if profile is None or problems:
        raise ValueError(f"profile {path}: " + "; ".join(problems))
    return profile


def _read(entries: dict[str, Any], folder: Path) -> tuple[HardwareProfile | None, list[str]]:
    """The profile, None where its common part is wrong, and all that is wrong with it."""
    profile, problems = None, []
    parts = entries.get("parts")
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        entries = {**entries, "parts": [_placed(part, folder) for part in parts]}
        for part in entries["parts"]:
            try:
                load_module(part)
            except (ValueError, OSError) as error:
                problems.append(f"parts: {error}")
    try:
        profile = HardwareProfile.model_validate(entries)
    except ValidationError as error:
        problems += [_problem(entry) for entry in error.errors()]
    runtime = entries.get("runtime")
    asked = {"kind": runtime} if isinstance(runtime, str) else runtime
    if isinstance(asked, dict) and isinstance(asked.get("kind"), str):
        settings = {key: value for key, value in asked.items() if key != "kind"}
        problems += RUNTIMES.problems(asked["kind"], settings, "runtime")
    return profile, problems


def _placed(part: str, folder: Path) -> str:
    """A part with its file seen from the folder of the profile; a module as it is."""
    return str(folder / Path(part).expanduser()) if part.endswith(".py") else part


def _problem(entry: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        if where in _MOVED:
            return f"{where}: profiles have no such key any more; {_MOVED[where]}"
        valid = list((Limits if entry["loc"][0] == "limits" else HardwareProfile).model_fields)
        close = difflib.get_close_matches(str(entry["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {where!r}.{hint} Valid: {', '.join(valid)}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
