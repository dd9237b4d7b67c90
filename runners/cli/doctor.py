"""What this machine has for Quarry, and what is missing for which feature: ``quarry doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

import psutil

from runners.console import Console
from runners.measuring.machine import BUSY_CORES, busy_cores, cores, cpu_model

_GIB = 2**30
_LOW_DISK_BYTES = 2 * _GIB  # a run on a small data set takes a few hundred megabytes
_LOW_MEMORY_BYTES = 2 * _GIB

# What is installed apart from the rest: the package, what it is for, and how to get it.
_PACKAGES = (
    ("onnx", "exporting models", "pip install onnx onnxscript"),
    ("ray", "scoring networks in several processes", "pip install ray"),
    ("optuna", "the optuna_* searchers", "pip install optuna"),
    ("nni", "NNI's tuners and quantization-aware training", "pip install nni==3.0"),
    ("torch-pruning", "pruning", "pip install torch-pruning"),
    ("fvcore", "counting MACs", "pip install fvcore"),
    ("datasets", "data from parquet files and the hub", "pip install datasets"),
    (
        "executorch",
        "measuring in ExecuTorch (profile cpu-executorch)",
        "pip install 'quarry-nas[executorch]'",
    ),
    ("ai-edge-litert", "measuring in LiteRT (profile cpu-litert)", "pip install 'quarry-nas[litert]'"),
    ("openvino", "measuring in OpenVINO (profile cpu-openvino)", "pip install 'quarry-nas[openvino]'"),
    ("MNN", "measuring in MNN (profile cpu-mnn)", "pip install 'quarry-nas[mnn]'"),
    ("ncnn", "measuring in ncnn (profile cpu-ncnn)", "pip install 'quarry-nas[ncnn]'"),
    ("pnnx", "files for ncnn (profile cpu-ncnn)", "pip install 'quarry-nas[ncnn]'"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about the machine.

    Attributes:
        topic: what was looked at.
        found: what is there, in words.
        problem: what does not work for it; empty where nothing is wrong.
        remedy: what to do about the problem, as a command where there is one.
    """

    topic: str
    found: str
    problem: str = ""
    remedy: str = ""


def doctor(console: Console) -> None:
    """Prints what this machine has, then what is missing and how to get it."""
    findings = examine()
    rows = [(finding.topic, finding.found) for finding in findings]
    console.table("This machine", ("what", "found"), rows, words=True)
    problems = [finding for finding in findings if finding.problem]
    if not problems:
        console.say("Nothing is missing.")
    for finding in problems:
        console.say(f"{finding.topic}: {finding.problem}. {finding.remedy}")


def examine(folder: Path = Path()) -> list[Finding]:
    """Looks at the machine.

    Args:
        folder: whose disk is looked at; where runs would be written.
    """
    return [
        _python(),
        _cores(),
        _load(),
        _memory(),
        _disk(folder),
        *_torch(),
        _onnxruntime(),
        *(_package(*entry) for entry in _PACKAGES),
        _compiler(),
        _litert_converter(),
        _profiles(),
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _python() -> Finding:
    quarry = _version("quarry-nas")
    return Finding(
        topic="quarry",
        found=f"{quarry or 'from source'}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}",
    )


def _cores() -> Finding:
    usable, all_of_them = len(cores()), os.cpu_count() or 1
    share = f"{usable}" if usable == all_of_them else f"{usable} of {all_of_them}"
    return Finding(topic="cores", found=f"{share} ({cpu_model()})")


def _load() -> Finding:
    busy = busy_cores()
    found = f"other programs keep {busy:.1f} cores busy"
    if busy < BUSY_CORES:
        return Finding(topic="load", found=found)
    return Finding(
        topic="load",
        found=found,
        problem="other programs are at work, and latency is measured best on a quiet machine",
        remedy="Let them end before you measure",
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB free"
    if memory.available >= _LOW_MEMORY_BYTES:
        return Finding(topic="memory", found=found)
    return Finding(
        topic="memory",
        found=found,
        problem="less than 2 GiB is free",
        remedy="Close programs, and set search.workers=1",
    )


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free in {folder.resolve()}"
    if free >= _LOW_DISK_BYTES:
        return Finding(topic="disk", found=found)
    return Finding(
        topic="disk", found=found, problem="less than 2 GiB is free", remedy="Write runs elsewhere with --out"
    )


def _torch() -> list[Finding]:
    """PyTorch and the GPU it sees."""
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library it is linked to
        return [_broken("torch", "training", error, "pip install torch")]
    found = Finding(topic="torch", found=f"{_version('torch')}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        gpu = Finding(topic="GPU", found=f"{name}, {total / _GIB:.0f} GiB, {free / _GIB:.0f} GiB free")
    elif Path("/proc/driver/nvidia/version").exists():
        gpu = Finding(
            topic="GPU",
            found="an NVIDIA driver",
            problem="there is a driver, but this PyTorch cannot use it",
            remedy="Install a CUDA build of PyTorch that fits the driver: https://pytorch.org/get-started",
        )
    else:
        gpu = Finding(topic="GPU", found="none; training runs on the CPU")
    return [found, gpu]


def _onnxruntime() -> Finding:
    try:
        runtime = import_module("onnxruntime")
    except (ImportError, OSError) as error:
        return _broken(
            "onnxruntime", "measuring and running exported models", error, "pip install onnxruntime"
        )
    providers = [name.removesuffix("ExecutionProvider") for name in runtime.get_available_providers()]
    return Finding(topic="onnxruntime", found=f"{runtime.__version__} ({', '.join(providers)})")


def _compiler() -> Finding:
    from runners.targets.aotinductor import compiler

    try:
        return Finding(topic="C++ compiler", found=compiler())
    except ValueError as error:
        return Finding(
            topic="C++ compiler",
            found="none",
            problem="needed for compiling networks with AOTInductor (profile cpu-aotinductor)",
            remedy=str(error),
        )


def _litert_converter() -> Finding:
    from runners.targets.litert import CONVERTER, HOW, converter_of

    topic = "LiteRT's converter"
    try:
        return Finding(topic=topic, found=f"litert-torch {converter_of()[1]}")
    except ValueError as error:
        problem = "needed for files of LiteRT (profile cpu-litert)"
        if os.environ.get(CONVERTER):
            problem += f"; {str(error).removesuffix(HOW).rstrip('. ')}"
        return Finding(topic=topic, found="none", problem=problem, remedy=HOW)


def _profiles() -> Finding:
    """The shipped hardware profiles that this machine can measure."""
    from runners.targets.profile import load_profile, shipped_profiles
    from runners.targets.target import open_target

    able, unable = [], []
    for name in shipped_profiles():
        try:
            open_target(load_profile(name))
            able.append(name)
        except (ValueError, OSError):  # its runtime is listed above
            unable.append(name)
    found = f"{', '.join(able)} can be used here" + (f"; not {', '.join(unable)}" if unable else "")
    return Finding(topic="profiles", found=found)


def _broken(topic: str, feature: str, error: Exception, command: str) -> Finding:
    there = _version(topic)
    if there:
        found, problem = f"{there}, which cannot be imported", f"{feature} needs it ({error})"
    else:
        found, problem = "not installed", f"{feature} needs it"
    return Finding(topic=topic, found=found, problem=problem, remedy=command)


def _package(name: str, feature: str, command: str) -> Finding:
    version = _version(name)
    if version:
        return Finding(topic=name, found=version)
    return Finding(topic=name, found="not installed", problem=f"needed for {feature}", remedy=command)
