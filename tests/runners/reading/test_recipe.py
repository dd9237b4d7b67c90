"""Recipes: what ships is valid, overrides, paths and parts of one's own are heeded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runners.data.sources import SOURCES
from runners.reading.load import load_recipe, recipe_names, revise, validate
from runners.recipe.part import part
from runners.recipe.paths import anchored
from runners.targets.profile import SHIPPED

ROOT = Path(__file__).parents[3]


def refused(recipe: str, *overrides: str) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", ["digits", "cifar10", "signal"])
def test_the_recipes_that_ship_are_valid_and_round_trip(name: str) -> None:
    assert name in recipe_names()
    recipe = load_recipe(name)
    assert recipe.name == name
    assert validate(recipe.model_dump(mode="json"), "a copy") == recipe


def test_overrides_take_toml_values_or_plain_text(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        [
            "train.epochs=3",
            "train.learning_rate=1e-2",
            "data.flip=true",
            f"data.source={tmp_path}",
            'search.searchers=["random", "nsga2"]',
            "space.mixers = ['identity', 'attention']",
        ],
        seed=7,
    )
    assert recipe.train.epochs == 3
    assert recipe.train.learning_rate == 0.01
    assert recipe.data.flip
    assert recipe.data.source.kind == str(tmp_path)
    assert recipe.search.searchers == (part("random"), part("nsga2"))
    assert recipe.space.mixers == ("identity", "attention")
    assert recipe.seed == 7


def test_setting_one_kind_of_limit_takes_the_place_of_the_other() -> None:
    digits = load_recipe("digits")
    assert digits.search.speedup is not None
    absolute = load_recipe("digits", ["search.latency_ms=0.1"])
    assert (absolute.search.latency_ms, absolute.search.speedup) == (0.1, None)
    relative = revise(absolute, ["search.speedup=4"])
    assert (relative.search.latency_ms, relative.search.speedup) == (None, 4)
    assert "give either latency_ms" in refused("digits", "search.latency_ms=1", "search={}")


def test_paths_are_made_absolute_so_that_a_run_goes_on_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2024").mkdir()
    (tmp_path / "mine.py").write_text("space = print\n")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("digits", ["data.source=2024", "space.module=mine.py:space"])
    assert recipe.data.source.kind == str(tmp_path / "2024")
    assert recipe.space.module == f"{tmp_path}/mine.py:space"


def test_a_module_and_a_preset_take_each_other_s_place(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("space = print\n")
    own = load_recipe("digits", [f"space.module={tmp_path}/mine.py:space"])
    assert own.model_dump(mode="json")["space"] == {"module": f"{tmp_path}/mine.py:space"}
    again = validate(own.model_dump(mode="json"), "a copy")  # as a run's folder keeps it
    assert revise(again, ["train.epochs=3"]).space == own.space
    assert revise(again, ["space.preset=digits"]).space.module == ""


def test_a_folder_called_like_a_recipe_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("digits").name == "digits"


def test_one_searcher_may_stand_there_with_other_settings() -> None:
    override = 'search.searchers=["nsga2", { kind = "nsga2", population = 40 }]'
    recipe = load_recipe("digits", [override])
    assert recipe.search.searchers == (part("nsga2"), part("nsga2", population=40))


def test_settings_of_parts_are_set_by_name() -> None:
    recipe = load_recipe(
        "digits",
        [
            "train.rule.random_subnets=4",
            "compress.steps.prune.keep=[0.5, 0.25]",
            "search.searchers.nsga2.population=40",
        ],
    )
    assert recipe.train.rule == part("sandwich", random_subnets=4)
    assert recipe.compress.steps[2] == part("prune", keep=[0.5, 0.25])
    assert recipe.search.searchers == (part("guided"), part("nsga2", population=40), part("optuna_tpe"))
    assert validate(json.loads(json.dumps(recipe.model_dump(mode="json"))), "a copy") == recipe
    assert load_recipe("digits", ["train.rule=delayed"]).train.rule == part("delayed")
    assert revise(recipe, ["compress.steps.prune=quantize"]).compress.steps[2] == part("quantize")


def test_paths_in_a_file_are_seen_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "experiment"
    place.mkdir()
    (place / "brings.py").touch()
    (place / "images").mkdir()
    (place / "mine.toml").write_text((SHIPPED / "cpu-ort.toml").read_text())
    text = (ROOT / "runners/recipe/digits.toml").read_text()
    text = text.replace('source = "digits"', 'source = "images"').replace('"cpu-ort"', '"mine.toml"')
    (place / "my.toml").write_text('parts = ["brings.py"]\n' + text)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("experiment/my.toml")
    assert recipe.parts == (str(place / "brings.py"),)
    assert recipe.data.source.kind == str(place / "images")
    assert recipe.measure.profile == str(place / "mine.toml")
    (tmp_path / "here.py").touch()
    assert load_recipe("experiment/my.toml", ["parts=['here.py']"]).parts == (str(tmp_path / "here.py"),)


def test_what_teachers_name_is_seen_from_the_folder_and_nothing_else(tmp_path: Path) -> None:
    """A folder that has the name of a teacher, or of another setting, is neither."""
    for name in ("my.py", "w.safetensors", "other.onnx"):
        (tmp_path / name).touch()
    for name in ("largest", "fast"):
        (tmp_path / name).mkdir()
    named = [
        "largest",
        "other.onnx",
        {"kind": "my.py:make", "weights": "w.safetensors"},
        {"kind": "mine", "way": "fast"},
    ]
    found = anchored({"compress": {"recovery": {"teachers": named}}}, tmp_path)
    assert found["compress"]["recovery"]["teachers"] == [
        "largest",
        str(tmp_path / "other.onnx"),
        {"kind": f"{tmp_path / 'my.py'}:make", "weights": str(tmp_path / "w.safetensors")},
        {"kind": "mine", "way": "fast"},
    ]


BRINGS = """
from runners.data.digits import read_digits
from runners.data.sources import SOURCES

@SOURCES.register("mine")
def read(view, *, share: float = 1.0):
    return read_digits(view)

space = print
"""


def test_an_installed_package_brings_its_parts_or_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[quarry.parts]\nsources = sources_of_theirs\n")
    (tmp_path / "sources_of_theirs.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = refused("digits", "data.source=mine", "train.rule.random_subnets=-1")
    assert "entry point 'sources' of theirs (sources_of_theirs) fails: ZeroDivisionError" in said
    assert "train.rule.random_subnets = -1" in said
    (tmp_path / "sources_of_theirs.py").write_text(BRINGS)
    assert load_recipe("digits", ["data.source=mine"]).data.source == part("mine")


def test_two_parts_of_one_name_are_told_with_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))
    (tmp_path / "brings.py").write_text(BRINGS.replace('"mine"', '"folder"'))
    said = refused("digits", f"parts=['{tmp_path}/brings.py']")
    assert f"parts: {tmp_path}/brings.py fails: ValueError: there are two parts named 'folder'" in said
    assert "by runners.data.folder; choose another name for the one in brings" in said


@pytest.mark.parametrize("key", ["space.module={}/brings.py:space", "parts=['{}/brings.py']"])
def test_code_of_the_users_may_bring_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))  # what it registers is taken away again
    (tmp_path / "brings.py").write_text(BRINGS)
    source = 'data.source={ kind = "mine", share = 0.5 }'
    assert "data.source: unknown data source 'mine'. Valid: digits, folder" in refused("digits", source)
    recipe = load_recipe("digits", [source, key.format(tmp_path)])
    assert recipe.data.source == part("mine", share=0.5)
    said = refused("digits", key.format(tmp_path), source, "data.source.share=much")
    assert "data.source.share = 'much': Input should be a valid number" in said


def test_a_search_over_number_formats_says_what_it_needs() -> None:
    assert load_recipe("digits", ["space.precisions=stage"]).space.precisions == "stage"
    for more, words in (
        (["search.ranking=alone"], "shared weights"),
        (["search.gate=0.5"], "shared weights"),
        (['compress.steps=["finetune"]'], "name it in compress.steps"),
        (['compress.steps=["quantize", "mixed_precision"]'], "leave it out of compress.steps"),
    ):
        assert words in refused("digits", "space.precisions=stage", *more)
    assert "stage" in refused("digits", "space.precisions=layer")
