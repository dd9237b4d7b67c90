"""The keys of recipes: which there are, what stands at each, and what an earlier version called them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from results.names import unknown
from runners.recipe.part import Part
from runners.recipe.schema import Recipe

MOVED = {
    "profile": "[measure]",
    "profile.hardware": "measure.profile",
    "profile.ray_address": "measure.ray_address",
    "profile.fit_networks": "measure.fit_networks",
    "profile.check_networks": "measure.check_networks",
    "profile.seconds_each": "measure.seconds_each",
    "profile.seed": "measure.seed",
    "data.image_column": "data.source.image_column",
    "data.label_column": "data.source.label_column",
    "train.random_subnets": "train.rule.random_subnets",
    "compress.finetune_epochs": "compress.recovery.epochs",
    "compress.learning_rate": "compress.recovery.learning_rate",
    "compress.teacher_weight": "compress.recovery.teacher_weight",
    "compress.temperature": "compress.recovery.temperature",
    "compress.retrain_epochs": "compress.steps.retrain.epochs; without a retraining, leave the step out",
    "compress.prune_ratio": "compress.steps.prune.keep, the share that stays: a list such as [0.75]",
    "compress.channel_step": "compress.steps.prune.counts",
    "compress.quantize": 'compress.steps, with or without "quantize"',
}
"""Keys of earlier versions, and where what they set is set now."""


def field_at(path: Sequence[str]) -> FieldInfo | None:
    """The field of a dotted key; None where there is none."""
    model: Any = Recipe
    field = None
    for name in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or model is Part:
            return None
        field = model.model_fields.get(name)
        model = field.annotation if field is not None else None
    return field


def holds_part(path: Sequence[str]) -> bool:
    """Whether one part stands at a key."""
    field = field_at(path)
    return field is not None and field.annotation is Part


def holds_parts(path: Sequence[str]) -> bool:
    """Whether a list of parts stands at a key."""
    field = field_at(path)
    return field is not None and field.annotation == tuple[Part, ...]


def standing(path: Sequence[str]) -> Any:
    """What a recipe that leaves a key out has there, as TOML would give it; an empty table for a section."""
    field = field_at(path)
    if field is None or field.annotation is None or field.is_required():
        return {}
    if not (holds_part(path) or holds_parts(path)):
        return {}
    return TypeAdapter(field.annotation).dump_python(field.get_default(), mode="json")


def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key, dotted, with its field; a section's before those in it."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not Part:
            yield from fields(inner, f"{prefix}{name}.")


def unknown_key(path: Sequence[str]) -> str:
    """The message for a key that there is none of: where it stands now, or the nearest that there is.

    Args:
        path: names of the key, section by section.
    """
    key = ".".join(path)
    if key in MOVED:
        return f"this key of an earlier version is {MOVED[key]} now"
    section, name = ".".join(path[:-1]), path[-1]
    places: dict[str, list[str]] = {}  # of each name, the dotted keys that end in it
    for other in _keys():
        places.setdefault(other.rpartition(".")[2], []).append(other)
    beside = [other.rpartition(".")[2] for other in _keys() if other.rpartition(".")[0] == section]
    if not difflib.get_close_matches(name, beside, n=1, cutoff=0.8):
        for elsewhere in difflib.get_close_matches(name, places, n=1, cutoff=0.8):
            return f"unknown key {name!r} here. Did you mean {' or '.join(places[elsewhere])}?"
    return unknown("key", name, beside)


@cache
def _keys() -> tuple[str, ...]:
    return tuple(key for key, _ in fields())
