"""Runtimes whose files are made of ``torch.export`` programs, in processes of their own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray
from torch import nn

from runners.targets.apart import ApartTarget
from runners.targets.pytorch import exported_program, refuse_operators, refuse_precision, save_program

PATIENCE_S = 1200.0
"""Seconds that a call may take: a large network is compiled for minutes where other programs are at work."""


class ProgramApartTarget(ApartTarget):
    """Files are converted from programs for the profile's number of images, and tell no time by operator."""

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a file, which is compared with the network."""
        refuse_precision(self._profile, precision)
        program = exported_program(network, (self._profile.batch, *input_shape), free_batch=False)
        refuse_operators(self._profile, program)
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder, torch.no_grad():
            source = Path(folder) / "model.pt2"
            save_program(program, source)
            module = program.module()
            images = torch.randn(
                (self._profile.batch, *input_shape), generator=torch.Generator().manual_seed(0)
            )
            right = module(images.clone())
            if not right.isfinite().all():  # as of a logarithm
                images = images.abs()
                right = module(images.clone())
            self._convert(source, path, precision, images.numpy(), right.numpy())

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> NoReturn:
        """Refuses: these runtimes run what they fused, or delegated, as one.

        Raises:
            ValueError: always.
        """
        del file, images
        raise ValueError(f"{self.facts.runtime} does not tell the time of single operators")
