"""Outputs of teachers, computed once for every training image as augmentation may show it, kept and reused.

"Re-labeling ImageNet: from Single to Multi-Labels, from Global to Localized Labels" (Yun et al., CVPR 2021):
a teacher's dense map of labels is kept for each image, and a crop learns what its place in the map says.
There the map is that of the teacher's last features; here the teacher is asked at crops on a grid of places,
which any network or file can answer, and what lies between is interpolated.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.distillation import Teacher, teacher_identity
from nas.distillation.teaching import answer_of, refuse_training_mode
from results.files import replace_atomic
from runners.data.splits import Prepare
from runners.tasks import CLASSIFICATION, Task

_FORMAT = "quarry-relabelled-1"
_IMAGES = 256  # that a teacher is asked about at a time
_LEAST = -80.0  # logarithm of a prediction: what is far below has none in float32 once it is mixed
_ASKED_AGAIN, _CHANGED = 8, 0.02  # images that show whether a teacher says what it said, and a difference
_SAVED_EVERY = 64  # calls, after which what is there is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What teachers say of every training image, by the place of its crop.

    Attributes:
        logits: Logarithms of the mean predictions, float16 (N, mirrored or not, rows, columns, classes).
        prepare: Augmentation whose crops they are for.
        identity: Hash of the teachers, the images and the views.
    """

    logits: Tensor
    prepare: Prepare
    identity: str

    @property
    def name(self) -> str:
        """Words for messages."""
        return "what was kept of the teachers"

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of no image in particular, which say how many classes there are: (N, classes)."""
        return self.logits.new_zeros((len(images), self.logits.shape[4]), dtype=torch.float32)

    def of(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """What is said of images as ``prepare`` shows them with this generator, float32 (n, classes).

        Args:
            chosen: Indices of the images, (n,).
            generator: Generator as it is given to ``prepare`` for the same batch.
        """
        height = 1 if self.logits.shape[2] == 1 else 2
        shift, mirrored = self.prepare.moves(len(chosen), height, generator)
        found = self.logits[chosen.cpu(), mirrored.long()].float()
        for axis in (0, 1):  # rows, then columns: each time the first of those that are left
            found = _between(found, shift[axis].float(), 2 * self.prepare.crop_padding)
        return found


def _between(values: Tensor, place: Tensor, last: int) -> Tensor:
    """Values (n, places, ...) at places in [0, last], on a line between two of them each."""
    steps = values.shape[1] - 1
    if steps == 0 or last == 0:
        return values[:, 0]
    at = place / last * steps
    low = at.floor().clamp(max=steps - 1).long()
    one, other = (values[torch.arange(len(values)), index] for index in (low, low + 1))
    return torch.lerp(one, other, (at - low).view(-1, *[1] * (one.ndim - 1)))


def relabelled(
    teachers: Sequence[Teacher],
    images: Tensor,
    prepare: Prepare,
    path: Path,
    *,
    views: int = 3,
    task: Task = CLASSIFICATION,
    device: torch.device | str = "cpu",
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Relabelled:
    """What teachers say of every image, read from a file, or asked for and kept there.

    A killed call goes on where it was last kept. The mean over the teachers is that of their predictions.

    Args:
        teachers: Networks in eval mode on the device, or functions of images.
        images: Training images as stored, uint8 (N, C, H, W).
        prepare: Their augmentation: crops and mirrored ones are asked about where it makes them.
        path: File to read or to write.
        views: Places of the crop along each side that are asked about; 1 is the middle alone.
        task: What of the outputs is compared.
        device: Device of the teachers.
        watch: Called with the calls done and in all.

    Raises:
        ValueError: no teacher, no view, a teacher in training mode, outputs that are not one row an image, or
            a file of other images, teachers or views; says which.
        OSError: the file cannot be written.
    """
    if not teachers or views < 1:
        raise ValueError(f"{len(teachers)} teachers are asked about {views} views; one of each is the least")
    for teacher in teachers:
        refuse_training_mode(teacher)
    places, sides = _views(prepare, views, images.shape[2])
    about = {
        "format": _FORMAT,
        "teachers": _hash("".join(map(teacher_identity, teachers))),
        "images": _hash(images.cpu().contiguous().numpy().tobytes(), str(tuple(images.shape))),
        "views": f"{prepare} {views}",
    }
    logits, done = _read(path, about)
    if logits is not None:
        seen = prepare.moved(images[:_ASKED_AGAIN], places[0][0], places[1][0]).to(device)
        _check_same(_asked(teachers, seen, task), logits[: len(seen), 0, 0, 0].float(), path)
    calls = list(itertools.product(range(0, len(images), _IMAGES), sides))
    for number, (start, side) in enumerate(calls[done:], done + 1):
        part = images[start : start + _IMAGES]
        for (row, top), (column, left) in itertools.product(enumerate(places[0]), enumerate(places[1])):
            seen = prepare.moved(part, top, left, mirrored=bool(side)).to(device)
            given = _asked(teachers, seen, task)
            if logits is None:
                shape = (len(images), len(sides), len(places[0]), len(places[1]), given.shape[1])
                logits = torch.zeros(shape, dtype=torch.float16)
            logits[start : start + len(part), side, row, column] = given
        watch(number, len(calls))
        assert logits is not None
        if number % _SAVED_EVERY == 0 or number == len(calls):
            _write(path, logits, {**about, "done": str(number)})
    assert logits is not None
    return Relabelled(logits=logits, prepare=prepare, identity=_hash(*(f"{one}" for one in about.values())))


def _views(prepare: Prepare, views: int, height: int) -> tuple[tuple[list[int], list[int]], list[int]]:
    """Places of the crop along rows and columns, and whether mirrored (1) images are asked about."""
    last = 2 * prepare.crop_padding
    columns = [last // 2]
    if views > 1 and last:
        if last % (views - 1):
            right = [str(each + 1) for each in range(1, last + 1) if last % each == 0]
            raise ValueError(
                f"a crop begins at one of {last + 1} places along each side, among which {views} views "
                f"cannot be spread evenly; right are 1, {', '.join(right)}"
            )
        columns = list(range(0, last + 1, last // (views - 1)))
    rows = columns if height > 1 else [last // 2]
    return (rows, columns), [0, 1] if prepare.flip else [0]


@torch.no_grad()
def _asked(teachers: Sequence[Teacher], images: Tensor, task: Task) -> Tensor:
    """Logarithms of the mean predictions, on the CPU, (n, classes)."""
    found = []
    for teacher in teachers:
        logits = task.logits(answer_of(teacher, images).float())
        if logits.ndim != 2 or len(logits) != len(images):
            raise ValueError(
                f"teachers that are kept give one row of logits an image, not {tuple(logits.shape)} for "
                f"{len(images)} images"
            )
        found.append(logits.log_softmax(1).clamp(min=_LEAST))
    return (found[0] if len(found) == 1 else torch.stack(found).exp().mean(0).log()).cpu()


def _check_same(now: Tensor, then: Tensor, path: Path) -> None:
    """Weights tell teachers apart, but not code that has changed, nor functions.

    Raises:
        ValueError: the predictions, given as logarithms (n, classes), differ.
    """
    if now.shape != then.shape or float((now.exp() - then.exp()).abs().max()) > _CHANGED:
        raise ValueError(
            f"{path} holds what teachers of these weights said, and now they say something else, so their "
            f"code has changed; use another path, or delete it to ask them again"
        )


def _read(path: Path, about: dict[str, str]) -> tuple[Tensor | None, int]:
    """What was kept, and how many calls of it are done."""
    if not path.exists():
        return None, 0
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            logits = file.get_tensor("logits")
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to ask the teachers again") from error
    if other := [key for key in about if metadata.get(key) != about[key]]:
        raise ValueError(
            f"{path} holds what teachers said with other {' and other '.join(other)}; use another path, or "
            f"delete it to ask the teachers again"
        )
    return logits, int(metadata["done"])


def _write(path: Path, logits: Tensor, metadata: dict[str, str]) -> None:
    replace_atomic(path, lambda file: save_file({"logits": logits}, file, metadata))


def _hash(*parts: bytes | str) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else part.encode())
    return found.hexdigest()
