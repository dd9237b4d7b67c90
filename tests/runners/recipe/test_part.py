"""A part is a string or a table, and is written back as it was; anything else is refused."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from runners.recipe.override import override
from runners.recipe.part import Part, part


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("delayed", part("delayed")),
        (2024, part("2024")),  # a folder
        ({"kind": "delayed"}, part("delayed")),
        ({"kind": "delayed", "delay": 0.4}, part("delayed", delay=0.4)),
        ({"kind": "prune", "keep": (0.75, 0.5)}, part("prune", keep=[0.75, 0.5])),
        ({"kind": "x", "settings": 3}, part("x", settings=3)),  # a setting may be called so
    ],
)
def test_both_forms_are_read_and_written_back(written: object, meant: Part) -> None:
    read = Part.model_validate(written)
    assert read == meant
    for mode in ("json", "python"):
        assert Part.model_validate(read.model_dump(mode=mode)) == read  # type: ignore[arg-type]
    assert isinstance(read.model_dump(), dict if read.settings else str)
    assert Part.model_validate(read) is read


@pytest.mark.parametrize("written", [None, True, [], "", {}, {"kind": ""}, {"kind": 3}, {"delay": 0.4}])
def test_what_is_no_part_is_refused(written: object) -> None:
    with pytest.raises(ValidationError, match='kind = "NAME"'):
        Part.model_validate(written)


def test_a_list_of_parts_may_mix_both_forms() -> None:
    parts = TypeAdapter(tuple[Part, ...]).validate_python(["finetune", {"kind": "prune", "keep": 0.5}])
    assert parts == (part("finetune"), part("prune", keep=0.5))
    assert str(parts[1]) == "prune (keep 0.5)"


@pytest.mark.parametrize(
    ("values", "text", "after"),
    [
        ({}, "train.rule.random_subnets=1", {"train": {"rule": {"kind": "sandwich", "random_subnets": 1}}}),
        (
            {"train": {"rule": "delayed"}},
            "train.rule.delay=0.4",
            {"train": {"rule": {"kind": "delayed", "delay": 0.4}}},
        ),
        (
            {"train": {"rule": {"kind": "delayed", "delay": 0.4}}},
            "train.rule=sandwich",
            {"train": {"rule": "sandwich"}},
        ),
        (
            {"compress": {"steps": ["finetune", "prune"]}},
            "compress.steps.prune.keep=[0.5]",
            {"compress": {"steps": ["finetune", {"kind": "prune", "keep": [0.5]}]}},
        ),
        (
            {"compress": {"steps": [{"kind": "prune", "importance": "l2"}]}},
            "compress.steps.prune.importance.p=1",
            {"compress": {"steps": [{"kind": "prune", "importance": {"kind": "l2", "p": 1}}]}},
        ),
    ],
)
def test_an_override_goes_into_a_part(values: dict[str, object], text: str, after: dict[str, object]) -> None:
    override(values, text)
    assert values == after


def test_an_override_into_one_of_two_is_refused() -> None:
    values = {"search": {"searchers": [{"kind": "nsga2", "population": 20}, "nsga2"]}}
    with pytest.raises(
        ValueError, match="'nsga2' stands in this list more than once; set the list as a whole"
    ):
        override(values, "search.searchers.nsga2.population=30")
