"""The number format of a training: bf16 where the processor has it and the networks run in it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from compress.plain import faithful_copy
from runners.training.batches import TrainingData
from runners.training.trainable import Trainable


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """What forward passes run under: ``fp32`` or ``bf16``, weights in float32 in both."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the processor computes in bf16: AVX512-BF16 or AMX of a CPU, a GPU from Ampere on."""
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False


def resolve(precision: str, trainable: Trainable[Any], data: TrainingData) -> str:
    """``fp32`` or ``bf16``: what is asked for, and for ``auto`` what is fast here.

    That is bf16 where the processor has it, down to networks of 0.1 M multiply-accumulates on 8x8 images, for
    which it costs nothing; unless the largest network, or one with another value of a category, does not run
    in it (what a user's module does by itself may take one format only). It follows from device and networks
    alone, so that it is the same after a kill. The random state and the network are left as they are.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        trainable: what will be trained.
        data: what it will be trained on; two images are run.
    """
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(trainable.device) and _runs_in_bf16(trainable, data) else "fp32"


def _runs_in_bf16(trainable: Trainable[Any], data: TrainingData) -> bool:
    """Whether the largest network does, and each that differs from it in a category: another mixer, say."""
    space = trainable.space
    largest = space.to_row(space.largest())
    others = space.neighbours(largest)
    rows = [largest, *others[(others != largest)[:, space.categorical].any(axis=1)]]
    devices = [trainable.device] if trainable.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), autocast(trainable.device, "bf16"):
        images = data.prepare(data.images[:2], None).to(trainable.device)
        try:
            for row in rows:
                network = trainable.subnet(space.to_arch(row))
                if network is trainable.model:  # running it would change its statistics
                    network = faithful_copy(network)
                network(images)
        except Exception:  # whatever a strange module raises; if it does so in float32 too, the training will
            return False
    return True
