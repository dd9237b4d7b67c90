"""Runs scripts that stand for public reports of wrong results; each exits with 1 while its fault is there.

    python -m tests.reports FOLDER            # all of them; whole runs last, minutes each
    python -m tests.reports FOLDER NAME...    # some

The scripts were written when modules and recipe keys had other names; what stands where now is below, and
they are run as they are otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "compress.export": "compress.onnx.export",
    "compress.onnx_file": "compress.onnx.file",
    "compress.prune": "compress.pruning.prune",
    "compress.verify": "compress.onnx.verify",
}
"""Modules by their names of then."""
KEYS = {
    "profile = { fit_networks": "measure = { fit_networks",
    "finetune_epochs = 1, retrain_epochs = 0, channel_step = 4, calibration_images = 64": (
        'recovery = { epochs = 1 }, goal = "fastest", calibration_images = 64, '
        'steps = ["finetune", { kind = "prune", keep = 0.5, counts = 4 }, "quantize"]'
    ),
    # The range of deep images is stated or refused.
    "height=64, width=256, channels=1)": "height=64, width=256, channels=1, white=4095)",
    # A step runs the files that it makes.
    "SimpleNamespace(calibration=np.asarray(x))": (
        "SimpleNamespace(calibration=np.asarray(x), seed=0, "
        'target=__import__("runners.targets.target", fromlist=["_"]).open_target('
        '__import__("runners.targets.profile", fromlist=["_"]).load_profile("cpu-ort")))'
    ),
}
"""What is said otherwise now."""
ARGUMENTS = {"own_space_runs": ("fuse", "gru", "aux", "tied")}
"""Scripts that are run once with each of these."""
_SECONDS = 600


def scripts(folder: Path, names: Sequence[str] = ()) -> list[tuple[Path, str]]:
    """The scripts of a folder, each with an argument or none; those of whole runs last."""
    found = [file for file in sorted(folder.glob("*.py")) if not names or file.stem in names]
    pairs = [(file, argument) for file in found for argument in ARGUMENTS.get(file.stem, ("",))]
    return sorted(pairs, key=lambda pair: pair[1] != "")


def today(source: str) -> str:
    """A script with what is said otherwise now."""
    for before, now in (MODULES | KEYS).items():
        source = source.replace(before, now)
    return source


def run(file: Path, argument: str, *, seconds: float = _SECONDS) -> tuple[int, str]:
    """Exit code of a script and the last line that it said."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / file.name
        script.write_text(today(file.read_text()))
        done = subprocess.run(
            [sys.executable, str(script), *filter(None, [argument])],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    lines = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()
    return done.returncode, lines[-1].strip()


def outcomes(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Name, exit code and last line of each script."""
    for file, argument in scripts(folder, names):
        yield f"{file.stem} {argument}".strip(), *run(file, argument)


def main(arguments: Sequence[str]) -> int:
    """Prints a line for each script; how many have their fault."""
    if not arguments:
        print(__doc__)
        return 2
    failed = 0
    for name, code, said in outcomes(Path(arguments[0]), arguments[1:]):
        failed += code != 0
        print(f"{'fault' if code else 'fine':6}{name:34}{said[:160]}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
