"""Teachers that a recipe names: opened from code, weights and ONNX files; refused with one clear sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from compress.onnx.export import export_onnx
from nas.distillation import KD, Teaching
from nas.supernet.supernet import Supernet
from runners.given import load_network, load_weights
from runners.reading.load import load_recipe
from runners.recipe.part import part
from runners.recipe.recovery import Recovery
from runners.stages.compress import context_of
from runners.stages.first_look import FirstLook, look_first
from runners.stages.teachers import OnnxTeacher, Teachers, methods_of, teacher_problems
from runners.stages.trainings import retraining
from runners.training.finetuning import Taught
from tests.runners.stages.test_recovery import compressing
from tests.runners.training.test_finetuning import data as training_data
from tests.runners.training.test_finetuning import network as small_network
from tests.runners.training.test_loop import tiny_space

MINE = """
from torch import nn

def make():
    first, second = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(48, 10))

def other_classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    network = load_network(f"{file}:make")
    with torch.no_grad():
        network[4].bias.fill_(3.0)  # type: ignore[index, union-attr]
    safetensors.torch.save_file(network.state_dict(), tmp_path / "mine.safetensors")
    return file


def test_a_teacher_has_the_weights_of_its_file(mine: Path) -> None:
    spec, weights = f"{mine}:make", str(mine.with_suffix(".safetensors"))
    named = (part(spec, weights=weights), part("network", make=spec, weights=weights), part(spec))
    teachers = Teachers(settings=Recovery(teachers=named), largest=None, device=torch.device("cpu"))
    biases = [one[4].bias for one in teachers.of(None).teachers]  # type: ignore[index, union-attr]
    assert torch.equal(biases[0], torch.full((10,), 3.0))
    assert torch.equal(biases[1], biases[0])
    assert not torch.equal(biases[2], biases[0])


def test_weights_of_another_network_are_told_by_name(mine: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(ValueError, match=r"another network: .*1.weight.*not in the network \(2.bias"):
        load_weights(network, mine.with_suffix(".safetensors"))
    with pytest.raises(FileNotFoundError, match="Did you mean 'mine.safetensors'"):
        load_weights(network, mine.with_name("mime.safetensors"))
    mine.with_suffix(".safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no safetensors file, or a damaged one"):
        load_weights(network, mine.with_suffix(".safetensors"))


def test_a_file_teaches_what_its_network_would(mine: Path, tmp_path: Path) -> None:
    network, file = load_network(f"{mine}:make").eval(), tmp_path / "teacher.onnx"
    export_onnx(network, (1, 8, 8), file)
    teacher, images = OnnxTeacher(file), torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(teacher(images), network(images), rtol=1e-4, atol=1e-5)
    student, larger = nn.Sequential(nn.AdaptiveAvgPool2d(8), network), images.repeat(1, 1, 2, 2)
    with pytest.raises(ValueError, match=r"teacher.onnx\) fails .* takes images of shape \(1, 8, 8\), got"):
        Teaching(student, [teacher], [KD], example=larger)


def test_what_a_recipe_names_and_is_not_there(mine: Path) -> None:
    wrong = [
        part("largst"),
        part("itself", weights="w"),
        part(f"{mine}:mke"),
        part(f"{mine}:make", weight="w"),
        part(str(mine.with_suffix(".onnx"))),
    ]
    found = teacher_problems(wrong, "teachers")
    said = ["Did you mean 'largest'", "no setting 'weights'", "Did you mean 'make'", "'weight'"]
    assert len(found) == 5
    for problem, words in zip(found, [*said, "there is no file"], strict=True):
        assert problem.startswith("teachers")
        assert words in problem
    with pytest.raises(ValueError, match="unknown method of distillation 'kdd'. Did you mean 'kd'"):
        load_recipe("digits", ['compress.recovery.methods=["kdd"]'])


def test_who_teaches(mine: Path) -> None:
    """Copies: a network that is trained goes on, and its teacher stays."""
    largest, begun = nn.Linear(2, 2), nn.Linear(3, 3)
    named = (part("largest"), part("itself"), part(f"{mine}:make"))
    teachers = Teachers(settings=Recovery(teachers=named), largest=largest, device=torch.device("cpu"))
    found = teachers.of(begun).teachers
    assert len(found) == 3
    for teacher, source in zip(found, (largest, begun), strict=False):
        assert teacher is not source
        assert torch.equal(teacher.weight, source.weight)  # type: ignore[union-attr]
    alone = Teachers(settings=Recovery(), largest=None, device=torch.device("cpu"))
    assert alone.of(begun).teachers == ()


def test_a_method_has_the_recipes_temperature_unless_it_gives_its_own() -> None:
    own, given, without = methods_of((part("kd"), part("dist", temperature=1.5), part("attention")), 5.0)
    assert own.keywords == {"temperature": 5.0}  # type: ignore[attr-defined]
    assert given.keywords == {"temperature": 1.5}  # type: ignore[attr-defined]
    assert "temperature" not in getattr(without, "keywords", {})


def test_a_run_is_taught_by_a_network_of_ones_own(mine: Path, tmp_path: Path) -> None:
    """By its outputs and its features; another teacher leaves other weights."""

    def tuned(folder: Path, *settings: str) -> dict[str, torch.Tensor]:
        recipe = load_recipe("digits", ["compress.recovery.epochs=1", *settings])
        network = Supernet(tiny_space(), seed=1).extract(tiny_space().smallest())
        work = replace(compressing(folder), recipe=recipe)
        return context_of(work, lambda *_: None).finetune(network, seed=4).state_dict()

    weights = mine.with_suffix(".safetensors")
    teachers = f'compress.recovery.teachers=[{{kind="{mine}:make",weights="{weights}"}}]'
    methods = 'compress.recovery.methods=["kd",{kind="features",projection="spatial"}]'
    given = ((), (teachers,), (teachers, methods), (teachers, "compress.recovery.views=3"))
    states = [tuned(tmp_path / str(at), *settings) for at, settings in enumerate(given)]
    assert states[0].keys() == states[2].keys()  # projections are gone
    assert [len(list((tmp_path / str(at) / "teachers").glob("*"))) for at in range(4)] == [0, 0, 0, 1]
    for one, other in ((0, 1), (0, 2), (1, 2), (0, 3)):
        assert any(not torch.equal(states[one][name], states[other][name]) for name in states[0])


def test_a_retraining_is_taught_where_it_is_asked_for(mine: Path, tmp_path: Path) -> None:
    """From the same first values; on labels alone it is what it was."""
    recipe = load_recipe("digits", ["train.epochs=1", f'compress.recovery.teachers=["{mine}:make"]'])
    work, arch = replace(compressing(tmp_path), recipe=recipe), tiny_space().smallest()
    entry = SimpleNamespace(name="small", arch=arch)
    begun = work.networks.network(arch)
    retrain = retraining(work, entry, lambda *_: None, begun)  # type: ignore[arg-type]
    plain, again, taught = (retrain(seed=0, taught=one).state_dict() for one in (False, False, True))
    assert plain.keys() == taught.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert any(not torch.equal(plain[name], taught[name]) for name in plain)
    assert not list((tmp_path / "checkpoints").glob("*.safetensors"))


def test_a_teacher_that_does_not_fit_is_told_before_anything_takes_long(mine: Path, tmp_path: Path) -> None:
    teachers = f'compress.recovery.teachers=["{mine}:other_classes"]'
    recipe = load_recipe("digits", [teachers])
    begun = compressing(tmp_path)
    look = FirstLook(
        space=tiny_space(),
        data=begun.data,
        target=begun.target,
        forms=("fp32",),
        recipe=recipe,
        shared=True,
        device=begun.device,
        console=begun.console,
    )
    with pytest.raises(ValueError, match=r"compress.recovery: the teacher .* outputs of \(2, 7\)"):
        look_first(look)


def test_other_views_are_asked_for_beside_those_that_were_kept(tmp_path: Path) -> None:
    known = replace(training_data(32), prepare=replace(training_data(1).prepare, crop_padding=2))  # type: ignore[type-var]
    data = SimpleNamespace(
        splits=SimpleNamespace(train=SimpleNamespace(images=known.images)),
        prepare=known.prepare,
        task=known.task,
    )
    taught = Taught(teachers=(small_network(1).eval(),))
    for views in (1, 3, 1):
        asked = Teachers(settings=Recovery(views=views), largest=None, device=torch.device("cpu"))
        found = asked.kept(taught, data, tmp_path, lambda done, total: None)  # type: ignore[arg-type]
        assert found.teachers[0].logits.shape[2:4] == (views, views)  # type: ignore[union-attr]
