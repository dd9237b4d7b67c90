"""The snippets of the compression page run as they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from compress.candidate import Candidate
from compress.pruning.importance import CRITERIA
from compress.pruning.prune import prune
from compress.steps import STEPS
from tests.compress.networks import EXAMPLE, digits_network
from tests.compress.targets import context

PAGE = (Path(__file__).parents[2] / "docs" / "compression.md").read_text()


def test_the_first_snippet_compresses_a_network(capsys):
    _run(0)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:3]] == ["finetune", "prune", "quantize"]
    assert "Verification(images=397" in printed


def test_the_steps_of_the_page_are_steps():
    (snippet,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    steps = tomllib.loads(snippet)["compress"]["steps"]
    assert len(steps) == 5
    for settings in steps:
        assert STEPS.problems(settings.pop("kind"), settings, "compress.steps") == []


def test_the_parts_of_ones_own_are_parts(tmp_path):
    _run(2)
    assert CRITERIA["gradient"].settings["power"].text == "Power that the sum of magnitudes is raised to."
    network = digits_network()
    spec = {"kind": "gradient", "power": 2}
    assert prune(network, EXAMPLE, keep=0.5, importance=spec, loss=lambda net: net(EXAMPLE).sum()).cuts
    step = STEPS.configured("round", {"digits": 1})()
    start = Candidate(network=torch.nn.Conv2d(1, 2, 1), file=tmp_path / "start.onnx")
    (found,) = step.propose(start, context(), tmp_path)
    assert torch.equal(found.network.weight, start.network.weight.round(decimals=1))
    assert found.file.exists()
    with pytest.raises(ValueError, match="digits"):
        STEPS.configured("round", {"digits": "many"})


def _run(index: int) -> None:
    snippet = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[index]
    exec(compile(snippet, "compression.md", "exec", dont_inherit=True), {"__name__": "snippet"})
