"""Hardware profiles: a named target, from a TOML file that ships with Quarry or one of your own."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from results.names import unknown

SHIPPED = Path(__file__).parent / "profiles"
BACKENDS = ("onnxruntime", "torch", "executorch", "analytic", "remote")
PRECISIONS = ("fp32", "int8")

Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """What the device can hold; None where it sets no limit."""

    latency_ms: Positive | None = None
    params: Positive | None = None
    peak_memory_bytes: Positive | None = None
    size_bytes: Positive | None = None


class Machine(_Part):
    """Constants of a device that nothing is measured on (backend ``analytic``), or of its power.

    Attributes:
        macs_per_s: multiply-accumulates a second at full speed.
        bytes_per_s: memory traffic a second.
        layer_overhead_ms: what starting one layer costs.
        watts: drawn while it runs; with it tables get an energy column.
    """

    macs_per_s: Positive | None = None
    bytes_per_s: Positive | None = None
    layer_overhead_ms: Annotated[float, Field(ge=0)] = 0.0
    watts: Positive | None = None


class HardwareProfile(_Part):
    """A named target.

    Attributes:
        name: stands in tables and reports.
        summary: one line for people.
        backend: one of ``BACKENDS``.
        device: ``cpu`` or ``cuda``, for the torch backend.
        threads: of the runtime; 0 takes all cores.
        batch: images at once.
        input_shape: the only input (C, H, W) it takes; empty where it takes any.
        precisions: what it can run, of ``PRECISIONS``.
        limits: what it can hold.
        machine: constants for analytic latency and for energy.
        unsupported_mixers: names that leave the search space on this device.
        unsupported_operators: ONNX operator types it cannot run; a layer that has one is unsupported.
        address: ``user@host`` of a remote device, reached with ssh.
        python: the interpreter there, with numpy and onnxruntime.
        options: session configuration entries of ONNX Runtime.
    """

    name: Annotated[str, Field(min_length=1)]
    summary: str = ""
    backend: str
    device: str = "cpu"
    threads: Annotated[int, Field(ge=0)] = 1
    batch: Annotated[int, Field(ge=1)] = 1
    input_shape: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    limits: Limits = Limits()
    machine: Machine = Machine()
    unsupported_mixers: tuple[str, ...] = ()
    unsupported_operators: tuple[str, ...] = ()
    address: str = ""
    python: str = "python3"
    options: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> HardwareProfile:
        if self.backend not in BACKENDS:
            raise ValueError(unknown("backend", self.backend, BACKENDS))
        if self.device not in ("cpu", "cuda"):
            raise ValueError(unknown("device", self.device, ("cpu", "cuda")))
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise ValueError(unknown("precision", precision, PRECISIONS))
        if self.backend == "remote" and not self.address:
            raise ValueError("a remote profile needs address = 'user@host'")
        if self.backend == "analytic" and not (self.machine.macs_per_s and self.machine.bytes_per_s):
            raise ValueError("an analytic profile needs machine.macs_per_s and machine.bytes_per_s")
        return self


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with Quarry."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def load_profile(name: str | Path) -> HardwareProfile:
    """A profile by name, or by the path of a TOML file.

    Raises:
        ValueError: no such name, a file that is not TOML, an unknown key or a bad value; the message names
            the nearest valid one.
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
        return HardwareProfile.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ValueError(
            f"profile {path}: " + "; ".join(_problem(entry) for entry in error.errors())
        ) from None


def _problem(entry: object) -> str:
    assert isinstance(entry, dict)
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        parts: dict[str, type[_Part]] = {"limits": Limits, "machine": Machine}
        owner = parts.get(str(entry["loc"][0]), HardwareProfile)
        valid = list(owner.model_fields)
        close = difflib.get_close_matches(str(entry["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {where!r}.{hint} Valid: {', '.join(valid)}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
