"""Clustered weights: each a table of few values and indices into it, in a smaller file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.clusters.shared import cluster, settle
from compress.onnx.numbers.palettes import store_palettes
from compress.plain import plain_copy
from compress.steps.registry import STEPS, refuse_int8
from compress.steps.several import each

Bits = Literal[4, 8]
PALETTE = "palette"
"""What the number format of such a file is called."""


@STEPS.register("cluster", needs={"onnx"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Weights that share few values (k-means), then training of these values: for a limit on the file's size.

    The runtime makes floats of them when it loads the file, which is as fast as it was and has as much in
    memory: so with a limit on the latency this is undone.

    Attributes:
        bits: Bits of an index into the values of a layer, or several, each of which is tried at the price of
            a fine-tuning.
        length: Numbers with one index: 4 bits for 2 numbers are 2 bits a number.
        group: Output channels that have values of their own; a layer has the same for all where none is given
            or its channels are no multiple.
        epochs: Epochs to train the values; those of the recovery training where none are given, and 0 leaves
            them as they are found.
        ignore: Names of layers, or of modules that hold them, that keep their weights.
    """

    for_speed: ClassVar[bool] = True
    bits: Bits | Annotated[tuple[Bits, ...], Field(min_length=1)] = 4
    length: Literal[1, 2, 4, 8] = 1
    group: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=0)] | None = None
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each number of bits.

        Raises:
            ValueError: the file is quantized already, no weight is smaller that way, or the training is not
                in place.
        """
        refuse_int8(current, context)

        def of(bits: Bits) -> Candidate:
            network = plain_copy(current.network)
            begun = cluster(
                network,
                2**bits,
                length=self.length,
                group=self.group,
                ignore=self.ignore,
                seed=context.seed,
            )
            if not begun:
                raise ValueError("no convolution or linear layer has weights that can share values")
            if self.epochs != 0:
                context.finetune_in_place(network, epochs=self.epochs, changed="values are shared")
            palettes = settle(network, begun)
            whole, file = (context.file(folder, f"{kind}_{bits}") for kind in ("float", "palette"))
            context.export(network.eval(), whole)
            smaller = store_palettes(whole, file, network, palettes)
            return replace(
                current,
                network=network,
                file=file,
                precision=PALETTE,
                label=f"{len(smaller)} layers of {2**bits} values each"
                + (f", {bits / self.length:g} bits a number" if self.length > 1 else ""),
            )

        tried = self.bits if isinstance(self.bits, tuple) else (self.bits,)
        return each({f"{bits} bits": partial(of, bits) for bits in tried})
