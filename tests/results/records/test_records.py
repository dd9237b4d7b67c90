"""Records survive JSON exactly and refuse what does not fit, with the place."""

import dataclasses
import importlib
import json
import pkgutil
import re
import types
import typing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import results.records
from results.records import (
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    EpochRecord,
    FrontEntry,
    LayerRecord,
    LimitMet,
    Machine,
    Preprocessing,
    RecipeRecord,
    Record,
    Reference,
    SearchSummary,
    StageTimes,
    TargetRecord,
    Trial,
    best_first,
    read_record,
    readme,
)
from results.records.codec import Wrapped

ENTRY = FrontEntry(
    name="a",
    arch={"stage0.width": 16, "stage0.block0.mixer": "pooling"},
    searcher="nsga2",
    accuracy=0.97,
    predicted_ms=0.2,
    upper_ms=0.25,
    measured_ms=0.21,
    low_ms=0.2,
    high_ms=0.22,
    macs=1000,
    params=200,
    meets_limit=True,
    layers=(
        LayerRecord(name="head", kind="head", sizes={"inputs": 16}, output_shape=(10,), latency_ms=0.01),
        LayerRecord(name="stem", kind="entry", sizes={}, output_shape=(16, 8, 8)),
    ),
)
SUMMARY = SearchSummary(limit_ms=0.3, confidence=0.95, reference=(0.5, 0.3), front=(ENTRY,), largest=ENTRY)
EPOCH = EpochRecord(
    epoch=0,
    step=10,
    loss=1.5,
    learning_rate=1e-3,
    seconds=2.0,
    images_per_second=900.0,
    watched={"largest": 0.9},
    alarms=("smallest beats largest",),
)
CARD = Card(
    name="a",
    file="model.onnx",
    sha256="ab" * 32,
    arch=dict(ENTRY.arch),
    input=CardInput(name="images", shape=(1, 1, 8, 8), dtype="float32"),
    classes=("0", "1"),
    preprocessing=Preprocessing(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,)),
    accuracy=CardAccuracy(validation=0.98, float_test=0.975, exported_test=0.9725, test_images=360),
    agreement=Agreement(max_difference=1e-5, same_predictions=1.0),
    latency=CardLatency(
        predicted_ms=0.2,
        upper_ms=0.25,
        measured_ms=0.1,
        low_ms=0.09,
        high_ms=0.11,
        profile="cpu-ort",
        runtime="onnxruntime 1.31",
        threads=1,
        batch=1,
        computed=False,
    ),
    size_bytes=12345,
    macs=1000,
    params=200,
    precision="int8",
    steps_kept=("prune", "quantize"),
    limit=LimitMet(latency_ms=0.3, met=True),
    reference=Reference(name="largest", latency_ms=0.5, exported_test=0.98, size_bytes=99999, speedup=5.0),
    provenance=CardProvenance(
        recipe={"name": "digits", "train": {"epochs": 24}},
        seed=0,
        command="quarry run digits",
        date="2026-11-28",
        commit="",
        versions={"torch": "2.13"},
        machine=Machine(system="Linux", processor="a CPU", cores=2, memory_bytes=2**30),
    ),
)


def every_record() -> list[type[Record]]:
    """Every record there is, found by looking."""
    modules = [
        importlib.import_module(f"results.records.{module.name}")
        for module in pkgutil.iter_modules(results.records.__path__)
    ]

    found = {one: None for module in modules for one in vars(module).values() if isinstance(one, type)}
    return [kind for kind in found if issubclass(kind, Record) and kind not in (Record, Wrapped)]


RECORDS = every_record()
TEXT = st.text(max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
    lambda one: st.lists(one) | st.dictionaries(TEXT, one),
    max_leaves=4,
)


def made(hint) -> st.SearchStrategy:
    """Values of an annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(made(one) for one in arguments))
    if origin is dict:
        return st.dictionaries(TEXT, made(arguments[1]), max_size=2)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(made(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(made, arguments))
    if isinstance(hint, type) and issubclass(hint, Record):
        return record_of(hint)
    plain = {bool: st.booleans(), int: st.integers(), float: NUMBERS, str: TEXT, types.NoneType: st.none()}
    return JSON if hint is typing.Any else plain[hint]


def record_of(kind: type[Record]) -> st.SearchStrategy:
    """Records of a kind, with the schema that this version writes."""
    hints = typing.get_type_hints(kind)
    fields = {f.name: made(hints[f.name]) for f in dataclasses.fields(kind) if f.name != "schema"}
    return st.builds(kind, **fields)


def test_all_stages_have_records():
    wanted = [
        "EpochRecord",
        "TargetRecord",
        "LatencyCheck",
        "Trial",
        "SearchSummary",
        "StepRecord",
        "AuditSummary",
        "Card",
    ]
    wanted += ["Provenance", "RecipeRecord", "StageTimes"]
    assert set(wanted) <= {kind.__name__ for kind in RECORDS}
    assert {kind.__name__ for kind in RECORDS} <= set(results.records.__all__)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_record_survives_json(kind, data):
    record = data.draw(record_of(kind))
    text = json.dumps(record.to_json(), allow_nan=False)
    again = kind.from_json(json.loads(text))
    assert again == record
    assert again.to_json() == json.loads(text)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_damaged_field_is_named(kind, data):
    value = data.draw(record_of(kind)).to_json()
    for field in dataclasses.fields(kind):
        if issubclass(kind, Wrapped):
            with pytest.raises(ValueError, match=rf"{kind.__name__} is "):
                kind.from_json("neither an object nor a list")
        elif field.name != "schema":
            with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field.name} is "):
                kind.from_json(value | {field.name: {1, 2}})


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_field_is_explained(kind):
    explained = re.findall(r"^ {4,8}(\w+): ", kind.__doc__ or "", flags=re.M)
    bases = [base for base in kind.__mro__[1:] if dataclasses.is_dataclass(base)]
    inherited = {field.name for base in bases for field in dataclasses.fields(base)}
    assert explained == [f.name for f in dataclasses.fields(kind) if f.name not in inherited]


def test_whole_numbers_are_taken_where_numbers_are_wanted():
    value = EPOCH.to_json() | {"loss": 2}
    assert EpochRecord.from_json(value).loss == 2.0
    assert isinstance(EpochRecord.from_json(value).loss, float)


def test_optional_fields_may_be_left_out():
    value = EPOCH.to_json()
    del value["alarms"], value["watched"]
    assert EpochRecord.from_json(value).alarms == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "high"}, "EpochRecord.loss is a number, not 'high'"),
        ({"step": 1.5}, "EpochRecord.step is a whole number, not 1.5"),
        ({"step": True}, "EpochRecord.step is a whole number, not True"),
        ({"alarms": "one"}, "EpochRecord.alarms is a list, not 'one'"),
        ({"alarms": [3]}, "EpochRecord.alarms[0] is text, not 3"),
        ({"watched": {"largest": None}}, "EpochRecord.watched.largest is a number, not None"),
        ({"lss": 1.0}, "EpochRecord has no field lss"),
    ],
)
def test_wrong_fields_are_named(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        EpochRecord.from_json(EPOCH.to_json() | change)


def test_missing_fields_and_nested_places_are_named():
    value = SUMMARY.to_json()
    del value["front"][0]["macs"]
    with pytest.raises(ValueError, match=r"SearchSummary\.front\[0\] lacks macs"):
        SearchSummary.from_json(value)
    with pytest.raises(ValueError, match=r"SearchSummary\.reference is a list of 2, not of 3"):
        SearchSummary.from_json(SUMMARY.to_json() | {"reference": [1, 2, 3]})
    with pytest.raises(ValueError, match="Card is a JSON object"):
        Card.from_json([1])


def test_value_of_a_choice_is_kept_as_it_is():
    trial = Trial(ticket=0, arch={"a": True, "b": 1, "c": 1.0, "d": "x"}, scores=None, costs={})
    again = Trial.from_json(json.loads(json.dumps(trial.to_json())))
    assert [type(value) for value in again.arch.values()] == [bool, int, float, str]
    with pytest.raises(ValueError, match="Trial.arch.a is true or false or a whole number or"):
        Trial.from_json(trial.to_json() | {"arch": {"a": [1]}})


def test_what_a_file_wraps_is_its_only_field():
    times = StageTimes(seconds={"train": 1.5})
    assert times.to_json() == {"train": 1.5}
    with pytest.raises(ValueError, match="StageTimes.train is a number, not 'long'"):
        StageTimes.from_json({"train": "long"})


def test_recipe_is_told_setting_by_setting():
    settings = {"name": "x", "train": {"rule": {"kind": "delayed", "delay": 0.4}, "mix": True, "data": ""}}
    settings |= {
        "compress": {"steps": [{"kind": "prune", "keep": [0.75, 0.5]}, {"kind": "quantize"}], "networks": []}
    }
    assert dict(RecipeRecord(settings=settings).words()) == {
        "name": "x",
        "train.rule.kind": "delayed",
        "train.rule.delay": "0.4",
        "train.mix": "yes",
        "train.data": "not set",
        "compress.steps.1.kind": "prune",
        "compress.steps.1.keep": "0.75, 0.5",
        "compress.steps.2.kind": "quantize",
        "compress.networks": "none",
    }


@pytest.mark.parametrize("record", [SUMMARY, CARD], ids=lambda record: type(record).__name__)
def test_file_of_another_schema_is_refused_as_such(record):
    value = record.to_json()
    present = value["schema"]
    for other in (present - 1, present + 1):
        with pytest.raises(
            ValueError, match=f"is of schema {other}, but this version of Quarry reads schema {present}"
        ):
            type(record).from_json({"schema": other, "something": "else"})


def test_target_says_whether_it_computes():
    with pytest.raises(ValueError, match="TargetRecord lacks .*computed"):
        TargetRecord.from_json({"profile": "mcu", "runtime": "roofline"})


def test_best_card_meets_the_limit_and_is_chosen_without_the_test_data():
    late = replace(CARD, name="late", limit=LimitMet(latency_ms=0.05, met=False))
    better = replace(CARD, name="better", accuracy=replace(CARD.accuracy, validation=0.99, exported_test=0.5))
    assert [card.name for card in best_first([late, CARD, better])] == ["better", "a", "late"]


def test_card_as_text_says_what_matters():
    text = readme(CARD)
    for words in (
        "# a",
        "97.25%",
        "0.1 ms a call",
        "meets the limit of 0.3 ms",
        "5.00 times",
        "prune, then quantize",
        "- recipe: digits\n",
        "- mean: 0.3\n",
    ):
        assert words in text
    assert CARD.sha256 in text
    assert "epochs" not in text  # the whole recipe stands in card.json


@pytest.mark.parametrize(
    ("data", "name"), [("digits", "digits"), ({"source": "/home/me/birds"}, "birds"), (None, "mine")]
)
def test_the_data_set_of_a_card_is_that_of_its_recipe(data: object, name: str) -> None:
    recipe = {"name": "mine"} if data is None else {"name": "mine", "data": data}
    text = readme(replace(CARD, provenance=replace(CARD.provenance, recipe=recipe)))
    assert f'    dataset:\n      name: "{name}"\n' in text


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model.onnx", 'onnxruntime.InferenceSession("model.onnx")'),
        ("model.pt2", 'torch.export.load("model.pt2")'),
        ("model.pte", 'load_program("model.pte")'),
        ("model.mnn", 'MNN.Interpreter("model.mnn")'),
        ("model.other", "`model.other` is run by onnxruntime 1.31."),
    ],
)
def test_card_shows_how_its_file_is_run(file, words):
    text = readme(replace(CARD, file=file))
    assert words in text
    code = re.search(r"```python\n(.*?)```", text.partition("## Use")[2], flags=re.S)
    assert (code is None) == (file == "model.other")
    if code:
        compile(code[1], file, "exec")
        assert "(1, 1, 8, 8)" in code[1]


def test_file_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "front.json"
    file.write_text(json.dumps(SUMMARY.to_json() | {"limit_ms": "low"}))
    with pytest.raises(ValueError, match=r"front\.json cannot be read: SearchSummary\.limit_ms is a number"):
        read_record(SearchSummary, file)
    file.write_text(json.dumps(SUMMARY.to_json()))
    assert read_record(SearchSummary, file) == SUMMARY
