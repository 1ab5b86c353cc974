"""Images and numbers in .npz and .npy files: splits, class names, values and errors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from default_augmentation import sample_loader

from darts.data import load
from darts.data.arrays import write_arrays
from darts.reading import FileError


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
    """Write each array to a file, whose name without a suffix is the keyword."""
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
    write(
        tmp_path,
        train={"images": images, "labels": names},
        test={"images": images, "labels": names},
    )
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


def test_a_fifth_of_the_training_images_is_the_test_split(tmp_path: Path) -> None:
    images, labels = make_arrays(30)
    root = write(tmp_path, train={"images": images, "labels": labels})
    source = load("npz", root=root, size=8)
    assert (len(source.train), len(source.test)) == (24, 6)
    assert torch.bincount(source.train.labels).tolist() == [8, 8, 8]
    assert source.train.shape == (3, 8, 8)


IMAGES, LABELS = make_arrays(6)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"labels": LABELS}, "has no array named images"),
        ({"images": IMAGES}, "has no array named labels"),
        ({"images": IMAGES, "labels": LABELS[:5]}, "there are 5 labels for 6 images"),
        ({"images": IMAGES, "labels": LABELS / 2}, "labels must be integers or names"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels are -1 to 1; must be 0 to 1"),
        ({"images": IMAGES, "labels": LABELS + 90}, "labels go up to 92, but there are 6 images"),
        ({"images": IMAGES, "labels": LABELS, "classes": [["a"]]}, "must be a list of names"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a", "a"]}, "has a name twice"),
        ({"images": IMAGES, "labels": np.array([{}] * 6)}, "Object arrays cannot be loaded"),
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


FLOATS = IMAGES.astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_x": None}, r"train_x\.npy is missing"),
        ({"train_y": None}, r"train_y\.npy is missing"),
        ({"valid_x": IMAGES}, r"valid_y\.npy is missing"),
        ({"test_y": LABELS}, r"test_x\.npy is missing"),
        ({"train_x": np.array([{}] * 6)}, r"train_x\.npy is damaged .*objects"),
        ({"train_x": IMAGES.astype(str)}, r"must be numbers of shape .*, not <U3 of shape"),
        ({"train_x": IMAGES * 1j}, r"must be numbers of shape .*, not complex128 of shape"),
        ({"train_x": IMAGES[:, 0, 0]}, r"not uint8 of shape \(6, 5\)"),
        ({"train_x": IMAGES[:0]}, r"not uint8 of shape \(0, 3, 6, 5\)"),
        ({"train_x": IMAGES[:5]}, r"train_y\.npy: there are 6 labels for 5 images"),
        ({"train_x": np.zeros((6, 65, 8, 8))}, r"images have 65 channels, more than 64"),
        ({"train_x": IMAGES[:, :, :4]}, r"images of 4x5 are too small: .* at least 5, or one of"),
        ({"train_x": FLOATS * [[np.nan], *[[1]] * 5]}, r"train_x\.npy: images has 90 numbers that"),
        ({"train_x": np.where(FLOATS > 99, -np.inf, 0)}, r"are NaN, infinite or too large"),
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
    with pytest.raises(ValueError, match=r"challenge: neither train\.npz nor train_x\.npy in"):
        load("challenge", root=tmp_path)
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
