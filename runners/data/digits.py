"""scikit-learn's handwritten digits: the data set that needs no file."""

from __future__ import annotations

import numpy as np
from PIL import Image

from runners.data.images import decode_all
from runners.data.raw import Raw, RawSplit, View


def read_digits(view: View) -> Raw:
    """scikit-learn's 1,797 handwritten digits of 8x8 grey pixels, brought to the input."""
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
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
