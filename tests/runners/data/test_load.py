"""Folders of images and digits: read with their splits, split fairly where they have none, or refused."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data.load import load_data
from runners.data.splits import Splits
from runners.recipe.schema import Data

CLASSES = ("ant", "bee", "cat")


def recipe(source: object, **changes: object) -> Data:
    return Data.model_validate({"source": str(source), "height": 8, "width": 8, **changes})


def picture(value: int, size: tuple[int, int] = (10, 12)) -> Image.Image:
    return Image.new("RGB", size, (value, 0, 0))


def folder(root: Path, **counts: int) -> Path:
    """``SPLIT/CLASS/N.png``; the red of each image is 80 times its class plus its number."""
    for split, count in counts.items():
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                picture(80 * label + index).save(root / split / name / f"{index:03}.png")
    return root


def reds(splits: Splits, split: str) -> list[int]:
    return getattr(splits, split).images[:, 0, 0, 0].tolist()


def refused(source: object, **changes: object) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        load_data(recipe(source, **changes), seed=0)
    return str(caught.value)


def test_digits() -> None:
    splits = load_data(recipe("digits", channels=1, val_fraction=0.2), seed=0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (1151, 287, 359)
    assert splits.input_shape == (1, 8, 8)
    assert splits.classes == tuple("0123456789")
    assert splits.train.images.dtype == torch.uint8
    assert splits.train.labels.dtype == torch.int64
    shares = torch.bincount(splits.test.labels) / len(splits.test)
    assert (shares - 0.1).abs().max() < 0.01


def test_a_folder_with_all_its_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    splits = load_data(recipe(folder(tmp_path, train=3, valid=2, test=1)), seed=0)
    assert splits.classes == CLASSES
    assert reds(splits, "train") == [0, 1, 2, 80, 81, 82, 160, 161, 162]
    assert reds(splits, "val") == [0, 1, 80, 81, 160, 161]
    assert reds(splits, "test") == [0, 80, 160]
    assert splits.test.labels.tolist() == [0, 1, 2]


def test_splits_that_are_missing_are_made_without_overlap_and_repeat_from_the_seed(tmp_path: Path) -> None:
    source = folder(tmp_path, train=20)
    splits = load_data(recipe(source), seed=1)
    parts = [reds(splits, name) for name in ("train", "val", "test")]
    assert sorted(parts[0] + parts[1] + parts[2]) == [
        80 * label + index for label in range(3) for index in range(20)
    ]
    assert [len(part) for part in parts] == [42, 6, 12]
    for name in ("train", "val", "test"):
        split = getattr(splits, name)
        assert split.labels.tolist() == [red // 80 for red in reds(splits, name)]
        assert len(set(torch.bincount(split.labels).tolist())) == 1
    again, other = load_data(recipe(source), seed=1), load_data(recipe(source), seed=2)
    assert torch.equal(splits.val.images, again.val.images)
    assert not torch.equal(splits.val.images, other.val.images)


def test_three_images_of_a_class_are_enough_for_three_splits(tmp_path: Path) -> None:
    splits = load_data(recipe(folder(tmp_path, train=3)), seed=0)
    for name in ("train", "val", "test"):
        assert torch.bincount(getattr(splits, name).labels).tolist() == [1, 1, 1]


def test_mean_and_deviation_are_those_of_the_training_images() -> None:
    splits = load_data(recipe("digits", channels=3), seed=0)
    pixels = splits.train.images.double() / 255
    wanted = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3), correction=0)
    assert splits.preprocessing.mean == pytest.approx(wanted[0].tolist(), abs=1e-6)
    assert splits.preprocessing.std == pytest.approx(wanted[1].tolist(), abs=1e-6)


def test_a_channel_without_contrast_is_not_divided_by_zero(tmp_path: Path) -> None:
    splits = load_data(recipe(folder(tmp_path, train=4)), seed=0)
    assert splits.preprocessing.std[1:] == (1.0, 1.0)  # green and blue are black throughout


def test_hidden_files_and_folders_are_no_images(tmp_path: Path) -> None:
    source = folder(tmp_path, train=3)
    (source / "train" / ".ipynb_checkpoints").mkdir()
    (source / "train" / "ant" / "._000.png").write_bytes(b"what a Mac leaves")
    (source / "train" / "ant" / "notes.txt").write_text("not an image")
    assert len(load_data(recipe(source), seed=0).classes) == 3


def test_images_may_lie_deeper_and_end_in_capitals(tmp_path: Path) -> None:
    source = folder(tmp_path, train=3)
    (source / "train" / "ant" / "more").mkdir()
    picture(9).save(source / "train" / "ant" / "more" / "X.JPG", "JPEG")
    splits = load_data(recipe(source), seed=0)
    assert len(splits.train) + len(splits.val) + len(splits.test) == 10


# -- what bad input gets ------------------------------------------------------------------------------


def test_a_missing_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    assert f"data.source {tmp_path}/absent does not exist" in refused(tmp_path / "absent")
    assert "data.source ./absent does not exist" in refused("./absent")
    (tmp_path / "empty").mkdir()
    said = refused(tmp_path / "empty")
    assert f"{tmp_path}/empty is an empty folder; put images in {tmp_path}/empty/train/CLASS/" in said


def test_a_folder_without_train_or_classes_is_named(tmp_path: Path) -> None:
    (tmp_path / "one" / "pictures").mkdir(parents=True)
    assert f"{tmp_path}/one has no folder train/" in refused(tmp_path / "one")
    (tmp_path / "two" / "train").mkdir(parents=True)
    assert f"{tmp_path}/two/train holds 0 class folder(s); at least two are needed" in refused(
        tmp_path / "two"
    )
    (tmp_path / "two" / "train" / "ant").mkdir()
    assert "holds 1 class folder(s)" in refused(tmp_path / "two")


def test_a_class_without_an_image_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path, train=3)
    (source / "train" / "dog").mkdir()
    (source / "train" / "dog" / "photo.heic").touch()
    said = refused(source)
    assert f"class 'dog' has no image in {source}/train/dog" in said
    assert ".jpg" in said


def test_a_class_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path, train=3, val=1, test=1)
    (source / "val" / "dog").mkdir()
    assert f"{source}/val has classes that train/ has not: dog" in refused(source)


def test_a_split_without_images_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path, train=3)
    (source / "test" / "ant").mkdir(parents=True)
    assert f"{source}/test holds no image" in refused(source)


def test_an_unreadable_image_is_named_by_its_path(tmp_path: Path) -> None:
    source = folder(tmp_path, train=5)
    broken = source / "train" / "bee" / "002.png"
    broken.write_bytes(broken.read_bytes()[:40])
    empty = source / "train" / "cat" / "001.png"
    empty.write_bytes(b"")
    said = refused(source)
    assert said.startswith("2 images cannot be read; repair or remove:")
    assert f"{broken}: " in said
    assert f"{empty}: not an image of a known kind, or damaged" in said


def test_nan_in_an_image_is_named_by_its_path(tmp_path: Path) -> None:
    source = folder(tmp_path, train=5)
    values = np.full((8, 8), 0.5, dtype=np.float32)
    values[2, 2] = np.nan
    Image.fromarray(values).save(source / "train" / "ant" / "nan.tif")
    assert f"{source}/train/ant/nan.tif: NaN or infinity among the pixels" in refused(source)


def test_deep_images_are_read_with_the_range_that_the_recipe_states(tmp_path: Path) -> None:
    source, kept = folder(tmp_path / "data", train=3), tmp_path / "decoded.safetensors"
    for file in source.rglob("*.png"):
        Image.fromarray(np.full((8, 8), 2048, dtype=np.uint16)).save(file)
    assert "set data.white to the value of full intensity" in refused(source)
    for white, wanted in ((4095, 128), (65535, 8), (2048, 255)):  # what is kept is of another range
        splits = load_data(recipe(source, white=white), 0, kept)
        assert set(reds(splits, "train")) == {wanted}
        assert splits.preprocessing.white == white


def test_fewer_images_than_the_splits_need_are_named(tmp_path: Path) -> None:
    source = folder(tmp_path, train=5)
    for index in range(2, 5):
        (source / "train" / "bee" / f"{index:03}.png").unlink()
    said = refused(source)
    assert (
        f"too few training images in {source}: every class needs 3 or more to take a test and a val" in said
    )
    assert "fewer are of 'bee' (2)" in said


def test_the_hub_out_of_reach_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # what HF_HUB_OFFLINE=1 sets at import
    began = time.monotonic()
    said = refused("nobody/no-such-data-set")
    assert time.monotonic() - began < 15  # importing the library takes most of it
    assert "'nobody/no-such-data-set' is neither 'digits', nor a folder or parquet file that exists" in said
    assert "hub cannot be reached" in said


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    began = time.monotonic()
    assert "hub cannot be reached" in refused("nobody/no-such-data-set")
    assert time.monotonic() - began < 10
    assert constants.HF_HUB_OFFLINE is False


def contents(splits: Splits) -> list[bytes]:
    parts = (splits.train, splits.val, splits.test)
    return [tensor.numpy().tobytes() for part in parts for tensor in (part.images, part.labels)]


def test_decoded_images_are_kept_and_the_same_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, kept = folder(tmp_path / "data", train=4, test=2), tmp_path / "decoded.safetensors"
    first = load_data(recipe(source), 0, kept)
    monkeypatch.setattr("runners.data.folder.decode_files", None)  # nothing is decoded any more
    again = load_data(recipe(source), 0, kept)
    assert contents(again) == contents(first)
    assert (again.classes, again.preprocessing) == (first.classes, first.preprocessing)
    assert contents(load_data(recipe(source, val_fraction=0.5), 1, kept)) != contents(first)


def test_what_is_kept_of_other_data_or_damaged_is_made_again(tmp_path: Path) -> None:
    source, kept = folder(tmp_path / "data", train=4, test=2), tmp_path / "decoded.safetensors"
    load_data(recipe(source), 0, kept)
    picture(7).save(source / "test" / "ant" / "000.png")
    assert 7 in reds(load_data(recipe(source), 0, kept), "test")
    wider = load_data(recipe(source, width=16), 0, kept)
    assert wider.input_shape == (3, 8, 16)

    whole = kept.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for damaged in (flipped, whole[:-100], whole[:20], b"", b"not one of ours"):
        kept.write_bytes(damaged)
        assert contents(load_data(recipe(source, width=16), 0, kept)) == contents(wider)
        assert kept.read_bytes()[-100:] == whole[-100:]


def test_a_disk_without_room_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runners.data.decoded.save_file", full)
    source = folder(tmp_path / "data", train=4)
    assert len(load_data(recipe(source), 0, tmp_path / "decoded.safetensors").classes) == 3
    assert list(tmp_path.iterdir()) == [source]
