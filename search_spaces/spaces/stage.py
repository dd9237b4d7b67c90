"""The choices of one stage of a MetaFormer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from results.names import unknown
from search_spaces.channel_mixers import CHANNEL_MIXERS, ChannelMixer
from search_spaces.entries import ENTRIES, StageEntry
from search_spaces.mixers.registry import Mixer, choices_of, configured
from search_spaces.norms import NORMS, norm_names
from search_spaces.operations.operation import Options
from search_spaces.operations.options import chosen
from search_spaces.parts import ACTIVATIONS
from search_spaces.residuals import RESIDUALS, ResidualForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The choices of one stage. Of parts that are named once, there is nothing to choose.

    Attributes:
        widths: channel counts, ascending.
        depths: block counts, ascending.
        mixers: names, in any order.
        ratios: hidden channels of the channel mixer over channels, ascending.
        resolution_step: stride of the stage's first layer (the stem for the first stage), which is the side
            of a patch where that is a patch embedding; several, ascending, are a choice ``stageI.stride``.
        channel_mixers: names of what stands after the mixer, in any order.
        norms: names of norms of both halves of a block, in any order.
        residuals: names of the ways to join both halves with what goes past them, in any order.
        entries: names of what starts the stage, in any order.
        options: values of the parts' own choices, and their settings, by part and key; a choice that
            several mixers share takes the values given to any of them.
        activation: activation of its layers, whatever the space's; empty takes that.

    Raises:
        ValueError: an unknown part, option or value; widths that a part cannot take; values out of order; a
            name that stands for two parts.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mixers: tuple[str, ...] = ("identity", "pooling", "attention", "depthwise")
    ratios: tuple[float, ...] = (1, 2, 4)
    resolution_step: int | tuple[int, ...] = 2
    channel_mixers: tuple[str, ...] = ("mlp",)
    norms: tuple[str, ...] = ("batch",)
    residuals: tuple[str, ...] = ("sum",)
    entries: tuple[str, ...] = ("strided",)
    options: Options = field(default_factory=dict)
    activation: str = ""

    def __post_init__(self) -> None:
        if self.activation and self.activation not in ACTIVATIONS:
            raise ValueError(unknown("activation", self.activation, ACTIVATIONS))
        named = (*self.mixers, *self.channel_mixers, *self.norms, *self.residuals, *self.entries)
        if doubled := [name for name, times in Counter(named).items() if times > 1]:
            raise ValueError(
                f"{doubled[0]!r} stands twice in a stage: among its mixers, channel mixers, norms, residuals "
                f"and entries every name is one part, which options and layers are told by"
            )
        if wrong := [name for name in self.norms if name not in norm_names()]:
            raise ValueError(unknown(NORMS.kind, wrong[0], norm_names()))
        if not self.norms:
            raise ValueError("a stage needs one norm or more")
        for one in (*self.configured, *self.configured_channel_mixers):
            one.refuse_widths(self.widths)
        choices_of(self.configured)
        _ = self.configured_residuals, self.configured_entries  # their options are right
        for name in ("widths", "depths", "ratios", "strides"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or not values or min(values) <= 0:
                raise ValueError(f"{name} must be positive, ascending and without repeats, got {values}")

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of its first layer."""
        step = self.resolution_step
        return (step,) if isinstance(step, int) else step

    @property
    def configured(self) -> tuple[Mixer, ...]:
        """The mixers with their options."""
        others = (*self.channel_mixers, *self.norms, *self.residuals, *self.entries)
        return configured(self.mixers, {k: own for k, own in self.options.items() if k not in others})

    @property
    def configured_channel_mixers(self) -> tuple[ChannelMixer, ...]:
        """The channel mixers with their options."""
        return chosen(CHANNEL_MIXERS, self.channel_mixers, self.options)

    @property
    def configured_residuals(self) -> tuple[ResidualForm, ...]:
        """The residual forms with their options."""
        return chosen(RESIDUALS, self.residuals, self.options)

    @property
    def configured_entries(self) -> tuple[StageEntry, ...]:
        """The entries with their options."""
        return chosen(ENTRIES, self.entries, self.options)
