"""Recipes: what ships is valid, and what is wrong with one is said in full, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.data.sources import SOURCES
from runners.recipe.load import load_recipe, recipe_names, revise, validate
from runners.recipe.part import part


def written(folder: Path, text: str) -> str:
    file = folder / "my.toml"
    file.write_text(text)
    return str(file)


def refused(recipe: str, *overrides: str) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
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


def test_a_folder_called_like_a_recipe_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("digits").name == "digits"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.epoch=3",
            "train.epoch: unknown key 'epoch'. Did you mean 'epochs'? Valid: epochs, batch_size",
        ),
        ("trian.epochs=3", "trian: unknown key 'trian'. Did you mean 'train'?"),
        ("train.epochs=0", "train.epochs = 0: Input should be greater than or equal to 1"),
        ("train.epochs=ten", 'train.epochs = "ten": Input should be a valid integer'),
        ("train.precision=fp16", "train.precision = \"fp16\": Input should be 'fp32' or 'bf16'"),
        ("train.learning_rate=inf", "train.learning_rate = Infinity: Input should be a finite number"),
        ("train.learning_rate=nan", "train.learning_rate = NaN: Input should be"),
        ("data.channels=4", "data.channels = 4: Input should be 1 or 3"),
        ("name=a/b", 'name = "a/b": String should match pattern'),
        ("train=3", "train = 3: this is a section; set its keys, epochs, batch_size"),
        (
            "search.searchers=nsga2",
            'search.searchers = "nsga2": this is a list; write it as ["first", "second"]',
        ),
        ('search.searchers=["nsga2", "nsga2"]', "search.searchers: 'nsga2' stands there twice"),
        ('search.searchers=["nsga"]', "search.searchers: unknown searcher 'nsga'. Did you mean 'nsga2'?"),
        ("space.preset=digit", "space.preset: unknown preset 'digit'. Did you mean 'digits'?"),
        ('space.mixers=["atention"]', "space.mixers: unknown mixer 'atention'. Did you mean 'attention'?"),
        ("space.activation=rellu", "space.activation: unknown activation 'rellu'. Did you mean 'relu'?"),
        ("measure.profile=cpu-otr", "measure.profile: unknown profile 'cpu-otr'. Did you mean 'cpu-ort'?"),
        ("measure.profile=none.toml", "measure.profile: there is no profile at "),
        ("train.epochs", "--set 'train.epochs': write it as key=value, for instance"),
        ("=3", "--set '=3': write it as key=value"),
        ("name.first=3", "--set 'name.first=3': 'name' is a value, not a section"),
    ],
)
def test_a_wrong_override_is_named_with_what_would_be_right(override: str, message: str) -> None:
    assert message in refused("digits", override)


def test_everything_wrong_is_said_at_once() -> None:
    said = refused("digits", "train.epochs=0", "data.hight=8", "search.budget=none")
    assert said.splitlines()[0] == "recipe digits is not valid:"
    assert len(said.splitlines()) == 4
    assert "Did you mean 'height'?" in said
    said = refused("digits", "space.preset=x", "space.activation=y", "measure.profile=z")
    assert len(said.splitlines()) == 4


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    said = refused(written(tmp_path, 'name = "mine"\n[data]\nsource = "digits"\nheight = 8\n'))
    assert "data.width: this is needed and has no default" in said
    assert "train: this is needed and has no default" in said


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    said = refused(written(tmp_path, "name = \n"))
    assert "my.toml is not valid TOML: Invalid value (at line 1, column 8)" in said
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    assert "latin.toml is not valid TOML: 'utf-8' codec" in refused(str(tmp_path / "latin.toml"))
    with pytest.raises(FileNotFoundError, match="no recipe at .*absent.toml. Recipes by name: .*digits"):
        load_recipe(str(tmp_path / "absent.toml"))
    assert "unknown recipe 'digts'. Did you mean 'digits'?" in refused("digts")


BRINGS = """
from runners.data.digits import read_digits
from runners.data.sources import SOURCES

@SOURCES.register("mine")
def read(view, *, share: float = 1.0):
    return read_digits(view)

space = print
"""


@pytest.mark.parametrize("key", ["space.module={}/brings.py:space", "parts=['{}/brings.py']"])
def test_code_of_the_users_may_bring_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))  # what it registers is taken away again
    (tmp_path / "brings.py").write_text(BRINGS)
    source = 'data.source={ kind = "mine", share = 0.5 }'
    assert "data.source.share: unknown setting of 'hub'" in refused("digits", source)
    recipe = load_recipe("digits", [source, key.format(tmp_path)])
    assert recipe.data.source == part("mine", share=0.5)
    said = refused("digits", key.format(tmp_path), source, "data.source.share=much")
    assert "data.source.share = 'much': Input should be a valid number" in said
