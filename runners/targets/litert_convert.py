"""LiteRT's converter as calls, run by a Python that has litert-torch, alone: it imports nothing of ours.

``PYTHON litert_convert.py FD`` answers lines ``["convert", {"source": ..., "file": ...}]`` on a descriptor.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib import metadata


def convert(source: str, file: str, precision: str) -> None:
    """Converts a program.

    Args:
        source: ``torch.export`` program of one input.
        file: path to write.
        precision: fp32, or int8, in which weights alone are kept and activations rounded as they come.
    """
    warnings.simplefilter("ignore")  # of deprecations inside the converter
    import litert_torch
    import torch

    with open(source, "rb") as handle:
        program = torch.export.load(handle)
    (given,) = program.graph_signature.user_inputs
    (shape,) = (node.meta["val"].shape for node in program.graph.nodes if node.name == given)
    module = program.module(check_guards=False)
    module.training = False
    converted = litert_torch.convert(module, (torch.zeros(tuple(map(int, shape))),))
    converted.export(file)
    if precision == "int8":
        from ai_edge_quantizer import quantizer, recipe

        rounded = quantizer.Quantizer(file, recipe.dynamic_wi8_afp32())
        os.remove(file)
        rounded.quantize().export_model(file, overwrite=True)


def version() -> str:
    """The converter's version."""
    return metadata.version("litert-torch")


def main(answers: int) -> None:
    """Answers the calls of its standard input until that ends."""
    known: dict[str, Callable[..., object]] = {"convert": convert, "version": version}
    with os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            function, arguments = json.loads(line)
            try:
                answer = {"result": known[function](**arguments)}
            except Exception as error:  # whatever a converter raises
                words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                answer = {"error": words}
            out.write(json.dumps(answer) + "\n")
            out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
