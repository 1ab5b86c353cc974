"""Images in class folders, and arrays in .npz and .npy files: splits, formats and errors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from default_augmentation import sample_loader
from load_errors import load_error
from PIL import Image

from darts.data import MemoryImages, load
from darts.data.arrays import write_arrays
from darts.data.images import DiskImages
from darts.reading import FileError

MakeFolder = Callable[..., Path]


@pytest.mark.parametrize("valid", ["val", "valid", "validation"])
def test_train_valid_and_test_folders_are_the_splits(make_folder: MakeFolder, valid: str) -> None:
    make_folder("train", {"bee": 4, "ant": 3})
    make_folder(valid, {"ant": 2, "bee": 1})
    root = make_folder("test", {"ant": 1, "bee": 2})
    source = load("imagefolder", root=root)
    assert source.classes == ("ant", "bee")
    assert source.train.shape[1:] == (32, 32)
    assert source.train.shape[0] == 3
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert source.valid.labels.tolist() == [0, 0, 1]
    assert source.test.labels.tolist() == [0, 1, 1]
    assert isinstance(source.train, MemoryImages)


def test_a_validation_folder_alone_is_the_test_split(make_folder: MakeFolder) -> None:
    make_folder("train", {"ant": 3, "bee": 3})
    root = make_folder("val", {"ant": 2})
    source = load("imagefolder", root=root)
    assert source.valid is None
    assert source.test.labels.tolist() == [0, 0]


def test_a_fifth_of_class_folders_alone_is_the_test_split(make_folder: MakeFolder) -> None:
    root = make_folder("", {"ant": 10, "bee": 15})
    first, second = (load("imagefolder", root=root, size=10, seed=s) for s in (0, 1))
    assert torch.bincount(first.train.labels).tolist() == [8, 12]
    assert torch.bincount(first.test.labels).tolist() == [2, 3]
    assert torch.equal(first.test.pixels, second.test.pixels)
    everything = torch.cat([first.train.pixels, first.test.pixels]).flatten(1)
    assert len(everything.unique(dim=0)) == 25
    disk = load("imagefolder", root=root, size=10, storage="disk").test
    assert torch.equal(disk.read(range(5)), first.test.pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "ppm", "gif", "PNG"])
def test_each_image_format_is_read(make_folder: MakeFolder, suffix: str) -> None:
    root = make_folder("train", {"ant": 1, "bee": 1}, suffix=suffix)
    assert len(load("imagefolder", root=root, size=8).train) == 2


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_each_mode_become_rgb(make_folder: MakeFolder, mode: str, tmp_path: Path) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    root = make_folder("train", {"ant": 1, "bee": 1}, mode=mode, suffix=suffix, size=(12, 12))
    train = load("imagefolder", root=root, size=12).train
    with Image.open(tmp_path / "train" / "ant" / f"0000.{suffix}") as file:
        assert (train.pixels[0].permute(1, 2, 0).numpy() == np.asarray(file.convert("RGB"))).all()


def test_a_transparent_palette_causes_no_warning(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder("train", {"ant": 1, "bee": 1})
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save(tmp_path / "train" / "ant" / "p.png", transparency=bytes([0, 128]))
    train = load("imagefolder", root=root, size=8, storage="disk").train
    assert train.read([1])[0, :, 0, 0].tolist() == [10, 20, 30]


def test_storage_auto_depends_on_the_size_of_the_data_set(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder("train", {"ant": 2, "bee": 2})
    memory = load("imagefolder", root=root, size=8)
    assert isinstance(memory.train, MemoryImages)
    assert (memory.mean, memory.std) == memory.train.statistics()
    monkeypatch.setattr("darts.data.folders._MEMORY_LIMIT", 4 * 3 * 64 - 1)
    assert isinstance(load("imagefolder", root=root, size=8).train, DiskImages)
    monkeypatch.setattr("darts.data.folders._MEMORY_LIMIT", 4 * 3 * 64)
    assert isinstance(load("imagefolder", root=root, size=8).train, MemoryImages)
    disk = load("imagefolder", root=root, size=8, storage="disk")
    assert isinstance(disk.train, DiskImages)
    assert disk.mean == (0.485, 0.456, 0.406)


def test_imagenet_uses_its_validation_folder_as_test(make_folder: MakeFolder) -> None:
    make_folder("train", {"n01440764": 2, "n01443537": 2}, size=(50, 40))
    root = make_folder("val", {"n01440764": 1, "n01443537": 1})
    source = load("imagenet", root=root)
    assert source.train.shape[1:] == (224, 224)
    assert isinstance(source.train, DiskImages)
    assert source.valid is None
    assert source.test.read([0]).shape == (1, 3, 224, 224)
    assert source.train.margin == pytest.approx(256 / 224)
    small = load("imagenet", root=root, size=16, storage="memory")
    assert isinstance(small.train, MemoryImages)
    assert small.mean == source.mean


def test_nested_images_are_read_others_ignored(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder("train", {"ant": 1, "bee": 1, "bee/winter": 2, ".cache": 1})
    (tmp_path / "train" / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / "ant" / "._0000.png").write_text("metadata of a file manager")
    source = load("imagefolder", root=root, size=8)
    assert source.classes == ("ant", "bee")
    assert torch.bincount(source.train.labels).tolist() == [1, 3]


def test_invalid_folders_are_refused_in_one_line(make_folder: MakeFolder, tmp_path: Path) -> None:
    def refused(name: str, root: Path, message: str) -> None:
        assert str(root) in load_error(message, name, root=root, size=8)

    refused("imagefolder", tmp_path / "none", "has nothing, as it does not exist; .*dataset.root")
    refused("imagefolder", Path(__file__), "has nothing, as it is a file; .*dataset.root")
    refused("imagenet", tmp_path / "none", "no folder train and no folder val.*dataset.root")
    root = make_folder("one/train", {"ant": 2}) / "one"
    refused("imagefolder", root, "two or more classes, but has only the folder ant")
    (tmp_path / "bare").mkdir()
    refused("imagefolder", tmp_path / "bare", "two or more classes, but has no folders")
    root = make_folder("empty/train", {"ant": 2, "bee": 0}) / "empty"
    refused("imagefolder", root, "bee contains no image")
    make_folder("more/train", {"ant": 2, "bee": 2})
    root = make_folder("more/test", {"ant": 2, "cat": 1}) / "more"
    refused("imagefolder", root, "cat is not a class")
    make_folder("lost/val", {"ant": 2, "bee": 2})
    root = make_folder("lost/test", {"ant": 2, "bee": 2}) / "lost"
    refused("imagefolder", root, "two or more classes")  # train is missing
    root = make_folder("bad/train", {"ant": 2, "bee": 2}) / "bad"
    (root / "train" / "bee" / "0001.png").write_bytes(b"not an image")
    refused("imagefolder", root, "cannot read the image .*0001.png: it is none of [A-Z, ]*$")
    (root / "train" / "ant" / "0000.png").write_bytes(b"nor this")
    refused("imagefolder", root, "ant/0000.png: .*; cannot read .*bee/0001.png either$")


def make_arrays(count: int, *, shape: tuple[int, ...] = (3, 6, 5), classes: int = 3) -> Any:
    """Return random images and labels that contain each class."""
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count) % classes


def write(folder: Path, **splits: dict[str, Any]) -> Path:
    for split, arrays in splits.items():
        np.savez(folder / f"{split}.npz", **arrays)
    return folder


def write_single(folder: Path, **arrays: Any) -> Path:
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(values))
    return folder


def test_written_splits_are_read(tmp_path: Path) -> None:
    splits = {}
    for split, count in (("train", 9), ("valid", 4), ("test", 5)):
        images, labels = make_arrays(count)
        splits[split] = torch.from_numpy(images), torch.from_numpy(labels)
    write_arrays(tmp_path / "new", splits, ("bee", "ant", "cat"))
    source = load("npz", root=tmp_path / "new")
    assert source.classes == ("bee", "ant", "cat")
    for split, (images, labels) in splits.items():
        loaded = getattr(source, split)
        assert loaded.pixels.equal(images)
        assert loaded.labels.equal(labels)


def test_gray_images_and_class_names_as_labels(tmp_path: Path) -> None:
    images, labels = make_arrays(10, shape=(6, 5), classes=2)
    names = np.array(["dog", "cat"])[labels]
    arrays = {"images": images, "labels": names}
    write(tmp_path, train=arrays, test=arrays)
    source = load("npz", root=tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.train.shape == (1, 6, 5)
    assert source.train.labels.tolist() == [1, 0] * 5


def test_validation_images_alone_are_the_test_split(tmp_path: Path) -> None:
    images, labels = make_arrays(6)
    arrays = {"images": images, "labels": labels}
    source = load("npz", root=write(tmp_path, train=arrays, valid=arrays))
    assert source.valid is None
    assert len(source.test) == 6


IMAGES, LABELS = make_arrays(6)
FLOATS = IMAGES.astype(np.float32)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"labels": LABELS}, "has no array named images"),
        ({"images": IMAGES}, "has no array named labels"),
        ({"images": IMAGES, "labels": LABELS, "classes": [["a"]]}, "must be a list of names"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a", "a"]}, "has a name twice"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, train: dict[str, Any], message: str) -> None:
    write(tmp_path, train=train)
    with pytest.raises(FileError, match=message):
        load("npz", root=tmp_path)


def test_splits_must_fit_each_other(tmp_path: Path) -> None:
    arrays = {"images": IMAGES, "labels": np.array(["a", "b"])[LABELS % 2]}
    write(tmp_path, train=arrays, test={"images": IMAGES[:, :1], "labels": arrays["labels"]})
    with pytest.raises(FileError, match=r"uint8 and shape \(1, 6, 5\), but in the train"):
        load("npz", root=tmp_path)
    write(tmp_path, test={"images": IMAGES, "labels": np.array(["a", "c"])[LABELS % 2]})
    with pytest.raises(FileError, match=r"'c' is not a class of train\.npz"):
        load("npz", root=tmp_path)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64", "bool", ">f4"])
def test_numbers_are_standardized_by_channel(tmp_path: Path, kind: str) -> None:
    """A channel that is constant stays finite."""
    numbers = np.random.default_rng(0).normal(7, 3, (40, 3, 6, 5)).astype(kind)
    numbers[:, 1] = 1
    root = write_single(tmp_path, train_x=numbers, train_y=np.arange(40) % 2)
    write_single(root, test_x=numbers[:4], test_y=np.arange(4) % 2)
    source = load("challenge", root=root)
    assert source.train.pixels.equal(torch.from_numpy(numbers.astype(np.float32)))
    whole = sample_loader(source, 40, batch_size=40, augmentation=None).batch(0, 0)[0]
    for channel, deviation in ((0, float(kind != "bool")), (1, 0.0)):
        assert whole[:, channel].mean().abs() < 1e-5
        assert whole[:, channel].std(correction=0) == pytest.approx(deviation, abs=1e-5)


def test_a_channel_that_varies_around_a_large_number_keeps_its_deviation(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(1000, 0.1, (40, 1, 6, 5)).astype(np.float32)
    numbers = np.concatenate([numbers, np.full_like(numbers, 1234.567)], axis=1)
    source = load("challenge", root=write_single(tmp_path, train_x=numbers, train_y=[0, 1] * 20))
    deviation = source.train.pixels[:, 0].double().std(correction=0).item()
    assert source.std == (pytest.approx(deviation, rel=1e-9), 1.0)


def test_both_layouts_hold_the_same_data(tmp_path: Path) -> None:
    """Other files in the folder are not read."""
    images, labels = make_arrays(20)
    splits = {"train": slice(12), "valid": slice(12, 16), "test": slice(16, 20)}
    single = tmp_path / "single"
    single.mkdir()
    (single / "metadata").write_text("no JSON")
    for split, chosen in splits.items():
        write(tmp_path, **{split: {"images": images[chosen], "labels": labels[chosen]}})
        write_single(single, **{f"{split}_x": images[chosen], f"{split}_y": labels[chosen] * 1.0})
    one, other = load("npz", root=tmp_path), load("challenge", root=single)
    assert (one.classes, one.mean, one.std) == (other.classes, other.mean, other.std)
    for split in splits:
        assert getattr(one, split).pixels.equal(getattr(other, split).pixels)
        assert getattr(one, split).labels.equal(getattr(other, split).labels)


def test_three_dimensions_are_gray_images_or_sequences(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(8, 12, 30))
    root = write_single(tmp_path, train_x=numbers, train_y=[0, 1] * 4)
    assert load("challenge", root=root, test_share=0.5).train.shape == (1, 12, 30)
    assert load("challenge", root=root, test_share=0.5, axes="NCL").train.shape == (12, 1, 30)


def test_without_test_labels_all_splits_stay_as_they_are(tmp_path: Path) -> None:
    images, labels = make_arrays(20)
    write_single(tmp_path, train_x=images[:12], train_y=labels[:12])
    write_single(tmp_path, valid_x=images[12:16], valid_y=labels[12:16], test_x=images[16:])
    source = load("challenge", root=tmp_path)
    assert (len(source.train), len(source.valid), source.test) == (12, 4, None)
    assert source.unlabeled.numpy().tolist() == images[16:].tolist()


def test_resized_numbers_are_neither_rounded_nor_cut_off(tmp_path: Path) -> None:
    rows = np.linspace(-300, 900, 8)[:, None] * np.ones((20, 1, 8, 8))
    root = write_single(tmp_path, train_x=rows, train_y=[0, 1] * 10)
    pixels = load("challenge", root=root, size=16).train.pixels
    assert (pixels.min(), pixels.max()) == (-300, 900)
    assert not pixels.frac().eq(0).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_x": None}, r"train_x\.npy is missing"),
        ({"train_y": None}, r"train_y\.npy is missing"),
        ({"valid_x": IMAGES}, r"valid_y\.npy is missing"),
        ({"test_y": LABELS}, r"test_x\.npy is missing"),
        ({"train_x": np.array([{}] * 6)}, r"train_x\.npy is damaged .*objects"),
        ({"train_x": IMAGES.astype(str)}, r"must be numbers of shape .*, not <U3 of shape"),
        ({"train_x": IMAGES[:, 0, 0]}, r"not uint8 of shape \(6, 5\)"),
        ({"train_x": IMAGES[:0]}, r"not uint8 of shape \(0, 3, 6, 5\)"),
        ({"train_x": IMAGES[:5]}, r"train_y\.npy: there are 6 labels for 5 images"),
        ({"train_x": np.zeros((6, 65, 8, 8))}, r"images have 65 channels, more than 64"),
        ({"train_x": IMAGES[:, :, :4]}, r"images of 4x5 are too small: .* at least 5, or one of"),
        ({"train_x": FLOATS * [[np.nan], *[[1]] * 5]}, r"train_x\.npy: images has 90 numbers that"),
        ({"train_x": IMAGES + 1e39}, r"images has 540 numbers that .* too large"),
        ({"test_x": FLOATS}, r"test_x\.npy: images have type torch.float32 .* training split"),
        ({"test_x": IMAGES[:, :, :5]}, r"shape \(3, 5, 5\), but in .* \(3, 6, 5\)"),
        ({"train_y": LABELS + 0.5}, "labels must be integers or names"),
        ({"train_y": np.eye(6, dtype=int)}, r"one per image, not int64 of shape \(6, 6\)"),
        ({"train_y": LABELS - 1}, "labels are -1 to 1; must be 0 to 1"),
        ({"train_y": LABELS + 90}, "labels go up to 92, but there are 6 images"),
        ({"valid_x": IMAGES, "valid_y": LABELS + 1}, r"valid_y\.npy: labels are 1 to 3; must be"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    given = {"train_x": IMAGES, "train_y": LABELS, **arrays}
    write_single(tmp_path, **{name: own for name, own in given.items() if own is not None})
    with pytest.raises(FileError, match=message) as caught:
        load("challenge", root=tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_files_and_two_layouts_are_refused(tmp_path: Path) -> None:
    load_error(r"challenge: neither train\.npz nor train_x\.npy in", "challenge", root=tmp_path)
    write_single(tmp_path, train_x=IMAGES, train_y=LABELS)
    file = tmp_path / "train_x.npy"
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:50], b"", pickle.dumps(IMAGES)):
        file.write_bytes(damaged)
        with pytest.raises(FileError, match=r"train_x\.npy is damaged or not an \.npy file"):
            load("challenge", root=tmp_path)
    write(tmp_path, train={"images": IMAGES, "labels": LABELS})
    with pytest.raises(FileError, match=r"has train\.npz and train_x\.npy; remove the files of"):
        load("npz", root=tmp_path)
