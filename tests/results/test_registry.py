"""The registry: settings are keyword-only parameters, with type and range; all that is wrong is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from results.loading import load_module
from results.registry import REQUIRED, Registry, settings_of

if TYPE_CHECKING:
    from decimal import Decimal


def twice(
    moment: str, *, factor: Annotated[float, Field(gt=0, le=10)] = 2.0, tags: tuple[str, ...] = ()
) -> Any:
    """Runs everything twice.

    Args:
        moment: state of the training.
        factor: weight of the second run,
            without unit.
        tags: words for the log.
    """
    return moment, factor, tags


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Cuts channels.

    Attributes:
        keep: share that stays.
    """

    keep: float
    counts: int | tuple[int, ...] = 16


@dataclass(frozen=True, kw_only=True)
class FineCut(Cut):
    """Cuts finely."""

    fine: bool = True


def only_checkers_know(*, price: Decimal | None = None, share: float = 0.5) -> None:
    """Has one annotation that cannot be looked up."""


@pytest.fixture
def parts() -> Registry[Callable[..., Any]]:
    made: Registry[Callable[..., Any]] = Registry("trick")
    made.register("twice", needs={"gradients"})(twice)
    made.add("cut", Cut)
    made.add("fine", FineCut)
    return made


def test_settings_are_the_keyword_only_parameters_with_type_default_and_text() -> None:
    settings = settings_of(twice)
    assert list(settings) == ["factor", "tags"]
    assert settings["factor"].default == 2.0
    assert settings["factor"].text == "weight of the second run, without unit."
    assert settings_of(Cut)["keep"].default is REQUIRED
    assert settings_of(Cut)["keep"].text == "share that stays."
    assert list(settings_of(FineCut)) == ["keep", "counts", "fine"]  # inherited fields first


def test_a_configured_part_takes_at_work_what_is_positional(parts: Registry[Callable[..., Any]]) -> None:
    assert parts.configured("twice", {"factor": 3, "tags": ["a"]})("now") == ("now", 3.0, ("a",))
    assert parts.configured("twice", {}) is twice
    assert parts.configured("cut", {"keep": 0.5, "counts": [8, 16]})() == Cut(keep=0.5, counts=(8, 16))
    assert parts["twice"].needs == {"gradients"}
    assert parts["twice"].summary == "Runs everything twice."


@pytest.mark.parametrize(
    ("name", "options", "lines"),
    [
        ("twise", {}, ["key: unknown trick 'twise'. Did you mean 'twice'? Valid: twice, cut, fine."]),
        (
            "twice",
            {"facter": 1},
            ["key.facter: 'twice' has no setting 'facter'. Did you mean 'factor'? Its settings: factor"],
        ),
        (
            "twice",
            {"factor": "much"},
            ["key.factor = 'much': Input should be a valid number, unable to parse"],
        ),
        ("twice", {"factor": True}, ["key.factor = True: Input should be a valid number, not true or false"]),
        ("twice", {"factor": "0.4"}, ["key.factor = '0.4': Input should be a valid number, without quotes"]),
        (
            "cut",
            {"keep": 0.5, "counts": [True]},
            ["key.counts = [True]: Input should be a valid number, not true or false"],
        ),
        (
            "fine",
            {"keep": 1, "fine": "yes"},
            ["key.fine = 'yes': Input should be a valid boolean, without quotes"],
        ),
        ("fine", {"keep": 1, "fine": 1}, ["key.fine = 1: Input should be a valid boolean, true or false"]),
        ("twice", {"factor": 0}, ["key.factor = 0: Input should be greater than 0"]),
        ("twice", {"factor": float("nan")}, ["key.factor = nan: Input should be a finite number"]),
        ("twice", {"tags": [float("inf")]}, ["key.tags = [inf]: Input should be a finite number"]),
        ("cut", {}, ["key.keep: 'cut' needs this and has no default"]),
        (
            "cut",
            {"keep": 0.5, "counts": [8, "x"]},
            ["key.counts = [8, 'x']: Input should be a valid integer"],
        ),
        (
            "twice",
            {"factor": -1, "fector": 1, "tags": 3},
            ["key.factor = -1", "key.fector: ", "key.tags = 3: Input should be a valid tuple"],
        ),
    ],
)
def test_all_that_is_wrong_is_said_with_key_part_and_nearest(
    parts: Registry[Callable[..., Any]], name: str, options: dict[str, object], lines: list[str]
) -> None:
    problems = parts.problems(name, options, "key")
    assert len(problems) == len(lines)
    for problem, line in zip(problems, lines, strict=True):
        assert problem.startswith(line)
    with pytest.raises(ValueError, match="twice|cut|fine"):
        parts.configured(name, options)


def test_what_a_partial_fixes_is_no_setting() -> None:
    made: Registry[Callable[..., Any]] = Registry("trick")
    made.add("thrice", partial(twice, factor=3.0))
    assert list(made["thrice"].settings) == ["tags"]
    assert made["thrice"].summary == "Runs everything twice."
    assert made.configured("thrice", {"tags": ["a"]})("now") == ("now", 3.0, ("a",))


def test_an_annotation_that_cannot_be_looked_up_leaves_the_others_checked() -> None:
    settings = settings_of(only_checkers_know)
    assert settings["price"].annotation is Any
    with pytest.raises(ValueError, match="valid number"):
        settings["share"].check("much")


def test_annotations_of_a_file_are_looked_up_there(tmp_path: Path) -> None:
    file = tmp_path / "far.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "Share = float\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Far:\n"
        "    share: Share = 0.5\n"
    )
    far = load_module(str(file)).Far
    with pytest.raises(ValueError, match="valid number"):
        settings_of(far)["share"].check("much")


def test_two_parts_of_one_name_are_refused_and_both_placed(parts: Registry[Callable[..., Any]]) -> None:
    parts.add("cut", Cut)  # the same again does no harm
    with pytest.raises(ValueError, match="there are two parts named 'cut'.*tests.results.test_registry"):
        parts.add("cut", FineCut)
    assert list(parts) == ["twice", "cut", "fine"]


def test_a_file_that_changed_brings_its_parts_anew(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    registry = Registry[Any]("toy")
    for factor in (2, 3):
        file.write_text(f"def twice(x):\n    return {factor} * x\n")
        scope: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), scope)
        registry.add("twice", scope["twice"])
        assert registry["twice"].part(1) == factor
    with pytest.raises(ValueError, match="two parts named 'twice'"):
        registry.add("twice", lambda x: x)
