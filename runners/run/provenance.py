"""What a run was made with: versions, machine, commit, command."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from results.records import Machine, Provenance

PACKAGES = (
    "torch",
    "onnxruntime",
    "onnx",
    "openvino",
    "ncnn",
    "pnnx",
    "MNN",
    "executorch",
    "transformers",
    "pillow",
    "ray",
    "optuna",
    "nni",
    "torch-pruning",
    "pandas",
    "numpy",
)


def versions() -> dict[str, str]:
    """Installed versions by package; packages that are missing are left out."""
    found = {"python": platform.python_version(), "quarry": _version("quarry-nas")}
    found |= {name: _version(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def machine() -> Machine:
    """This computer."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def commit() -> str:
    """The commit of the checkout this code runs from, with ``+`` where files differ; empty outside one."""
    folder = Path(__file__).parent.parent.parent
    if not (folder / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(folder)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def provenance(seed: int, command: str) -> Provenance:
    """Everything needed to repeat a run, and to know where it was made."""
    return Provenance(
        seed=seed,
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
        versions=versions(),
        machine=machine(),
    )
