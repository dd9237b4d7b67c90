"""docs/systems.md says what there is: every name in it is registered, every file there, no row gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import pytest

from runners.reading.registries import registries
from runners.recipe.keys import fields
from search_spaces.blocks import block, block_names
from search_spaces.channel_mixers import CHANNEL_MIXERS
from search_spaces.entries import ENTRIES
from search_spaces.gates import GATES
from search_spaces.mixers import MIXERS, mixer
from search_spaces.norms import norm_names
from search_spaces.parts import ACTIVATIONS
from search_spaces.residuals import RESIDUALS
from search_spaces.spaces.presets import PRESETS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "systems.md"
ROWS = {
    "Supernets and search": 12,
    "Mixers and blocks": 86,
    "Pruning": 13,
    "Quantization": 1,
    "Distillation": 4,
    "Token reduction": 8,
    "Efficient inference and hardware": 20,
    "Training": 13,
    "Evidence and evaluation": 4,
}
"""How many systems each section has."""

STATES = ("done", "partly", "not yet")

KNOWN = registries()
KINDS: dict[str, Container[str]] = {
    "mixer": MIXERS,
    "block": block_names(),
    "gate": GATES,
    "channel_mixer": CHANNEL_MIXERS,
    "norm": norm_names(),
    "residual": RESIDUALS,
    "entry": ENTRIES,
    "activation": ACTIVATIONS,
    "preset": PRESETS,
    "rule": KNOWN["train.rule"],
    "searcher": KNOWN["search.searchers"],
    "step": KNOWN["compress.steps"],
    "criterion": KNOWN["compress.steps.prune.importance"],
    "method": KNOWN["compress.recovery.methods"],
    "allocation": KNOWN["compress.steps.prune.allocation"],
    "runtime": KNOWN["runtime"],
    "task": KNOWN["task"],
    "source": KNOWN["data.source"],
    "key": {name for name, _ in fields()},
}
"""What the words before a name stand for."""

SETTINGS: dict[str, Callable[[str], Container[str]]] = {
    "mixer": lambda name: mixer(name).settings,
    "block": lambda name: block(name).settings,
    "channel_mixer": lambda name: CHANNEL_MIXERS[name].part.settings,
    "residual": lambda name: RESIDUALS[name].part.settings,
    "entry": lambda name: ENTRIES[name].part.settings,
    "rule": lambda name: KNOWN["train.rule"][name].settings,
    "searcher": lambda name: KNOWN["search.searchers"][name].settings,
    "step": lambda name: KNOWN["compress.steps"][name].settings,
    "criterion": lambda name: KNOWN["compress.steps.prune.importance"][name].settings,
    "method": lambda name: KNOWN["compress.recovery.methods"][name].settings,
    "allocation": lambda name: KNOWN["compress.steps.prune.allocation"][name].settings,
}
"""What stands in brackets after a name, of those kinds that have settings."""

COLUMNS = ("tier", "system", "state", "recipe", "code", "proof", "left_out")
NAMED = re.compile(r"(\w+) `([^`]+)`(?: \(([^)]*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the page."""

    section: str
    tier: str
    system: str
    state: str
    recipe: str
    code: str
    proof: str
    left_out: str


def lines() -> list[Line]:
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif re.match(r"\| \d", line):
            cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
            found.append(Line(section=section, **dict(zip(COLUMNS, cells, strict=True))))
    return found


def problems(line: Line) -> list[str]:
    """What a row says that is not so."""
    found = []
    if line.state not in STATES:
        found.append(f"state {line.state!r} is none of {STATES}")
    for cell in (line.code, line.proof):
        found += [
            f"there is no file {path}"
            for path in re.findall(r"`([^`]+)`", cell)
            if not (ROOT / path).exists()
        ]
    if line.state == "not yet":
        return found + ["what is not there has no code"] * bool(line.code or line.proof or line.recipe)
    if not re.search(r"`[^`]*test_[^`]*`", line.proof) or "`" not in line.code:
        found.append("what is there has code and a test")
    if line.state == "partly" and not line.left_out:
        found.append("what is there in part says what is missing")
    if line.recipe.count("`") and not NAMED.search(line.recipe):
        found.append(f"{line.recipe!r} does not say what kind its names are of")
    for kind, name, inside in NAMED.findall(line.recipe):
        if kind not in KINDS:
            found.append(f"{kind!r} is none of {sorted(KINDS)}")
        elif name not in KINDS[kind]:
            found.append(f"there is no {kind} {name!r}")
        else:
            given = re.findall(r"`([^`]+)`", inside)
            own = SETTINGS[kind](name) if given and kind in SETTINGS else given
            found += [f"{kind} {name!r} has no setting {one!r}" for one in given if one not in own]
    return found


@pytest.mark.parametrize("section", ROWS)
def test_what_the_page_says_is_so(section: str) -> None:
    wrong = [
        f"{line.system}: {problem}"
        for line in lines()
        if line.section == section
        for problem in problems(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_row_has_gone() -> None:
    found = [line.section for line in lines()]
    assert {section: found.count(section) for section in dict.fromkeys(found)} == ROWS


def test_rows_are_in_order() -> None:
    for section in ROWS:
        own = [(line.tier, line.system.casefold()) for line in lines() if line.section == section]
        assert [tier for tier, _ in own] == sorted(tier for tier, _ in own)
        assert len(set(own)) == len(own), f"{section} has a system twice"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recipe": "mixer `cswn`"}, "there is no mixer 'cswn'"),
        ({"recipe": "mixer `cswin` (`strip`)"}, "mixer 'cswin' has no setting 'strip'"),
        ({"recipe": "mixture `cswin`"}, "'mixture' is none of"),
        ({"proof": "`tests/test_nothing.py`"}, "there is no file tests/test_nothing.py"),
        ({"proof": ""}, "has code and a test"),
        ({"state": "perhaps"}, "is none of"),
        ({"state": "partly", "left_out": ""}, "says what is missing"),
        ({"state": "not yet"}, "what is not there has no code"),
    ],
)
def test_what_is_not_so_is_seen(changed: dict[str, str], message: str) -> None:
    right = {
        "section": "Mixers and blocks",
        "tier": "1",
        "system": "CSWin",
        "state": "done",
        "recipe": "mixer `cswin` (`stripe`)",
        "code": "`search_spaces/mixers/cswin.py`",
        "proof": "`tests/search_spaces/mixers/test_cswin.py`",
        "left_out": "",
    }
    assert problems(Line(**right)) == []
    assert any(message in problem for problem in problems(Line(**{**right, **changed})))
