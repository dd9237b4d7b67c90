"""Smaller weights: the same network in a smaller file, computed in float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.onnx.numbers.storage import BLOCK, STORAGES, Storage, store_weights
from compress.steps.registry import STEPS, refuse_int8
from compress.steps.several import each


@STEPS.register("store", needs={"onnx"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Weights in fewer bits, computed in float: for a limit on the size of the file.

    Where there is a limit on the latency instead, it is kept only if the file got faster, which products of
    large matrices in int4 may.

    Attributes:
        formats: Formats to try.
        block: Numbers with one scale in products in int4, a power of two.
    """

    for_speed: ClassVar[bool] = True
    formats: Annotated[tuple[Storage, ...], Field(min_length=1)] = STORAGES
    block: Annotated[int, Field(ge=16)] = BLOCK

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each format: the same network, another file.

        Raises:
            ValueError: the file is quantized already, or has no weights.
        """
        refuse_int8(current, context)

        def of(storage: Storage) -> Candidate:
            file = context.file(folder, f"weights_{storage}")
            store_weights(current.file, file, storage, block=self.block)
            return replace(current, file=file, precision=storage, label=f"weights in {storage}")

        return each({storage: partial(of, storage) for storage in self.formats})
