"""The teachers that a recipe names: opened, checked, and what a network learns from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.onnx.file import OnnxFile
from compress.plain import faithful_copy
from nas.distillation import METHODS, Teacher, teacher_identity
from nas.distillation.teaching import MakeMethod
from results.loading import load_object
from results.names import did_you_mean
from results.registry import Registry
from runners.data.prepared import RunData
from runners.given import load_network, load_weights
from runners.recipe.part import Part, part
from runners.recipe.recovery import Recovery
from runners.targets.calls import in_calls
from runners.training.finetuning import Taught
from runners.training.relabelling import relabelled


class OnnxTeacher:
    """A network in an ONNX file as a teacher: it has outputs and no features.

    Args:
        file: File with one input and one output, for images as the student takes them.

    Raises:
        FileNotFoundError: there is none.
        ValueError: ONNX Runtime cannot load it.
    """

    def __init__(self, file: Path) -> None:
        self.name = file.name
        self._session = OnnxFile(file, threads=torch.get_num_threads())
        self.identity = hashlib.sha256(file.read_bytes()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs for images (N, C, H, W), float32, on their device.

        Raises:
            ValueError: the file takes images of another shape.
        """
        given = images.detach().float().cpu().numpy()
        outputs = in_calls(self._session, given, self._session.batch)
        return torch.from_numpy(outputs).to(images.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The networks of a run that may teach.

    Attributes:
        largest: Largest network of the run; None where there is none.
        begun: Network as compression began with it; None where that is not known.
    """

    largest: nn.Module | None = None
    begun: nn.Module | None = None


TEACHERS: Registry[Callable[..., Teacher | None]] = Registry("teacher")
"""Teachers by name: ``f(known, *, ...settings)`` gives one, on the CPU, or None where there is none."""


@TEACHERS.register("largest")
def largest(known: Known) -> Teacher | None:
    """The supernet's largest network, or the model as it was given; nobody where there is none."""
    return known.largest


@TEACHERS.register("itself")
def itself(known: Known) -> Teacher | None:
    """The network as compression began with it, which teaches what was cut from it: self-distillation."""
    return known.begun


@TEACHERS.register("network")
def network(known: Known, *, make: str, weights: str = "") -> Teacher:
    """A module of yours; ``"my.py:make"`` alone stands for it.

    Args:
        known: Networks of the run.
        make: Function that makes it, or the module: ``path/to/file.py:name``, ``package.module:name``.
        weights: Path of its weights, a safetensors file; without one it is as it was made.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no network, or weights of another.
    """
    del known
    made = load_network(make)
    if weights:
        load_weights(made, Path(weights).expanduser())
    return made


@TEACHERS.register("onnx")
def onnx(known: Known, *, file: str) -> Teacher:
    """A network in an ONNX file, of which only outputs are known; its path alone stands for it.

    Args:
        known: Networks of the run.
        file: Path of the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: ONNX Runtime cannot load it.
    """
    del known
    return OnnxTeacher(Path(file).expanduser())


def resolved(teacher: Part) -> Part:
    """A teacher by its kind: a path and a name stand for a network, a path for an ONNX file."""
    if teacher.kind in TEACHERS:
        return teacher
    key = "file" if teacher.kind.endswith(".onnx") else "make" if ":" in teacher.kind else ""
    kind = {"file": "onnx", "make": "network"}.get(key, "")
    return part(kind, **{key: teacher.kind}, **teacher.settings) if kind else teacher


def teacher_problems(teachers: Sequence[Part], key: str) -> list[str]:
    """What is wrong with teachers as a recipe names them, a line each; their code is imported for it.

    Args:
        teachers: Teachers.
        key: Key at which they stand.
    """
    found = []
    for one in map(resolved, teachers):
        problems = TEACHERS.problems(one.kind, one.settings, key)
        if one.kind not in TEACHERS:
            problems = [f"{problem} Or a network, my.py:make, or an ONNX file" for problem in problems]
        elif not problems:
            try:
                _check_there(one)
            except (ValueError, OSError) as error:
                problems = [f"{key}: {error}"]
        found += problems
    return found


def _check_there(teacher: Part) -> None:
    """Whether the code and the files of a teacher are there; nothing is made of them yet."""
    if "make" in teacher.settings:
        load_object(str(teacher.settings["make"]))
    for name in ("file", "weights"):
        path = Path(str(teacher.settings.get(name, ""))).expanduser()
        if name in teacher.settings and not path.is_file():
            near = did_you_mean(path.name, (one.name for one in path.parent.glob(f"*{path.suffix}")))
            raise FileNotFoundError(f"there is no file {path}.{near}")


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """The teachers of a run and the ways to learn from them.

    Attributes:
        settings: Section of the recipe.
        largest: Largest network of the run; None where there is none.
        device: Device to train on.
    """

    settings: Recovery
    largest: nn.Module | None
    device: torch.device

    def of(self, begun: nn.Module | None) -> Taught:
        """What a network learns that came from this one.

        Args:
            begun: Network as it was before anything was done to it; None where that is not known.

        Raises:
            FileNotFoundError: a file of a teacher is not there.
            ValueError: a teacher that cannot be opened.
        """
        known, found = Known(largest=self.largest, begun=begun), []
        for one in map(resolved, self.settings.teachers):
            teacher = TEACHERS.configured(one.kind, one.settings)(known)
            if isinstance(teacher, nn.Module):
                teacher = faithful_copy(teacher).to(self.device).eval()
            if teacher is not None:
                found.append(teacher)
        return Taught(
            teachers=tuple(found),
            methods=methods_of(self.settings.methods, self.settings.temperature),
            teacher_weight=self.settings.teacher_weight,
        )

    def kept(self, taught: Taught, data: RunData, folder: Path, watch: Callable[[int, int], None]) -> Taught:
        """The same, of what the teachers say of every training image: asked for once and kept.

        Args:
            taught: Teachers and methods.
            data: Data of the run.
            folder: Folder of a file for each group of teachers and number of views.
            watch: Called with the calls done and in all.

        Raises:
            ValueError: as ``relabelled``.
        """
        if not taught.teachers:
            return taught
        whose = hashlib.sha256("".join(map(teacher_identity, taught.teachers)).encode()).hexdigest()[:12]
        found = relabelled(
            taught.teachers,
            data.splits.train.images,
            data.prepare,
            folder / f"{whose}-{self.settings.views}.safetensors",
            views=self.settings.views,
            task=data.task,
            device=self.device,
            watch=watch,
        )
        return replace(taught, teachers=(found,))


def methods_of(parts: Sequence[Part], temperature: float) -> tuple[MakeMethod, ...]:
    """The methods that a recipe names, with its temperature where they have one and give none."""
    found: list[Any] = []
    for one in parts:
        settings = dict(one.settings)
        if "temperature" in METHODS[one.kind].settings:
            settings.setdefault("temperature", temperature)
        found.append(METHODS.configured(one.kind, settings))
    return tuple(found)
