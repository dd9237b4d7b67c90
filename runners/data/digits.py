"""scikit-learn's handwritten digits: the data set that needs no file."""

from __future__ import annotations

import numpy as np
from PIL import Image

from runners.data.images import decode_all
from runners.data.raw import Raw, RawSplit, View


def read_digits(view: View, *, sequence: bool = False) -> Raw:
    """scikit-learn's 1,797 handwritten digits of 8x8 grey pixels, brought to the input.

    Args:
        view: input of the networks.
        sequence: order of the pixels as a signal, one row after another: 1x64, one channel.

    Raises:
        ValueError: a sequence that is asked for in another shape.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    if sequence:
        if (view.channels, view.height, view.width) != (1, 1, grey[0].size):
            raise ValueError(
                f"digits as a sequence are signals of one row: data.channels = 1, data.height = 1, "
                f"data.width = {grey[0].size}; got {view.channels}, {view.height}, {view.width}"
            )
        signals = grey.reshape(len(grey), 1, 1, -1)
        return Raw({"train": RawSplit(signals, data.target.astype(np.int64))}, tuple("0123456789"))
    pixels = decode_all(
        len(grey),
        lambda i: Image.fromarray(grey[i]),
        lambda i: f"digits #{i}",
        height=view.height,
        width=view.width,
        channels=view.channels,
        white=view.white,
    )
    return Raw({"train": RawSplit(pixels, data.target.astype(np.int64))}, tuple("0123456789"))
