"""What is handed over works where nothing of ours is installed, and says when it was damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import results
from compress.candidate import Candidate
from compress.onnx.file import OnnxFile
from compress.source.forward import CannotBeWritten
from results.records.checksums import damaged
from runners.artifacts import files
from runners.artifacts.bill import fingerprint
from runners.artifacts.files import write_artifact
from runners.data.prepared import RunData
from tests.runners.artifacts.conftest import some_card

OURS = ("results", "search_spaces", "nas", "compress", "runners", "tests")
FILES = {
    *("model.onnx", "model.py", "weights.safetensors", "labels.json", "preprocessing.json", "predict.py"),
    *("model-image.onnx", "README.md", "bom.cdx.json", "card.json", "checksums.sha256"),
}


def elsewhere(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder as if nothing of ours were installed."""
    blocked = f"import sys\nfor name in {OURS}: sys.modules[name] = None\nsys.path.insert(0, '')\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + code, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def a_picture(folder: Path, size: tuple[int, int] = (23, 31)) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder / "picture.png"


def test_a_folder_holds_all_that_it_promises(run: Path) -> None:
    folder = run / "artifacts" / "some"
    assert {file.name for file in folder.iterdir()} == FILES
    assert damaged(folder) == {}
    text = (folder / "README.md").read_text()
    for name in FILES - {"README.md", "card.json", "checksums.sha256"}:
        assert f"| `{name}` |" in text
    assert text.startswith("---\nlibrary_name: onnx\npipeline_tag: image-classification\n")
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=folder, check=False
    )
    assert checked.returncode == 0


def test_the_network_is_rebuilt_and_trained_without_us(run: Path, data: RunData, network: nn.Module) -> None:
    images = data.images(data.splits.test)
    np.save(run / "images.npy", images.numpy())
    code = """
import numpy as np, torch, model
network = model.load()
images = torch.from_numpy(np.load("../../images.npy"))
with torch.inference_mode():
    np.save("../../scores.npy", network(images).numpy())
network.train()
optimizer = torch.optim.SGD(network.parameters(), 0.1)
torch.nn.functional.cross_entropy(network(images), torch.arange(30) % 3).backward()
optimizer.step()
print(float(sum(one.double().sum() for one in network.state_dict().values())))
"""
    done = elsewhere(code, run / "artifacts" / "some")
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        np.testing.assert_allclose(np.load(run / "scores.npy"), network(images).numpy(), atol=1e-6)
    own = results.load(run).network.train()  # the same step here, on the network as it was
    own.load_state_dict(network.state_dict())
    optimizer = torch.optim.SGD(own.parameters(), 0.1)
    functional.cross_entropy(own(images), torch.arange(30) % 3).backward()
    optimizer.step()
    expected = float(sum(one.double().sum() for one in own.state_dict().values()))
    assert float(done.stdout) == pytest.approx(expected, rel=1e-6)


def test_two_lines_give_network_transform_and_labels(run: Path, tmp_path: Path, network: nn.Module) -> None:
    loaded = results.load(run)
    image = loaded.transform(a_picture(tmp_path))
    assert image.shape == (3, 12, 8)
    assert loaded.labels == ("cat", "dog", "owl")
    torch.testing.assert_close(loaded.network(image[None]), network(image[None]), rtol=0, atol=1e-6)
    again = loaded.transform(Image.open(tmp_path / "picture.png"))
    assert torch.equal(again, image)


def test_it_is_trained_on_as_docs_show(run: Path) -> None:
    """What docs/artifacts.md has as code does as it says."""
    text = (Path(__file__).parents[3] / "docs" / "artifacts.md").read_text()
    code = text.partition("## Train it further")[2].partition("```python\n")[2].partition("```")[0]
    torch.manual_seed(0)
    images = torch.randn(24, 3, 12, 8)
    labels = (images.mean((1, 2, 3)) > 0).long()
    names = {"batches": [(images, labels)] * 12}
    exec(code.replace("runs/digits", str(run)), names)
    assert names["network"](images).shape == (24, 2)  # type: ignore[operator]
    losses = names["losses"]
    assert losses[-1] < 0.7 * losses[0]  # type: ignore[index]


def test_the_image_file_takes_a_picture_as_it_is(run: Path, tmp_path: Path) -> None:
    folder = run / "artifacts" / "some"
    loaded, file = results.load(folder), a_picture(tmp_path)
    told = json.loads((folder / "preprocessing.json").read_text())["in_graph"]
    assert told["largest_pixel_difference"] <= 1
    assert told["same_predictions"] == 1.0
    pixels = np.asarray(Image.open(file))[None]
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / told["file"])
    (found,) = session.run(None, {"pixels": pixels})
    with torch.inference_mode():
        expected = loaded.network(loaded.transform(file)[None]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert session.run(None, {"pixels": np.repeat(pixels, 3, axis=0)})[0].shape == (3, 3)


def test_predict_py_needs_nothing_of_ours(run: Path, tmp_path: Path) -> None:
    folder, file = run / "artifacts" / "some", a_picture(tmp_path)
    (tmp_path / "no.txt").write_text("no picture")
    code = "import runpy\nsys.argv[0] = 'predict.py'\nrunpy.run_path('predict.py', run_name='__main__')"
    done = elsewhere(code, folder, str(file), str(tmp_path / "no.txt"))
    assert done.returncode == 1
    assert "no.txt: cannot identify image file" in done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{file}: ")
    scores = OnnxFile(folder / "model.onnx")(results.load(folder).transform(file)[None].numpy())[0]
    shares = np.exp(scores) / np.exp(scores).sum()
    best = ("cat", "dog", "owl")[shares.argmax()]
    assert line.partition(": ")[2].startswith(f"{best} {shares.max():.1%}")


def test_the_bill_of_materials_names_versions_seed_and_data(run: Path, data: RunData) -> None:
    bill = json.loads((run / "artifacts" / "some" / "bom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    parts = {one["name"]: one for one in bill["components"]}
    assert parts["torch"]["purl"] == "pkg:pypi/torch@2.13"
    assert parts["test images"]["hashes"][0]["content"] == fingerprint(data.splits.test)
    assert fingerprint(data.splits.test) != fingerprint(data.splits.val)
    told = {one["name"]: one["value"] for one in bill["metadata"]["component"]["properties"]}
    assert told["quarry:seed"] == "0"


@pytest.mark.parametrize("sums", ["as written", "damaged"])
def test_without_source_the_rest_is_there_and_the_reason_told(
    run: Path, tmp_path: Path, data: RunData, network: nn.Module, monkeypatch: pytest.MonkeyPatch, sums: str
) -> None:
    """And the file of another runtime has a float file of ONNX beside it, which predict.py uses.

    Nothing is left of what was written there before, and what others put there is.
    """

    def refuse(*_: object, **__: object) -> None:
        raise CannotBeWritten("the forward of the network cannot be traced")

    monkeypatch.setattr(files, "write", refuse)
    file = tmp_path / "model.pte"
    file.write_bytes(b"another format")
    card = some_card(file.read_bytes(), data, file="model.pte")
    folder = tmp_path / "artifacts" / "some"
    shutil.copytree(run / "artifacts" / "some", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notes.txt").write_text("mine")
    if sums == "damaged":
        (folder / "checksums.sha256").write_text("abc")
        (folder / "model.onnx").unlink()
    (left_out,) = write_artifact(folder, card, Candidate(network=network, file=file), data)
    assert left_out.startswith(
        "model.py and weights.safetensors: the forward of the network cannot be traced"
    )
    assert {file.name for file in folder.iterdir()} == (
        FILES - {"model.py", "weights.safetensors", "model.onnx"}
        | {"model.pte", "model-fp32.onnx", "notes.txt"}
    )
    assert "without model.py and weights.safetensors: " in (folder / "README.md").read_text()
    assert '"model-fp32.onnx"' in (folder / "predict.py").read_text()
    with pytest.raises(FileNotFoundError, match=r"has no model\.py: its README\.md says why"):
        results.load(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("weights.safetensors", b"", "weights.safetensors is not what was written: damaged, cut short or"),
        ("model.py", b"# edited", "model.py is not what was written"),
        ("labels.json", None, "labels.json is gone"),
        ("checksums.sha256", b"abc", "checksums.sha256 is damaged: line 1 is no SHA-256 sum"),
    ],
)
def test_damage_is_noticed(run: Path, tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run / "artifacts" / "some", folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        results.load(folder)


def test_what_is_no_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        results.load(tmp_path / "none")
    with pytest.raises(
        FileNotFoundError, match="holds no network that was handed over; .*quarry export --out"
    ):
        results.load(tmp_path)
    with pytest.raises(ValueError, match="unknown network 'sum'. Did you mean 'some'"):
        results.load(run, "sum")


def test_a_preparation_that_is_another_is_not_handed_over(
    run: Path, data: RunData, network: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "_pixels_apart", lambda portable, given: (7, 0.5))
    file = run / "model.onnx"
    card = some_card(file.read_bytes(), data)
    (left_out,) = write_artifact(tmp_path / "some", card, Candidate(network=network, file=file), data)
    assert left_out == "model-image.onnx: images prepared inside the file are off by 7 of 255 levels"
    assert not (tmp_path / "some" / "model-image.onnx").exists()
