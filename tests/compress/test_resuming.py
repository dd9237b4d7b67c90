"""A killed run goes on after its last recorded step, with the files that belong to it."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from compress.run import run_steps
from compress.saved import last_kept
from compress.steps import Finetune
from results.files import read_lines
from tests.compress.scripted import NAMES, SCRIPT, Scripted, raising, scripted


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_ctrl_c_end_the_run_which_goes_on_from_there(begun, error):
    folder, network, log = begun
    broken = [SCRIPT[0], Scripted(does=raising(error)), SCRIPT[3]]
    with pytest.raises(type(error)):
        run_steps("net", network, broken, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES[:1]
    steps = [SCRIPT[0], SCRIPT[1], SCRIPT[3]]
    _, records = run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [record.kept for record in records] == [True, False, True]


@pytest.mark.parametrize("killed_after", [0, 1, 3])
def test_a_killed_run_ends_as_it_would_have(begun, killed_after):
    folder, network, log = begun

    def killing() -> None:
        if len(list(read_lines(log))) == killed_after:
            raise Killed

    steps = [replace(step, does=killing) if index != 2 else step for index, step in enumerate(SCRIPT)]
    with pytest.raises(Killed):
        run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES[:killed_after]
    again, _ = run_steps("net", network, SCRIPT, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES
    assert torch.equal(again.network.weight, network.weight + 2)
    assert json.loads(again.file.read_text()) == [0.4, 0.935]


def test_other_steps_than_the_logged_ones_are_refused(begun):
    folder, network, log = begun
    run_steps("net", network, SCRIPT[:1], scripted(), folder=folder, log=log)
    with pytest.raises(
        ValueError, match="has the steps scripted for net, but finetune were asked for; delete "
    ) as error:
        run_steps("net", network, [Finetune()], scripted(), folder=folder, log=log)
    assert str(error.value).endswith(f"delete {folder} and {log} to compress again")


class Killed(BaseException):
    """A kill: nothing that handles errors sees it."""


def test_what_a_kill_left_unrecorded_is_never_delivered(begun, monkeypatch):
    """A step is kept and saved, the kill comes before its record, and the second try is undone."""
    folder, network, log = begun
    with monkeypatch.context() as patched:
        patched.setattr("compress.run.append_line", lambda *_: raising(Killed())())
        with pytest.raises(Killed):
            run_steps("net", network, [SCRIPT[3]], scripted(), folder=folder, log=log)
    stale = folder / "1_scripted" / "candidate.json"
    assert stale.exists()
    assert torch.equal(last_kept(network, scripted().example, folder, ()).network.weight, network.weight)
    slower = Scripted(median_ms=1.2, accuracy=0.95)
    _, records = run_steps("net", network, [slower], scripted(), folder=folder, log=log)
    assert not records[0].kept
    assert not stale.exists()
    delivered = last_kept(network, scripted().example, folder, records)
    assert delivered.file == folder / "0_start" / "model.onnx"


def test_no_network_to_deliver_is_said_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="0_start holds no compressed network"):
        last_kept(nn.Conv2d(1, 2, 1), scripted().example, tmp_path, ())


def test_another_network_than_the_folder_was_begun_with_is_refused(begun):
    folder, network, log = begun
    other = nn.Conv2d(1, 2, 1)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.bias.mul_(1 + 1e-7)  # rounding is no other network
    run_steps("net", other, [], scripted(), folder=folder, log=log)
    with torch.no_grad():
        other.bias += 0.01
    with pytest.raises(ValueError, match="of another network than the net given: bias differs") as error:
        run_steps("net", other, SCRIPT, scripted(), folder=folder, log=log)
    assert str(error.value).endswith(f"delete {folder} and {log} to compress again")


def test_damaged_shape_is_named_with_the_field(begun):
    folder, network, log = begun
    shape = folder / "0_start" / "candidate.json"
    shape.write_text(shape.read_text().replace('"cuts": []', '"cuts": [{"root": 3}]'))
    with pytest.raises(
        ValueError, match=r"candidate\.json is damaged \(CandidateRecord\.cuts\[0\] lacks .* delete"
    ):
        run_steps("net", network, [], scripted(), folder=folder, log=log)


def test_damaged_weights_are_named(begun):
    folder, network, log = begun
    weights = folder / "0_start" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"network\.safetensors does not hold the weights .* delete"):
        run_steps("net", network, SCRIPT, scripted(), folder=folder, log=log)
