"""Images in .npz files: splits, class names and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
        ({"images": IMAGES / 255, "labels": LABELS}, r"must be uint8 .*, not float64 of shape"),
        ({"images": IMAGES, "labels": LABELS[:5]}, "has 6 images, but 5 labels"),
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
    with pytest.raises(FileError, match=r"have shape \(1, 6, 5\), but in train"):
        load("npz", root=tmp_path)
    write(tmp_path, test={"images": IMAGES, "labels": np.array(["a", "c"])[LABELS % 2]})
    with pytest.raises(FileError, match=r"'c' is not a class of train\.npz"):
        load("npz", root=tmp_path)
