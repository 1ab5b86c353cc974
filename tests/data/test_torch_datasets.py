"""PyTorch datasets, stored as arrays or tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from darts.data import load
from darts.data.torch_datasets import store


class Samples:
    """A map-style dataset of given pairs."""

    def __init__(self, pairs: Any, classes: Any = None) -> None:
        self.pairs = pairs
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index]


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 7, 5, 3), dtype=np.uint8)  # (N, H, W, C)
CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "images",
    [
        [Image.fromarray(image) for image in PIXELS],
        list(PIXELS),
        list(CHANNELS_FIRST.numpy()),
        list(CHANNELS_FIRST),
        list(CHANNELS_FIRST / 255),  # as ToTensor returns them
    ],
    ids=["PIL", "arrays", "arrays with channels first", "tensors", "floats"],
)
def test_images_keep_every_pixel(images: Any, tmp_path: Path) -> None:
    labels = [0, np.int64(1), torch.tensor(2), 0, 1, 2]
    data: Any = Samples(list(zip(images, labels, strict=True)), ["a", "b", "c"])
    stored = store(data, data, tmp_path)
    source = load(stored.name, root=stored.root)
    assert source.classes == ("a", "b", "c")
    assert source.train.pixels.equal(CHANNELS_FIRST)
    assert source.test.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_subsets_keep_class_names_and_palettes_become_colors(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS[0])
    palette = image.quantize(8)
    data: Any = Samples([(palette, 0), (palette, 1), (palette, 1)], ["ant", "bee"])
    subset: Any = Subset(Subset(data, [0, 1, 2]), [0, 2])
    source = load("npz", root=store(subset, subset, tmp_path).root)
    assert source.classes == ("ant", "bee")
    expected = torch.from_numpy(np.array(palette.convert("RGB"))).permute(2, 0, 1)
    assert source.train.pixels[0].equal(expected)


def test_rows_are_a_table_with_exact_numbers(tmp_path: Path) -> None:
    rows = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data: Any = Samples([(row, int(label)) for row, label in zip(rows, [0, 1] * 6, strict=True)])
    stored = store(data, data, tmp_path)
    assert stored.name == "csv"
    text = (stored.root / "train.csv").read_text().splitlines()
    assert text[0] == "column0,column1,column2,class"
    assert [float(value) for value in text[1].split(",")[:3]] == rows[0].tolist()
    assert load("csv", root=stored.root).train.shape == (3, 1, 1)


def test_equal_samples_are_stored_once(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8)
    first = store(TensorDataset(images, torch.arange(6) % 2), root=tmp_path)
    time = (first.root / "train.npz").stat().st_mtime_ns
    again = store(TensorDataset(images.clone(), torch.arange(6) % 2), root=tmp_path)
    assert again == first
    assert (first.root / "train.npz").stat().st_mtime_ns == time
    other = store(TensorDataset(images, (torch.arange(6) + 1) % 2), root=tmp_path)
    assert other.root != first.root


def pair(sample: Any, label: Any = 0) -> Any:
    return Samples([(sample, label)])


IMAGE = torch.zeros(3, 4, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Samples([]), "train has no samples"),
        (Samples([IMAGE[0, 0, 0]]), "sample 0 of train is not a pair"),
        (pair(IMAGE - 2.5), r"float32 values from -2\.5 to -2\.5; give uint8"),
        (pair(IMAGE.long()), "int64 values"),
        (pair(torch.zeros(2, 3, 4, 4)), "neither an image nor a row"),
        (pair(IMAGE + float("nan")), "float32 values from nan"),
        (pair({"image": 1}), "is dict, neither an image nor a row"),
        (pair(IMAGE, 1000), "labels go up to 1000, but there are 1 samples"),
        (pair(IMAGE, 0.5), r"label 0\.5; must be an integer >= 0"),
        (Samples([(IMAGE, 0), (IMAGE[:, :2], 0)]), "sample 1 of train has shape"),
    ],
)
def test_unusable_samples_are_refused(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        store(data, root=tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_train_and_test_must_have_one_shape(tmp_path: Path) -> None:
    other: Tensor = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match="samples or targets of train and test differ in shape"):
        store(pair(IMAGE), pair(other), tmp_path)
