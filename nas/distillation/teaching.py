"""Teaching: what a student learns from its teachers, and the losses of that."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nas.distillation.method import FeatureShapes, Heard, Method
from nas.distillation.taps import features_of, first_tensor, going_on, hearing

Teacher = nn.Module | Callable[[Tensor], Tensor]
"""A module in eval mode, or a function of images (N, C, H, W), of which nothing but outputs is known."""

MakeMethod = Callable[[FeatureShapes], Any]
"""Gives a ``Method``; ``METHODS.configured(name, settings)``."""


def _same(outputs: Tensor) -> Tensor:
    return outputs


class Teaching(nn.Module):
    """What a student learns from its teachers: the mean over them of the methods' weighted losses.

    Its parameters are the methods' own (projections), to be trained with the student's; the teachers' are no
    part of it. Without the state that ``hearing`` keeps for a pass it has none.

    Args:
        student: Network that learns.
        teachers: Networks that teach, in eval mode, on the student's device.
        methods: What makes each method.
        example: Two or more inputs, (N, ...), on the student's device.
        logits: What is compared of outputs, as ``Task.logits``.
        seed: Seed of the first values of projections.

    Raises:
        ValueError: no teacher or no method; a teacher in training mode or on another device, that fails on
            these inputs, or tells other classes apart; a layer that is not there.
    """

    def __init__(
        self,
        student: nn.Module,
        teachers: Sequence[Teacher],
        methods: Sequence[MakeMethod],
        *,
        example: Tensor,
        logits: Callable[[Tensor], Tensor] = _same,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not teachers or not methods:
            raise ValueError(f"teaching needs a {'method' if teachers else 'teacher'}; there is none")
        self._teachers, self._logits = tuple(teachers), logits  # in a tuple: none of its own modules
        shapes, output = features_of(student, example)
        own = _logits_of(output, logits, "the network")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.methods = nn.ModuleList(
                nn.ModuleList(_made(one, shapes, own, methods, example, logits)) for one in self._teachers
            )
        self.to(example.device)

    @contextlib.contextmanager
    def hearing(self, student: nn.Module) -> Iterator[dict[str, Tensor]]:
        """Collects the student's features while it runs."""
        names = {pair.student for ones in self._all() for one in ones for pair in one.pairs}
        with hearing(student, names) as heard:
            yield heard

    @torch.no_grad()
    def told(self, images: Tensor, kept: Tensor | None = None) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """Logits and features of each teacher for images (N, C, H, W).

        Args:
            images: What the student sees.
            kept: Logits (N, classes) that were kept of the one teacher, in its place.
        """
        if kept is not None:
            return [(kept.to(images.device), {})]
        found = []
        for teacher, methods in zip(self._teachers, self._all(), strict=True):
            names = {pair.teacher for one in methods for pair in one.pairs}
            with hearing(teacher, names) if isinstance(teacher, nn.Module) else _nothing() as heard:
                output = answer_of(teacher, images)
            features = {name: one.detach().float() for name, one in heard.items()}
            found.append((self._logits(output.float()).detach(), features))
        return found

    def loss(
        self,
        student_logits: Tensor,
        features: Mapping[str, Tensor],
        told: Sequence[tuple[Tensor, Mapping[str, Tensor]]],
        images: Tensor,
        *,
        progress: float = 0.0,
    ) -> tuple[Tensor, bool]:
        """The loss on what the teachers gave, and whether labels count now.

        Args:
            student_logits: Logits of the student, (M, classes), float32.
            features: Features of the student by layer.
            told: What ``told`` gave for the same images.
            images: The images.
            progress: Share of the training that is done.
        """
        own = {name: one.float() for name, one in features.items()}
        losses, alone = [], False
        for teacher, methods, (logits, theirs) in zip(self._teachers, self._all(), told, strict=True):
            heard = Heard(
                student_logits=student_logits,
                teacher_logits=logits,
                student=own,
                teacher=theirs,
                progress=progress,
                going_on=partial(going_on, teacher, images) if isinstance(teacher, nn.Module) else None,
            )
            first = [one for one in methods if one.alone(progress)]
            alone = alone or bool(first)
            losses.append(torch.stack([one.weight * one(heard) for one in first or methods]).sum())
        return torch.stack(losses).mean(), not alone

    def identity(self) -> str:
        """Hash that tells this teaching from others: of the teachers' weights and of the methods."""
        found = hashlib.sha256(repr([[_settings(one) for one in ones] for ones in self._all()]).encode())
        for teacher in self._teachers:
            found.update(teacher_identity(teacher).encode())
        return found.hexdigest()

    def _all(self) -> list[list[Method]]:
        return [list(ones) for ones in self.methods]  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lecture:
    """A teaching at a moment of the training.

    Attributes:
        teaching: Teaching.
        progress: Share of the training that is done, in [0, 1).
    """

    teaching: Teaching
    progress: float = 0.0


def answer_of(teacher: Teacher, images: Tensor) -> Tensor:
    """A teacher's output for images (N, C, H, W): its first tensor, or the ``logits`` of a record."""
    found = _tensor(teacher(images))
    assert found is not None  # as it had when it was looked at
    return found


def teacher_identity(teacher: Teacher) -> str:
    """What tells a teacher from others: a hash of a module's weights, a function's own ``identity``."""
    if isinstance(teacher, nn.Module):
        found = hashlib.sha256()
        for name, tensor in teacher.state_dict().items():
            if isinstance(tensor, Tensor):
                found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                found.update(
                    tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                )
        return found.hexdigest()
    return str(getattr(teacher, "identity", type(teacher).__name__))


def _settings(method: Method) -> tuple[str, list[tuple[str, object]]]:
    own = {name: value for name, value in vars(method).items() if not name.startswith("_")}
    own.pop("training", None)
    return type(method).__name__, sorted((name, value) for name, value in own.items())


@contextlib.contextmanager
def _nothing() -> Iterator[dict[str, Tensor]]:
    yield {}


def _tensor(output: object) -> Tensor | None:
    """The output of a network: a tensor, the first of several, or the ``logits`` of a record."""
    logits = getattr(output, "logits", None)
    return logits if isinstance(logits, Tensor) else first_tensor(output)


def _logits_of(output: object, logits: Callable[[Tensor], Tensor], who: str) -> torch.Size:
    found = _tensor(output)
    if found is None:
        raise ValueError(f"{who} gives a {type(output).__name__}; it has to give a tensor first")
    return logits(found).shape


def _made(
    teacher: Teacher,
    student: Mapping[str, torch.Size],
    own: torch.Size,
    methods: Sequence[MakeMethod],
    example: Tensor,
    logits: Callable[[Tensor], Tensor],
) -> list[Any]:
    """The methods for one teacher.

    Raises:
        ValueError: as of ``Teaching``.
    """
    name = _name(teacher)
    features: Mapping[str, torch.Size] | None = None
    refuse_training_mode(teacher)
    if isinstance(teacher, nn.Module):
        _check_place(teacher, name, example.device)
    try:
        if isinstance(teacher, nn.Module):
            features, output = features_of(teacher, example)
        else:
            output = teacher(example)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever a stranger's network raises
        raise ValueError(
            f"the teacher ({name}) fails on images of {tuple(example.shape[1:])}: "
            f"{type(error).__name__}: {error}"
        ) from error
    made = [make(FeatureShapes(student=student, teacher=features)) for make in methods]
    theirs = _logits_of(output, logits, f"the teacher ({name})")
    if theirs != own and any(one.compares_logits for one in made):
        raise ValueError(
            f"the teacher ({name}) gives outputs of {tuple(theirs)} for {len(example)} images and the "
            f"network of {tuple(own)}: both have to tell the same classes apart; right are a teacher of "
            f"these classes, or methods that compare features alone (features, attention, relational)"
        )
    return made


def refuse_training_mode(teacher: Teacher) -> None:
    """Raises a ValueError where a teacher is a module in training mode."""
    if isinstance(teacher, nn.Module) and any(part.training for part in teacher.modules()):
        raise ValueError(
            f"the teacher ({_name(teacher)}) is in training mode, in which it answers otherwise and changes "
            f"its statistics; call its eval() first"
        )


def _name(teacher: Teacher) -> str:
    return str(getattr(teacher, "name", type(teacher).__name__))


def _check_place(teacher: nn.Module, name: str, device: torch.device) -> None:
    elsewhere = {one.device for one in (*teacher.parameters(), *teacher.buffers())} - {device}
    if elsewhere:
        raise ValueError(
            f"the teacher ({name}) is on {elsewhere.pop()} and the network on {device}; move it there first"
        )
