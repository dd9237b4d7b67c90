"""Cheaper operators that learn from the ones they stand for: from their own inputs and outputs, one by one.

After "Laughing Hyena Distillery: Extracting Compact Recurrences From Convolutions" (Massaroli et al., NeurIPS
2023): a trained operator is distilled into a cheaper one by itself, without labels, and its error says
whether that may stand for it. What blocks of a space of slots learn of one another is in ``nas.blockwise``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_FEW = 64  # images by which a module is fitted that has a formula for it
_BATCH = 32
_HELD_BACK = 4  # of which one share is for the errors


def learn(
    network: nn.Module,
    students: Mapping[str, nn.Module],
    images: Tensor,
    *,
    passes: int,
    lr: float = 1e-3,
    seed: int = 0,
) -> dict[str, float]:
    """Trains each student, in place, to do what the module of that name does, all of them in one go.

    Each minimises the squared error over the variance of the module's output: by its own ``fit`` where it has
    one, or else by Adam with a cosine to zero. The network stays as it is.

    Args:
        network: Trained network.
        students: Modules by the name of the one that each learns from.
        images: Its inputs, (N, ...), four or more; the last quarter is for the errors.
        passes: Passes over these images.
        lr: First learning rate.
        seed: Seed of the order of the images.

    Returns:
        The error of each on images that it did not learn from: squared, over the squared deviation of the
        module's output from its mean. 0 does the same, 1 is as good as a constant; of modules that the
        network does not call it is infinite.

    Raises:
        ValueError: fewer than four images.
    """
    if len(images) < _HELD_BACK:
        raise ValueError(f"{len(images)} images are too few to learn from and to judge by; give 4 or more")
    split = len(images) - len(images) // _HELD_BACK
    known, judged = images[:split], images[split:]
    with _flow(network, students) as flow:
        network(known[:1])
    unused = dict.fromkeys(students.keys() - flow.keys(), math.inf)
    students = {name: student for name, student in students.items() if name in flow}
    by_steps: dict[str, nn.Module] = {}
    for name, student in students.items():
        fit: Any = getattr(student, "fit", None)
        if fit is None:
            by_steps[name] = student.train()
            continue
        with _flow(network, (name,)) as flow:
            network(known[:_FEW])
        fit(*flow[name])
    steps = passes * max(1, len(known) // _BATCH)
    _by_gradients(network, by_steps, known, steps=steps, lr=lr, seed=seed)
    wrong, spread = dict.fromkeys(students, 0.0), dict.fromkeys(students, 0.0)
    for batch in judged.split(_BATCH):
        with _flow(network, students) as flow:
            network(batch)
        for name, student in students.items():
            given, wanted = flow[name]
            with torch.no_grad():
                wrong[name] += float((student.eval()(given) - wanted).square().sum())
            spread[name] += float((wanted - wanted.mean()).square().sum())
    return {**{name: wrong[name] / max(spread[name], 1e-12) for name in students}, **unused}


def _by_gradients(
    network: nn.Module, students: Mapping[str, nn.Module], images: Tensor, *, steps: int, lr: float, seed: int
) -> None:
    parameters = [parameter for student in students.values() for parameter in student.parameters()]
    if not parameters:
        return
    optimizer, generator = torch.optim.Adam(parameters, lr), torch.Generator().manual_seed(seed)
    for step in range(steps):
        chosen = torch.randperm(len(images), generator=generator)[:_BATCH]
        with _flow(network, students) as flow:
            network(images[chosen])
        for name, student in students.items():
            given, wanted = flow[name]
            loss = (student(given) - wanted).square().mean() / wanted.var().clamp(min=1e-12)
            loss.backward()
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        optimizer.zero_grad()


@contextmanager
def _flow(network: nn.Module, names: Mapping[str, Any] | tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Input and output of modules, by name, of what runs inside; eval mode, without gradients."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def seen(name: str) -> Any:
        def hook(_module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            # Copies: what follows may write into them, as an activation in place does.
            found[name] = (given[0].detach().clone(), output.detach().clone())

        return hook

    handles = [network.get_submodule(name).register_forward_hook(seen(name)) for name in names]
    try:
        with torch.no_grad():
            network.eval()
            yield found
    finally:
        for handle in handles:
            handle.remove()
