"""What teachers say, kept: it is what they would say, it goes on, and others' is noticed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from nas.distillation import Features
from runners.data.splits import Prepare
from runners.training import relabelling
from runners.training.batches import batches, kept_of
from runners.training.finetuning import Taught, finetune
from runners.training.mixing import Mix
from runners.training.relabelling import Relabelled, relabelled
from tests.runners.training.test_finetuning import SETTINGS, KilledError, data, network

PREPARE = Prepare(preprocessing=data(1).prepare.preprocessing, crop_padding=2, flip=True)  # type: ignore[attr-defined]
KNOWN = replace(data(96), prepare=PREPARE)


def teacher(seed: int = 1) -> nn.Module:
    return network(seed).eval()


def keep(path: Path, views: int = 5, **changed: object) -> Relabelled:
    given = {"teachers": [teacher()], "images": KNOWN.images, "prepare": PREPARE, "path": path, **changed}
    return relabelled(**given, views=views)  # type: ignore[arg-type]


def test_at_every_place_it_is_what_the_teacher_says_of_the_batch(tmp_path: Path) -> None:
    known = replace(KNOWN, kept=keep(tmp_path / "kept"))
    for index, (images, _) in enumerate(batches(known, batch_size=32, seed=3, epoch=1)):
        found = kept_of(known, batch_size=32, seed=3, epoch=1, index=index)
        with torch.no_grad():
            wanted = teacher()(images).log_softmax(1)
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)  # float16


def test_between_places_it_is_interpolated(tmp_path: Path) -> None:
    """Bilinear between the four places around, in float64 by hand."""
    kept = keep(tmp_path / "kept", views=2)
    table = kept.logits.double().numpy()
    chosen, generator = torch.arange(96), torch.Generator().manual_seed(0)
    shift, mirrored = PREPARE.moves(96, 8, torch.Generator().manual_seed(0))
    found = kept.of(chosen, generator)
    for image in (0, 7, 50):
        row, column = (float(shift[axis, image]) / 4 for axis in (0, 1))
        own = table[image, int(mirrored[image])]
        wanted = (1 - row) * ((1 - column) * own[0, 0] + column * own[0, 1])
        wanted = wanted + row * ((1 - column) * own[1, 0] + column * own[1, 1])
        np.testing.assert_allclose(found[image].numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_mixed_images_have_mixed_predictions(tmp_path: Path) -> None:
    mix = Mix(classes=10, mixup=0.4, cutmix=1.0)
    known = replace(KNOWN, kept=keep(tmp_path / "kept"), labels=torch.arange(96) % 10)
    mixed = replace(known, mix=mix)
    for index in range(3):
        labels, plain = (
            list(batches(one, batch_size=32, seed=0, epoch=0))[index][1] for one in (mixed, known)
        )
        alone = kept_of(known, batch_size=32, seed=0, epoch=0, index=index)
        both = kept_of(mixed, batch_size=32, seed=0, epoch=0, index=index)
        assert alone is not None
        assert both is not None
        share = labels[torch.arange(32), plain]  # of its own label, where the partner has another
        for image in range(32):
            if plain[image] == plain[31 - image]:
                continue
            wanted = share[image] * alone[image].softmax(0) + (1 - share[image]) * alone[31 - image].softmax(
                0
            )
            torch.testing.assert_close(both[image].exp(), wanted, rtol=1e-4, atol=1e-5)


def test_it_is_asked_once_and_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabelling, "_IMAGES", 16)
    monkeypatch.setattr(relabelling, "_SAVED_EVERY", 2)
    whole = keep(tmp_path / "whole")
    asked: list[int] = []

    def watch(done: int, total: int) -> None:
        asked.append(done)
        assert total == 12
        if done == 7 and len(asked) == 7:
            raise KilledError

    with pytest.raises(KilledError):
        keep(tmp_path / "killed", watch=watch)
    continued = keep(tmp_path / "killed", watch=watch)
    assert asked == [*range(1, 8), *range(7, 13)]
    assert torch.equal(whole.logits, continued.logits)
    keep(tmp_path / "killed", watch=watch)
    assert len(asked) == 13  # nobody is asked again
    with safe_open(tmp_path / "killed", "pt") as file:
        assert file.get_tensor("logits").dtype == torch.float16


def test_other_data_another_teacher_and_other_views_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    keep(path)
    changed: dict[str, dict[str, object]] = {
        "images": {"images": KNOWN.images.flip(0)},
        "teachers": {"teachers": [teacher(2)]},
        "views": {"views": 3},
    }
    for what, other in changed.items():
        with pytest.raises(ValueError, match=f"what teachers said with other {what}; use another path"):
            keep(path, **other)  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        keep(path)
    with pytest.raises(ValueError, match="right are 1, 2, 3, 5"):
        keep(tmp_path / "other", views=4)


def test_what_was_kept_teaches_as_its_teacher_does(tmp_path: Path) -> None:
    """To float16; the same bits each time, and refused for other images."""
    settings, kept = replace(SETTINGS, epochs=1, learning_rate=1e-3), keep(tmp_path / "kept")

    def tuned(one: Relabelled | nn.Module) -> dict[str, Tensor]:
        taught = Taught(teachers=(one,), teacher_weight=1.0)
        student = network()
        student[6].p = 0.0  # type: ignore[index, union-attr]
        return finetune(student, KNOWN, settings, taught=taught, seed=0).state_dict()

    stored, again, asked = tuned(kept), tuned(kept), tuned(teacher())
    for name, value in stored.items():
        assert torch.equal(value, again[name])
        torch.testing.assert_close(value, asked[name], rtol=0.1, atol=2e-3)
    with pytest.raises(ValueError, match="kept of the teachers is of 96 images"):
        finetune(
            network(), replace(data(64), prepare=PREPARE), settings, taught=Taught(teachers=(kept,)), seed=0
        )
    with pytest.raises(ValueError, match="or what was kept of one, has outputs and no features"):
        finetune(network(), KNOWN, settings, taught=Taught(teachers=(kept,), methods=(Features,)), seed=0)
    with pytest.raises(ValueError, match="stands beside another teacher"):
        finetune(network(), KNOWN, settings, taught=Taught(teachers=(kept, teacher())), seed=0)


def test_the_mean_over_teachers_is_that_of_their_predictions(tmp_path: Path) -> None:
    both = keep(tmp_path / "both", teachers=[teacher(1), teacher(2)], views=1)
    with torch.no_grad():
        images = PREPARE(KNOWN.images, None)
        wanted = torch.stack([teacher(seed)(images).softmax(1) for seed in (1, 2)]).mean(0)
    torch.testing.assert_close(both.logits[:, 0, 0, 0].float().exp(), wanted, rtol=5e-3, atol=1e-3)


class _Scaled(nn.Module):
    """A network whose code, and no weight, says how large its outputs are."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.network, self.factor = teacher(), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.network(x)


def test_a_teacher_whose_code_has_changed_is_noticed(tmp_path: Path) -> None:
    first = keep(tmp_path / "kept", teachers=[_Scaled(1.0).eval()])
    again = keep(tmp_path / "kept", teachers=[_Scaled(1.0).eval()])
    assert torch.equal(first.logits, again.logits)
    with pytest.raises(ValueError, match="now they say something else, so their code has changed"):
        keep(tmp_path / "kept", teachers=[_Scaled(5.0).eval()])
    one, other = (partial(nn.Module.__call__, teacher(seed)) for seed in (1, 2))
    keep(tmp_path / "of a function", teachers=[one])
    with pytest.raises(ValueError, match="now they say something else"):
        keep(tmp_path / "of a function", teachers=[other])


def test_a_teacher_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the teacher \(Sequential\) is in training mode"):
        keep(tmp_path / "kept", teachers=[network(1).train()])


def test_a_teacher_that_is_very_sure_can_be_learned_from(tmp_path: Path) -> None:
    """Predictions that float32 has no number for are no infinities when images are mixed."""
    kept = keep(tmp_path / "kept", views=1, teachers=[_Scaled(1e4).eval(), _Scaled(2e4).eval()])
    assert kept.logits.isfinite().all()
    known = replace(KNOWN, mix=Mix(classes=10, mixup=0.4), kept=kept)
    found = kept_of(known, batch_size=32, seed=0, epoch=0, index=0)
    assert found is not None
    assert found.isfinite().all()
