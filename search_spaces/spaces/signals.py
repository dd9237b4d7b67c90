"""The presets of signals and time series, which are maps of one row.

Stages choose among the mixers of sequences: convolutions whose dilation grows, long convolutions, continuous
kernels, state spaces, spectral filters, trees of scales and a convolution that depends on the signal.
"""

from __future__ import annotations

from search_spaces.spaces.stage import Stage

SEQUENCE_MIXERS = (
    "identity",
    "dilated",
    "long_conv",
    "sgconv",
    "ckconv",
    "state_space",
    "stu",
    "multires",
    "orchid",
)


def _stage(widths: tuple[int, ...], depths: tuple[int, ...], *, step: int) -> Stage:
    """A stage that begins with a convolution along the row."""
    return Stage(
        widths=widths,
        depths=depths,
        mixers=SEQUENCE_MIXERS,
        entries=("along",),
        ratios=(1, 2),
        resolution_step=step,
    )


SIGNALS: dict[str, tuple[Stage, ...]] = {
    # For signals of some 50 to 200 samples: as many positions, then half.
    "signal-short": (
        _stage((16, 32), (1, 2), step=1),
        _stage((32, 64), (1, 2), step=2),
    ),
    # For signals of 500 samples and more: a quarter of the positions, a sixteenth, and half of that.
    "signal": (
        _stage((16, 32, 48), (1, 2), step=4),
        _stage((32, 64, 96), (1, 2, 3), step=4),
        _stage((64, 128), (1, 2), step=2),
    ),
}
