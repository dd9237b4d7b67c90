"""A device reached with ssh: Python, numpy and onnxruntime are there, nothing of ours is."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from compress.target import Facts, OperatorTime
from results.timing import Timing
from runners.measuring.carried import carry_stopwatch
from runners.measuring.lock import device_lock
from runners.measuring.stopwatch import in_processes, read_timings, share
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_format import FORMAT, export_for, run_onnx
from runners.targets.registry import RUNTIMES

_ASK = (
    "import platform,os,onnxruntime;"
    "print(onnxruntime.__version__);"
    "print(platform.node(),platform.machine(),platform.system(),'x%d'%(os.cpu_count() or 1))"
)


@RUNTIMES.register("remote")
class RemoteTarget:
    """ONNX Runtime on another machine: files go there with scp, ``stopwatch.py`` runs there.

    Args:
        profile: what is common to all runtimes.
        address: the machine, as ``user@host``.
        python: the interpreter there, with numpy and onnxruntime.
        options: session configuration entries of ONNX Runtime.
        shell: command that runs something there; the address and the words follow.
        copy: command that copies there and back; both places follow, those there as ``address:path``.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        address: Annotated[str, Field(min_length=1)],
        python: str = "python3",
        options: dict[str, str] | None = None,
        shell: tuple[str, ...] = ("ssh", "-o", "BatchMode=yes"),
        copy: tuple[str, ...] = ("scp", "-q", "-r", "-o", "BatchMode=yes"),
    ) -> None:
        only_in(profile, ("fp32", "int8"))
        self._profile, self._address, self._python = profile, address, python
        self._options, self._shell, self._copy = options or {}, shell, copy

    @cached_property
    def facts(self) -> Facts:
        """Facts as the device tells them; it is asked once.

        Raises:
            OSError: it cannot be reached, or lacks the runtime.
        """
        version, machine = self._there(f'{self._python} -c "{_ASK}"').strip().splitlines()[-2:]
        return Facts(
            profile=self._profile.name,
            runtime="onnxruntime",
            runtime_version=version,
            threads=self._profile.threads,
            batch=self._profile.batch,
            machine=machine,
            format=FORMAT,
            precisions=self._profile.precisions,
            local=False,
            float_thin=True,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes an ONNX file here; see ``export_for``."""
        export_for(self._profile, network, input_shape, path, precision, float_thin=True)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a file in this machine's ONNX Runtime: images need not travel to be classified."""
        return run_onnx(file, images)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times ONNX files there, side by side.

        Raises:
            OSError: the device cannot be reached or went away; the message has its last words.
        """
        if not files:
            return []
        remote = f"/tmp/quarry-{uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="quarry-") as name, device_lock(self._address):
            folder, result = Path(name) / "job", Path(name) / "result.json"
            folder.mkdir()
            for index, file in enumerate(files):
                shutil.copyfile(file, folder / f"{index}.onnx")
            carry_stopwatch(folder, "stopwatch.py")
            job = {
                "models": [f"{remote}/{index}.onnx" for index in range(len(files))],
                "threads": self._profile.threads,
                "batch": self._profile.batch,
                "cores": [],
                "config": self._options,
                "budget_s": budget_s,
                "half_width": half_width,
            }
            (folder / "job.json").write_text(json.dumps(share(job)))
            self._call([*self._copy, str(folder), f"{self._address}:{remote}"])

            def run(_part: dict[str, Any]) -> list[Timing]:  # it lies there already
                script, answer = f"{remote}/stopwatch.py", f"{remote}/result.json"
                self._there(f"{self._python} {script} {remote}/job.json {answer}")
                self._call([*self._copy, f"{self._address}:{answer}", str(result)])
                return read_timings(result)

            try:
                return in_processes(job, run)
            finally:
                subprocess.run(
                    [*self._shell, self._address, f"rm -rf {remote}"], capture_output=True, check=False
                )

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Refuses: what operators take here says nothing of there.

        Raises:
            ValueError: always.
        """
        del file, images
        raise ValueError(f"the time of operators is not asked of {self._address}")

    def _there(self, command: str) -> str:
        return self._call([*self._shell, self._address, command])

    def _call(self, command: Sequence[str]) -> str:
        try:
            process = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise OSError(f"{command[0]} is not installed; a remote profile needs it") from None
        if process.returncode:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            advice = "what was measured is kept, run the same command again when it is back"
            if "No module named" in last:
                advice = f"install it there: {self._python} -m pip install numpy onnxruntime"
            raise OSError(
                f"device {self._address!r} of profile {self._profile.name!r} did not do its part: "
                f"{last}; {advice}"
            )
        return process.stdout
