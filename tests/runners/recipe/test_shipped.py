"""What a refused recipe is good for: its parts are looked at, unless all are known to be there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runners.recipe.part import part
from runners.recipe.schema import Recipe
from runners.recipe.shipped import familiar, mended, recipe_names, shipped


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_that_ship_hold_nothing_unknown(name: str) -> None:
    assert familiar(Recipe.model_validate(shipped(name)))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "rule", "delayed"),
        ("train", "rule", {"kind": "sandwich", "random_subnets": 7}),
        ("search", "searchers", ["guided", "linas"]),
        ("compress", "steps", [{"kind": "prune", "keep": 0.5}]),
        ("space", "mixers", ["identity"]),
        ("space", "options", {"cswin": {"stripe": [1]}}),
        ("space", "norms", ["rms"]),
        ("space", "recursions", [1, 2]),
        ("space", "resolutions", [4, 8]),
        ("space", "rules", [{"ascending": ["stage*.width"]}]),
        ("space", "module", "mine.py:make"),
        ("race", "sieve", ["synflow"]),
        ("data", "source", "photos"),
        ("measure", "profile", "mcu"),
    ],
)
def test_what_they_do_not_name_is_unknown(section: str, key: str, value: object) -> None:
    values = shipped("digits")
    values[section] = {**values.get(section, {}), key: value}
    assert not familiar(Recipe.model_validate(values))


def test_what_is_wrong_is_left_out_and_the_rest_stays() -> None:
    values = shipped("digits")
    values["train"] |= {"epoch": 3, "epochs": "many", "rule": "delayed"}
    values["compress"] |= {"steps": ["prune", {"keep": 0.5}]}
    values["serch"] = values.pop("search")
    recipe, replaced = mended(values)
    assert recipe is not None
    assert recipe.train.rule == part("delayed")
    assert recipe.train.epochs == shipped("digits")["train"]["epochs"]
    assert recipe.search.speedup == shipped("digits")["search"]["speedup"]
    assert [step.kind for step in recipe.compress.steps] == ["prune"]  # only the wrong entry is left out
    assert "serch" in values  # what was given is untouched
    assert {"train.epochs", "search", "search.budget"} <= replaced
    assert not {"train.rule", "compress.steps", "data.source"} & replaced


@pytest.mark.parametrize("source", [{"path": "photos"}, {"kind": 3}, {"kind": ["a"]}, 3.5j])
def test_a_part_that_is_none_is_replaced_by_a_known_one(source: object) -> None:
    values = shipped("digits")
    values["data"]["source"] = source
    recipe, replaced = mended(values)
    assert recipe is not None
    assert recipe.data.source == part("digits")
    assert "data.source" in replaced


def test_parts_of_a_section_that_does_not_hold_together_stay() -> None:
    values = shipped("digits")
    values["search"] |= {"latency_ms": 1, "speedup": 2, "budget": 500, "searchers": ["linas"]}
    recipe, replaced = mended(values)
    assert recipe is not None
    assert recipe.search.searchers == (part("linas"),)
    assert "search.budget" in replaced
    assert not {"search", "search.searchers"} & replaced


def test_names_that_are_known_are_not_loaded_to_tell_a_mistyped_key() -> None:
    script = (
        "import sys\n"
        "from runners.reading.load import load_recipe\n"
        "try:\n"
        "    load_recipe(sys.argv[1], ['train.epoch=3'])\n"
        "except ValueError as error:\n"
        "    print('epochs' in str(error), 'torch' in sys.modules)\n"
    )
    run = [sys.executable, "-c", script]
    assert subprocess.check_output([*run, "digits"], text=True) == "True False\n"
