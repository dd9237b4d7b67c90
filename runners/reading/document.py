"""docs/recipe.md, made from the fields of recipes and the registries of parts.

python -m runners.reading.document > docs/recipe.md
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from results.numbers import count
from results.registry import REQUIRED, Registered, Setting
from runners.reading.registries import registries
from runners.recipe.part import Part
from runners.recipe.schema import Recipe
from runners.targets.profile import load_profile, shipped_profiles
from search_spaces.operations.operation import Operation
from search_spaces.spaces.preset_sizes import SIZES, TRAINING

_HEAD = """\
# Recipes

A recipe is a TOML file that says what a run does: `quarry run my.toml`. This page is made from the code by
`python -m runners.reading.document > docs/recipe.md`, and a test holds it to that.

Keys are set in the file, or on the command line with `--set section.key=value`; what is left out has its
default. A recipe is checked as a whole before work starts, and everything that is wrong is said at once.

**Parts.** A *part* is something with a name and settings of its own: a data source, a training rule, a
searcher, a compression step. Its name alone stands for the part with its defaults; with settings it is a
table with its `kind`:

```toml
[[compress.steps]]            # in a list
kind = "prune"
keep = [0.75, 0.5]

[train]
rule = "sandwich"             # or rule = { kind = "delayed", delay = 0.4 }
```

`--set train.rule.delay=0.4` sets one setting. In a list, the name of the part says which one:
`--set compress.steps.prune.keep=0.5`.

**Parts of your own** are registered by a Python file or module that the recipe names in `parts`, or by an
installed package with an entry point of the group `quarry.parts`. The settings of a function or class are its
keyword-only parameters; their types are checked, and their texts stand in its docstring.

```python
# my_parts.py, named by: parts = ["my_parts.py"]
from nas.rules import RULES
from nas.rules.sampling import draw, taught


@RULES.register("few")
def few(moment, *, students: int = 1):
    \"\"\"The largest on the labels, and a few random subnets on its outputs.\"\"\"
    return taught(moment.space, draw(moment, students))
```

Paths in a recipe are seen from its folder, or else from where the command runs; those of `--set` from where
it runs.
"""
_TITLES = {
    "task": "Tasks",
    "data.source": "Data sources",
    "space.options": "Mixers",
    "space.blocks": "Blocks (their settings are given as those of mixers, in `space.options`)",
    "space.channel_mixers": "Channel mixers (settings in `space.options`)",
    "space.norms": "Norms beside `batch`",
    "space.residuals": "Residual forms (settings in `space.options`)",
    "space.entries": "Entries (settings in `space.options`)",
    "gate": "Gates, in the option `gate` of blocks and of `conv_mlp`",
    "train.rule": "Training rules",
    "search.searchers": "Searchers",
    "race.sieve": "Zero-cost proxies",
    "compress.steps": "Compression steps",
    "compress.steps.prune.importance": "Criteria of pruning",
    "compress.recovery.teachers": "Teachers",
    "compress.recovery.methods": "Methods of distillation",
    "compress.steps.prune.allocation": "Allocations of pruning",
    "runtime": "Runtimes of hardware profiles",
}


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *_sections(), *_presets(), *_parts(), *_profiles()])


def _sections() -> Iterator[str]:
    """A table for the top and for each section."""
    plain = {name: field for name, field in Recipe.model_fields.items() if not _is_section(field.annotation)}
    yield "## Keys\n\n### At the top\n"
    yield from _table((name, *_of_field(field)) for name, field in plain.items())
    yield from _section(Recipe, "")


def _section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if not _is_section(inner):
            continue
        assert isinstance(inner, type)
        path = f"{prefix}{name}"
        yield f"\n### `[{path}]`\n\n{_line(inner.__doc__ or '')}\n"
        rows = [
            (key, *_of_field(one))
            for key, one in inner.model_fields.items()
            if not _is_section(one.annotation)
        ]
        yield from _table(rows)
        yield from _section(inner, f"{path}.")


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Part


def _of_field(field: FieldInfo) -> tuple[str, str, str]:
    default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
    return _type(field.annotation, field.metadata), _value(default), _line(field.description or "")


def _parts() -> Iterator[str]:
    """A section for each registry, and in it each part with its settings."""
    for key, registry in registries().items():
        yield f"\n## {_TITLES[key]}: `{key}`"
        for name in registry:
            yield from _part(registry[name])


def _part(entry: Registered[Any]) -> Iterator[str]:
    yield f"\n**`{entry.name}`**: {_line(_summary(entry))}\n"
    yield from _table(
        (name, _type(one.annotation, ()), _value(one.default), _text(one))
        for name, one in entry.settings.items()
    )


def _summary(entry: Registered[Any]) -> str:
    if not isinstance(entry.part, Operation):
        return entry.summary
    made = entry.part.make  # a mixer or block is a record of the class that it is made by
    return "No mixing of positions." if made is None else Registered(name=entry.name, part=made).summary


def _text(setting: Setting) -> str:
    text = _line(setting.text)
    return text[:1].upper() + text[1:]


def _presets() -> Iterator[str]:
    """A line for each preset: the images it is for, its size, what an epoch costs."""
    yield (
        "\n## Presets: `space.preset`\n\nMultiply-accumulates (MACs) are those of the largest network for "
        f"one image, with ten classes; an epoch is its training on 50,000 images, at {TRAINING} times the "
        "MACs of a forward pass. `quarry presets` shows the same for other numbers of images.\n"
    )
    yield "| preset | images | networks | MACs | an epoch, 10^12 MACs |\n|---|---|---|---|---|"
    for name, size in SIZES.items():
        networks = f"{size.networks:,.0f}" if size.networks < 1e6 else f"{size.networks:.1e}"
        macs = count(size.macs).replace("\u00a0", " ")
        epoch = f"{size.epoch_macs(50_000) / 1e12:.3g}"
        yield f"| `{name}` | {size.height}x{size.width} | {networks} | {macs} | {epoch} |"


def _profiles() -> Iterator[str]:
    yield "\n## Hardware profiles: `measure.profile`\n"
    yield from (f"- `{name}`: {load_profile(name).summary}" for name in shipped_profiles())
    yield "\nA profile of your own is a TOML file, named by its path; [devices.md](devices.md) has its keys."


def _table(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    rows = list(rows)
    if not rows:
        return
    yield "| key | type | default | effect |\n|---|---|---|---|"
    for name, kind, default, text in rows:
        yield f"| `{name}` | {kind} | {default} | {text} |".replace("|  |", "| |")


def _value(value: Any) -> str:
    """A default as a recipe would write it."""
    if value is REQUIRED:
        return "needed"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, tuple):
        value = [one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in value]
    try:
        return f"`{json.dumps(value)}`"
    except TypeError:
        return f"`{value}`"


_LIMITS: dict[str, Callable[[Any], str]] = {
    "ge": lambda bound: f"{bound:g} or more",
    "gt": lambda bound: f"over {bound:g}",
    "le": lambda bound: f"at most {bound:g}",
    "lt": lambda bound: f"under {bound:g}",
}
_NAMES = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true` or `false`",
    Part: "part",
    dict: "table",
}


def _type(annotation: Any, metadata: Iterable[Any]) -> str:
    """A type and its range, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [*arguments[1:], *metadata])
    if origin in (typing.Union, types.UnionType):
        words = "; or ".join(dict.fromkeys(_type(one, ()) for one in arguments if one is not type(None)))
    elif origin is Literal:
        words = ", ".join(f"`{json.dumps(one)}`" for one in arguments)
    elif origin is tuple:
        words = f"list ({_type(arguments[0], ())})" if arguments else "list"
    elif origin in (dict, Mapping):
        words = "table"
    else:
        words = _NAMES.get(annotation, "path" if getattr(annotation, "__name__", "") == "Path" else "")
    limits = [_LIMITS[name](getattr(one, name)) for one in metadata for name in _LIMITS if hasattr(one, name)]
    nested = [one for outer in metadata if isinstance(outer, FieldInfo) for one in outer.metadata]
    limits += [_LIMITS[name](getattr(one, name)) for one in nested for name in _LIMITS if hasattr(one, name)]
    return ", ".join([words, *dict.fromkeys(limits)])


def _line(text: str) -> str:
    """Text on one line, code as Markdown writes it."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


if __name__ == "__main__":
    print(page())
