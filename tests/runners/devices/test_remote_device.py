"""A remote device, with a shell script in the place of ssh: the same protocol without a network."""

import sys
from pathlib import Path

import pytest
from torch import nn

from runners.devices.profile import HardwareProfile
from runners.devices.remote_device import RemoteDevice

SHELL = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
COPY = '#!/bin/sh\nexec cp -r "${1#*@*:}" "${2#*@*:}"\n'


def _tool(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def _device(tmp_path: Path, shell: str = SHELL) -> RemoteDevice:
    profile = HardwareProfile(name="board", backend="remote", address="me@board", python=sys.executable)
    return RemoteDevice(
        profile, shell=[_tool(tmp_path / "shell", shell)], copy=[_tool(tmp_path / "copy", COPY)]
    )


def test_files_go_there_and_timings_come_back(tmp_path: Path) -> None:
    device = _device(tmp_path)
    assert device.identity().runtime == "onnxruntime"
    models = [device.export(nn.Conv2d(3, 8, 3), (3, 8, 8)), b"broken"]
    good, broken = device.measure(models, budget_s=0.1)
    assert good.median_ms > 0
    assert broken.status == "unsupported"


def test_a_device_that_is_gone_says_how_to_go_on(tmp_path: Path) -> None:
    device = _device(tmp_path, "#!/bin/sh\necho 'connection refused' >&2\nexit 255\n")
    with pytest.raises(OSError, match="connection refused; what was measured is kept"):
        device.measure([b"x"], budget_s=0.1)
