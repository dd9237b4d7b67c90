"""A device reached with ssh: Python, numpy and onnxruntime are there, nothing of ours is."""

from __future__ import annotations

import json
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from runners.measuring import stopwatch
from runners.measuring.lock import device_lock
from runners.measuring.process import read_timings
from runners.measuring.stopwatch import Timing, merge, processes, share
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity

_ASK = (
    "import platform,os,onnxruntime;"
    "print(onnxruntime.__version__);"
    "print(platform.node(),platform.machine(),platform.system(),'x%d'%(os.cpu_count() or 1))"
)


class RemoteDevice:
    """Measures ONNX files on another machine: files go there with scp, ``stopwatch.py`` runs there.

    Args:
        profile: with ``address`` and the ``python`` to use there.
        shell: the command that reaches the address; tests put their own in its place.
        copy: the command that copies files, likewise.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        shell: Sequence[str] = ("ssh", "-o", "BatchMode=yes"),
        copy: Sequence[str] = ("scp", "-q", "-r", "-o", "BatchMode=yes"),
    ) -> None:
        self.profile = profile
        self._shell, self._copy = list(shell), list(copy)

    def identity(self) -> Identity:
        """As the device says; asked anew each time, so an upgrade there is noticed."""
        version, machine = self._there(f'{self.profile.python} -c "{_ASK}"').strip().splitlines()[-2:]
        return Identity(
            runtime="onnxruntime", runtime_version=version, threads=self.profile.threads, machine=machine
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The module as ONNX; see ``onnx_bytes``."""
        return onnx_bytes(
            module,
            input_shape,
            batch=self.profile.batch,
            precision=precision,
            unsupported_operators=self.profile.unsupported_operators,
        )

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times ONNX files there, side by side.

        Raises:
            OSError: the device cannot be reached or went away; the message has its last words.
        """
        if not models:
            return []
        remote = f"/tmp/quarry-{uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="quarry-") as name, device_lock(self.profile.address):
            folder = Path(name) / "job"
            folder.mkdir()
            for index, model in enumerate(models):
                (folder / f"{index}.onnx").write_bytes(
                    model if isinstance(model, bytes) else model.read_bytes()
                )
            (folder / "stopwatch.py").write_bytes(Path(str(stopwatch.__file__)).read_bytes())
            job = {
                "models": [f"{remote}/{index}.onnx" for index in range(len(models))],
                "threads": self.profile.threads,
                "batch": self.profile.batch,
                "cores": [],
                "config": dict(self.profile.options),
                "budget_s": budget_s,
                "precision": precision,
            }
            (folder / "job.json").write_text(json.dumps(share(job)))
            self._call([*self._copy, str(folder), f"{self.profile.address}:{remote}"])
            try:
                script, result = f"{remote}/stopwatch.py", Path(name) / "result.json"
                measured = []
                for _ in range(processes(budget_s)):
                    self._there(f"{self.profile.python} {script} {remote}/job.json {remote}/result.json")
                    self._call([*self._copy, f"{self.profile.address}:{remote}/result.json", str(result)])
                    measured.append(read_timings(result))
                return merge(measured)
            finally:
                subprocess.run(
                    [*self._shell, self.profile.address, f"rm -rf {remote}"], capture_output=True, check=False
                )

    def _there(self, command: str) -> str:
        return self._call([*self._shell, self.profile.address, command])

    def _call(self, command: Sequence[str]) -> str:
        try:
            process = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise OSError(f"{command[0]} is not installed; a remote profile needs it") from None
        if process.returncode:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            advice = "what was measured is kept, run the same command again when it is back"
            if "No module named" in last:
                advice = f"install it there: {self.profile.python} -m pip install numpy onnxruntime"
            raise OSError(
                f"device {self.profile.address!r} of profile {self.profile.name!r} did not do its part: "
                f"{last}; {advice}"
            )
        return process.stdout
