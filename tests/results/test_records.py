"""Records survive JSON exactly and refuse what does not fit."""

import json
import re
from dataclasses import replace

import pytest

from results.records import (
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    EpochRecord,
    FrontEntry,
    LayerRecord,
    Limit,
    Reference,
    SearchSummary,
)

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
    preprocessing={"size": [8, 8], "mean": [0.3], "resize": "none"},
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
    ),
    size_bytes=12345,
    macs=1000,
    params=200,
    precision="int8",
    steps_kept=("prune", "quantize"),
    limit=Limit(latency_ms=0.3, met=True),
    reference=Reference(name="largest", latency_ms=0.5, exported_test=0.98, size_bytes=99999, speedup=5.0),
    provenance={"recipe": "digits", "seed": 0, "versions": {"torch": "2.13"}},
)


@pytest.mark.parametrize("record", [ENTRY, SUMMARY, EPOCH, CARD], ids=lambda record: type(record).__name__)
def test_record_survives_json(record):
    text = json.dumps(record.to_json(), allow_nan=False)
    assert type(record).from_json(json.loads(text)) == record
    assert json.loads(text) == record.to_json()


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


@pytest.mark.parametrize("record", [SUMMARY, CARD], ids=lambda record: type(record).__name__)
def test_file_of_another_schema_is_refused_as_such(record):
    value = record.to_json()
    assert value["schema"] == 1
    del value["schema"]
    assert type(record).from_json(value) == record  # written before there was one
    later = {"schema": 2, "something": "else"}
    with pytest.raises(ValueError, match="is of schema 2, but this version of Quarry reads schema 1"):
        type(record).from_json(later)


def test_card_as_text_says_what_matters():
    text = CARD.to_markdown()
    for words in (
        "# a",
        "97.25%",
        "0.1 ms a call",
        "meets the limit of 0.3 ms",
        "5.00 times",
        "prune, then quantize",
    ):
        assert words in text
    assert "model.onnx" in text
    assert CARD.sha256 in text
    recipe = {"name": "digits", "train": {"epochs": 24}}
    assert "- recipe: digits\n" in replace(CARD, provenance={"recipe": recipe}).to_markdown()
