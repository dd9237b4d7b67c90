"""An exported network as ONNX Runtime runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]


class OnnxFile:
    """An ONNX file, or its content, loaded in ONNX Runtime on the CPU; callable on batches.

    Raises:
        ValueError: the file cannot be loaded, or does not have exactly one input and one output.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, file: Path | bytes, *, threads: int = 1) -> None:
        import onnxruntime

        if isinstance(file, Path) and not file.exists():
            raise FileNotFoundError(f"there is no file {file}")
        self._name = str(file) if isinstance(file, Path) else "the ONNX graph"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exception classes share no base but Exception
            raise ValueError(f"{self._name} cannot be loaded by ONNX Runtime: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(
                f"{self._name} has {len(inputs)} inputs and {len(outputs)} outputs; one of each is needed"
            )
        self._input = inputs[0]

    @property
    def batch(self) -> int | None:
        """Images that each call has to have; None where any number will do."""
        size = self._input.shape[0] if self._input.shape else None
        return size if isinstance(size, int) else None

    @property
    def input_name(self) -> str:
        """Name of the one input."""
        name: str = self._input.name
        return name

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Logits (B, classes) float32 of images (B, ...) float32.

        Raises:
            ValueError: the images do not have the shape that the file takes.
        """
        wanted = self._input.shape[1:]
        if list(images.shape[1:]) != list(wanted):
            raise ValueError(
                f"{self._name} takes images of shape {tuple(wanted)}, got {tuple(images.shape[1:])}"
            )
        logits: NDArray[np.float32] = self._session.run(None, {self._input.name: images})[0]
        return logits
