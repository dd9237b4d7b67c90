"""A remote device, with a shell script in the place of ssh: the same protocol without a network."""

import os
import sys
from pathlib import Path

import pytest
from torch import nn

from compress.target import Target
from nas.costs.layers.probes import layer_probes
from nas.costs.table.build import build_table
from nas.costs.table.table import LatencyTable
from runners.tables.layers import exporter, table_header
from runners.targets.hardware import HardwareProfile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset

SHELL = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
COPY = '#!/bin/sh\nexec cp -r "${1#*@*:}" "${2#*@*:}"\n'


def _tool(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def _target(python: str = sys.executable, **settings: object) -> Target:
    runtime = {"kind": "remote", "address": "me@board", "python": python, **settings}
    return open_target(HardwareProfile.model_validate({"name": "board", "runtime": runtime}))


def _scripted(tmp_path: Path, shell: str = SHELL) -> Target:
    return _target(shell=[_tool(tmp_path / "shell", shell)], copy=[_tool(tmp_path / "copy", COPY)])


def test_files_go_there_and_timings_come_back(tmp_path: Path) -> None:
    target = _scripted(tmp_path)
    assert (target.facts.runtime, target.facts.local) == ("onnxruntime", False)
    files = [tmp_path / "good.onnx", tmp_path / "broken.onnx"]
    target.export(nn.Conv2d(3, 8, 3), (3, 8, 8), files[0])
    files[1].write_bytes(b"broken")
    good, broken = target.measure(files, budget_s=0.1)
    assert good.median_ms > 0
    assert broken.status == "unsupported"


def test_a_device_that_is_gone_says_how_to_go_on(tmp_path: Path) -> None:
    target = _scripted(tmp_path, "#!/bin/sh\necho 'connection refused' >&2\nexit 255\n")
    with pytest.raises(OSError, match="connection refused; what was measured is kept"):
        target.measure([Path(__file__)], budget_s=0.1)


def _on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ssh: str) -> None:
    """Programs called ssh and scp, as the profile finds them: -o and its value, -q and -r, then the rest."""
    options = 'while [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done\n'
    _tool(tmp_path / "ssh", f"#!/bin/sh\n{options}{ssh}")
    _tool(tmp_path / "scp", f'#!/bin/sh\n{options}exec cp -r "${{1#*@*:}}" "${{2#*@*:}}"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_a_device_that_goes_away_in_the_middle_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "calls"
    gone = f'[ $(wc -l < {count}) -eq 4 ] && {{ echo "No route to host" >&2; exit 255; }}'
    _on_path(tmp_path, monkeypatch, f'shift\necho call >> {count}\n{gone}\nexec sh -c "$*"\n')
    target = _target()
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    path = tmp_path / "table.parquet"

    def build() -> LatencyTable:
        return build_table(
            layer_probes(space)[:20],
            table_header(target, space),
            export=exporter(target),
            measure=target.measure,
            path=path,
            seconds_each=0.01,
        )

    with pytest.raises(OSError, match="No route to host; what was measured is kept, run the same"):
        build()
    kept = path.with_suffix(".journal.jsonl").read_text().count("measured")
    assert kept == 12  # the first group
    table = build()
    assert len(table.lines) == 20
    assert set(table.lines.status) == {"measured"}


def test_a_python_without_the_runtime_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _on_path(tmp_path, monkeypatch, 'shift\nexec sh -c "$*"\n')
    bare = _tool(tmp_path / "python-bare", f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    with pytest.raises(
        OSError, match="No module named 'onnxruntime'; install it there: .* -m pip install numpy onnxruntime"
    ):
        _ = _target(bare).facts
