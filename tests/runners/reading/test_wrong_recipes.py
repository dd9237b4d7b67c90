"""What is wrong with a recipe is said in full, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.reading.load import load_recipe
from runners.recipe.keys import MOVED
from runners.recipe.part import part
from tests.runners.reading.test_recipe import refused


def written(folder: Path, text: str) -> str:
    file = folder / "my.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    "beside",
    ["preset='cifar'", "activation='relu'", "activation='gelu'", "mixers=['identity']", "options={}"],
)
def test_a_function_of_ones_own_leaves_no_key_of_presets_unheeded(tmp_path: Path, beside: str) -> None:
    """Also a value that is the default is told: it was given, and nothing would heed it."""
    (tmp_path / "mine.py").write_text("space = print\n")
    key = beside.partition("=")[0]
    said = refused("digits", f"space={{ module = '{tmp_path}/mine.py:space', {beside} }}")
    assert f"space.{key}: this is for presets; the function of space.module chooses its own" in said


@pytest.mark.parametrize("task", ["binary", "multi_label", "regression"])
def test_answers_of_teachers_are_kept_of_one_class_an_image(task: str) -> None:
    """The training that would use them fails, after the search."""
    said = refused("digits", f"task={task}", "compress.recovery.views=1")
    assert f"compress.recovery.views: of teachers one class an image is kept, not {task}; set it to 0" in said


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
        ("train.epochs='3'", 'train.epochs = "3": Input should be a valid number, without quotes'),
        ("train.epochs=true", "train.epochs = true: Input should be a valid number, not true or false"),
        ("data.flip=1", "data.flip = 1: Input should be a valid boolean, true or false"),
        ("data.channels=true", "data.channels = true: Input should be"),
        ("train.resolutions=[true]", "train.resolutions = [true]: Input should be a valid number"),
        (
            "train.rule.random_subnets=true",
            "train.rule.random_subnets = True: Input should be a valid number",
        ),
        (
            "compress.steps=['finetune', 'prune', 'retrain']",
            "compress.steps: retrain makes the whole network anew and undoes a prune before it; put retrain "
            "before prune",
        ),
        ("train.precision=fp16", "train.precision = \"fp16\": Input should be 'auto', 'fp32' or 'bf16'"),
        ("train.learning_rate=inf", "train.learning_rate = Infinity: Input should be a finite number"),
        ("train.learning_rate=nan", "train.learning_rate = NaN: Input should be"),
        ("data.channels=0", "data.channels = 0: Input should be greater than or equal to 1"),
        ("name=a/b", 'name = "a/b": String should match pattern'),
        ("train=3", "train = 3: this is a section; set its keys, epochs, batch_size"),
        (
            "search.searchers=nsga2",
            'search.searchers = "nsga2": this is a list; write it as ["first", "second"]',
        ),
        ('search.searchers=["nsga2", "nsga2"]', "search.searchers: 'nsga2' stands there twice"),
        (
            'search.searchers=["nsga2", { kind = "nsga2", population = 24 }]',  # its default
            "search.searchers: 'nsga2' stands there twice",
        ),
        (
            'search.searchers=[{ kind = "nsga2", popluation = 24 }]',
            "searchers.nsga2.popluation: 'nsga2' has no setting 'popluation'. Did you mean 'population'?",
        ),
        (
            'search.searchers=[{ kind = "nsga2", population = 1 }]',
            "search.searchers.nsga2.population = 1: Input should be greater than or equal to 2",
        ),
        (
            'search.searchers=[{ kind = "nsga2", population = 500 }]',
            "search.budget = 150: nsga2 has a population of 500 and learns nothing from less",
        ),
        ('search.searchers=["nsga"]', "search.searchers: unknown searcher 'nsga'. Did you mean 'nsga2'?"),
        ("space.preset=digit", "space.preset: unknown preset 'digit'. Did you mean 'digits'?"),
        ('space.mixers=["atention"]', "space.mixers: unknown mixer 'atention'. Did you mean 'attention'?"),
        ('space.mixers=["residual"]', "space.mixers: unknown mixer 'residual'"),
        (
            'space.blocks=["residual"]',
            "space.blocks: preset 'digits' chooses among mixers; give them as mixers",
        ),
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


def test_wrong_keys_and_wrong_parts_are_said_at_once() -> None:
    said = refused(
        "digits",
        "train.epoch=3",
        "train.rule=delaid",
        "search=3",
        "compress.steps=['finetune', { kind = 'prune', kep = 0.5 }, { keep = 0.5 }]",
        "measure.profile=cpu-otr",
    )
    for words in (
        "train.epoch: unknown key 'epoch'. Did you mean 'epochs'?",
        "train.rule: unknown training rule 'delaid'. Did you mean 'delayed'?",
        "search = 3: this is a section",
        'compress.steps[2] = {"keep": 0.5}: this table names no part',
        "measure.profile: unknown profile 'cpu-otr'",
    ):
        assert words in said


def test_one_wrong_entry_of_a_list_leaves_the_others_looked_at() -> None:
    said = refused(
        "digits",
        "compress.steps=[{ keep = 0.5 }, 'prun', { kind = 'quantize', rangs = 'minmax' }]",
        "search.searchers=['guided', 3.5, ['a'], { kind = 'nsga2', population = 500 }]",
        "space.mixers=['atention', ['identity']]",
    )
    assert "compress.steps[0]" in said
    assert "Did you mean 'prune'?" in said
    assert "compress.steps.quantize.rangs: 'quantize' has no setting 'rangs'. Did you mean 'ranges'?" in said
    assert "search.searchers[2]" in said
    assert "nsga2 has a population of 500" in said
    assert "Did you mean 'attention'?" in said


@pytest.mark.parametrize(
    "overrides",
    [
        ["search.searchers=random", "search.budget=10"],  # not of the searchers put in its place
        ["search.budget=none", "search.searchers.nsga2.population=300"],  # not of the budget put in its place
        [
            "search={ latency_ms = 1, speedup = 2, budget = 500 }",
            "search.searchers=[{ kind = 'nsga2', population = 300 }]",
        ],
    ],
)
def test_what_is_put_in_place_of_wrong_values_has_no_problems(overrides: list[str]) -> None:
    assert "population of" not in refused("digits", *overrides)


@pytest.mark.parametrize(
    "source", ["data.source={ path = 'photos' }", "data.source={ kind = 3 }", "data.source.kind=2024"]
)
def test_a_part_without_a_name_is_refused_in_words(source: str) -> None:
    said = refused("digits", source)
    assert len(said.splitlines()) == 2
    assert 'kind = "NAME"' in said


def test_options_of_a_mixer_that_there_is_none_of_do_not_hide_other_problems() -> None:
    said = refused("digits", "space.mixers=['atention']", "space.options.atention.x=1", "train.rule=delaid")
    assert "Did you mean 'attention'?" in said
    assert "Did you mean 'delayed'?" in said


def test_parts_that_code_which_fails_may_bring_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    said = refused(
        "digits",
        f"parts=['{tmp_path}/mine.py', 'nowhere.py', 'no.such.package']",
        "train.rule=few",
        "data.source={ kind = 'mine', share = 0.5 }",
        "space.mixers=['own']",
        "compress.steps=[{ kind = 'prune', importance = 'mine', keep = 2 }]",
    )
    assert "mine.py fails: ZeroDivisionError" in said
    assert "parts: there is no file" in said
    assert "parts: there is no module 'no'" in said
    assert "compress.steps.prune.keep = 2" in said  # of a part that is there
    assert len(said.splitlines()) == 5


def test_parts_of_a_section_that_does_not_hold_together_are_looked_at() -> None:
    said = refused("digits", "train.batch_size=7", "train.processes=2", "train.rule.random_subnets=-1")
    assert "train: batch_size (7) must be a multiple of processes (2)" in said
    assert "train.rule.random_subnets = -1: Input should be greater than or equal to 0" in said


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["latency_ms=1"], "latency_ms: unknown key 'latency_ms' here. Did you mean search.latency_ms?"),
        (["latncy_ms=1"], "latncy_ms: unknown key 'latncy_ms' here. Did you mean search.latency_ms?"),
        (["search.tolerance=1"], "search.tolerance: unknown key 'tolerance' here. Did you mean compress.tol"),
        (
            ["train.rule.dely=1"],
            "train.rule.dely: 'sandwich' has no setting 'dely'. Its settings: random_subnets",
        ),
        (
            ["train.rule=delayed", "train.rule.dely=1"],
            "train.rule.dely: 'delayed' has no setting 'dely'. Did you mean 'delay'?",
        ),
        (
            ["train.rule=delayed", "train.rule.delay=2"],
            "train.rule.delay = 2: Input should be less than or equal",
        ),
        (["train.rule.random_subnets=x"], "train.rule.random_subnets = 'x': Input should be a valid integer"),
        (["space.options.cswin.stripe=[1]"], "space.options.cswin: unknown mixer 'cswin'. Valid: identity"),
        (
            ["space.mixers=['identity', 'cswin']", "space.options.cswin.stripes=[1]"],
            "space.options.cswin.stripes: 'cswin' has no setting 'stripes'. Did you mean 'stripe'?",
        ),
        (
            ["space.preset=fast-8", "space.blocks=['residul']"],
            "space.blocks: unknown block 'residul'. Did you mean 'residual'?",
        ),
        (
            ["space.preset=fast-8", "space.mixers=['pooling']"],
            "space.mixers: preset 'fast-8' chooses among blocks; give them as blocks",
        ),
        (
            ["space.preset=fast-8", "space.options.mbconv.expansions=[1]"],
            "space.options.mbconv.expansions: 'mbconv' has no setting 'expansions'. Did you mean 'expansion'",
        ),
        (
            ["space.preset=fast-8", "space.options.mbconv.gate=['sea']"],
            "space.options.mbconv.gate = ['sea']: unknown gate 'sea'. Did you mean 'se'?",
        ),
        (
            ["space.preset=fast-8", "space.options.cswin.stripe=2"],
            "space.options.cswin: unknown block 'cswin'",
        ),
        (
            ["space.channel_mixers=['gluu']"],
            "space.channel_mixers: unknown channel mixer 'gluu'. Did you mean 'glu'?",
        ),
        (["space.norms=['leyer']"], "space.norms: unknown norm 'leyer'. Did you mean 'layer'?"),
        (
            ["space.residuals=['rezro']"],
            "space.residuals: unknown residual form 'rezro'. Did you mean 'rezero'",
        ),
        (["space.entries=['spdd']"], "space.entries: unknown entry 'spdd'. Did you mean 'spd'?"),
        (
            ["space.options.glu.kernel=[3]"],
            "space.options.glu: unknown channel mixer 'glu'. Valid: mlp. Channel mixer 'glu' exists, but",
        ),
        (
            ["space.channel_mixers=['glu']", "space.options.glu.kernel=[2]"],
            "space.options.glu.kernel = [2]: the size of a kernel has to be odd",
        ),
        (
            ["space.preset=fast-8", "space.norms=['dyt']"],
            "space.norms: the stages of preset 'fast-8' have no choice of norms",
        ),
        (
            ["space.recursions=[1, 2]"],
            "space.recursions: preset 'digits' has no blocks that run again; those of fast-32 have",
        ),
        (
            ["space.preset=fast-8", "space.blocks=['moat']"],
            "space: stage 0: block 'moat' needs widths that are multiples of 16, got [24]",
        ),
        (
            ["space.norms=['dyt', 'dyt']"],
            "space: stage 0: 'dyt' stands twice in a stage",
        ),
        (
            ["space.mixers=['cswin']", "space.options.cswin.head_channels=32"],
            "space: stage 0: mixer 'cswin' needs widths that are multiples of 32",
        ),
        (["space.resolutions=[4, 16]"], "space: resolutions: 16 is above the 8 pixels of the images"),
        (
            ["space.preset=fast-8", "space.strides=[4, 16]"],
            "space: an input of (1, 8, 8) has nothing left at the stem where the stem has a stride of 16",
        ),
        (["space.preset=fast-8", "space.recursions=[2, 1]"], "space.recursions: values have to ascend"),
        (
            ["space.exits=[2]"],
            "space: exits: stages after which a network may end, ascending, none twice, from 1 to 1",
        ),
        (["train.rule=exits"], "space.exits: the rule exits trains the ends of networks; say where"),
        (["space.options=3"], "space.options = 3: Input should be a valid dictionary"),
        (
            ["train.rule={delay=0.5}"],
            'this table names no part; give its kind too, as in { kind = "NAME", ... }',
        ),
        (["train.rule=[1]"], 'train.rule = [1]: write it as "NAME", or with settings as { kind = "NAME"'),
        (["search.searchers.nsga2.population=400"], "search.budget = 150: nsga2 has a population of 400"),
        (["search.searchers.nsga2.poplation=40"], "search.searchers.nsga2.poplation: 'nsga2' has no setting"),
        (["search.searchers.nsga3.population=4"], "unknown part of this list 'nsga3'. Did you mean 'nsga2'?"),
        (
            ["compress.steps=['prun']"],
            "compress.steps: unknown compression step 'prun'. Did you mean 'prune'?",
        ),
        (["compress.steps.prune.keep=half"], "compress.steps.prune.keep = 'half': Input should be a valid"),
        (
            ["data.source={ kind = 'foldr', path = 'x' }"],
            "unknown data source 'foldr'. Did you mean 'folder'?",
        ),
        (["data.source={ kind = 'folder' }"], "data.source.path: 'folder' needs this and has no default"),
        (["data.source=./nowhere"], "data.source ./nowhere does not exist"),
        (
            ["train.rule=cost_buckets", "train.sampling=choices"],
            "the rule cost_buckets draws by size; give it",
        ),
    ],
)
def test_a_part_that_is_wrong_is_named_with_its_key_and_the_nearest(
    overrides: list[str], message: str
) -> None:
    assert message in refused("digits", *overrides)


@pytest.mark.parametrize("key", sorted(MOVED))
def test_a_key_of_an_earlier_version_is_told_where_it_is_now(key: str) -> None:
    section = key if "." in key else f"{key}.seed"
    said = refused("digits", f"{section}=1")
    assert f"{section}: this key of an earlier version is {MOVED[section]} now" in said


def test_networks_ranked_alone_have_compression_steps_of_their_own() -> None:
    recipe = load_recipe("cifar10", ["data.source=digits"])
    assert [step.kind for step in recipe.compress.steps] == ["quantize", "quantize_aware", "prune"]
    changed = load_recipe("cifar10", ["data.source=digits", "compress.steps.prune.keep=[0.5]"])
    assert changed.compress.steps[2] == part("prune", keep=[0.5])
    assert load_recipe("digits").compress.steps[0].kind == "finetune"
    with pytest.raises(ValueError, match="finetune and retrain make up for shared weights"):
        load_recipe("cifar10", ["data.source=digits", 'compress.steps=["finetune", "retrain"]'])


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
