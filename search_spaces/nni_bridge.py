"""Conversion to and from ``nni.mutable``, for NNI's tuners and for spaces written for NNI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.choice import Choice, Value
from search_spaces.space import Arch, SearchSpace

if TYPE_CHECKING:
    from nni.mutable import Mutable, MutableDict


def to_nni(space: SearchSpace) -> MutableDict:
    """The space as ``nni.mutable`` sees it: every choice a labelled category.

    NNI has no choice that depends on another; inactive ones are there and change nothing.
    """
    from nni.mutable import Categorical, MutableDict

    return MutableDict(
        {choice.name: Categorical(list(choice.values), label=choice.name) for choice in space.choices}
    )


def from_nni(mutable: Mutable, *, name: str = "nni") -> SearchSpace:
    """A space written for NNI as one of ours; its networks are what ``mutable.freeze`` makes.

    NNI gives no order to a choice's values; numbers are taken as sizes, from small to large.

    Args:
        mutable: model space, or anything else with labelled choices.
        name: name of the space.

    Raises:
        ValueError: a choice that has no finite list of plain values, or constraints, which NNI only knows
            how to check after sampling.
    """
    choices = [_choice(label, part) for label, part in mutable.simplify().items()]
    if not choices:
        raise ValueError("NNI's description holds no choices")

    def build(arch: Arch) -> Any:
        return mutable.freeze(dict(arch))

    return SearchSpace(name, choices, build)


def _choice(label: str, part: Any) -> Choice:
    from nni.mutable import Categorical, Numerical

    if isinstance(part, Categorical):
        for value in part.values:
            if not isinstance(value, bool | int | float | str):
                raise ValueError(
                    f"NNI's choice {label!r} has the value {value!r}; "
                    "only numbers, booleans and strings are taken"
                )
        strings = any(isinstance(value, str) for value in part.values)
        return Choice(label, tuple(part.values) if strings else tuple(sorted(part.values)))
    if isinstance(part, Numerical):
        if part.quantize is None:
            raise ValueError(
                f"NNI's choice {label!r} is continuous; give it quantize= so that it has finitely many values"
            )
        values = (
            np.arange(np.ceil(part.low / part.quantize), np.floor(part.high / part.quantize) + 1)
            * part.quantize
        )
        return Choice(label, tuple(_plain(value) for value in values.tolist()))
    raise ValueError(
        f"NNI's {type(part).__name__} {label!r} is no choice between values; it cannot be searched here"
    )


def _plain(value: float) -> Value:
    return int(value) if value == int(value) else value
