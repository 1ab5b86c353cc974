"""PyTorch datasets, and targets of tables, images and datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from load_errors import load_error
from PIL import Image
from test_data_csv import write as table
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from darts.data import load
from darts.data.source import Source
from darts.data.targets import CLASSES, LABELS, NUMBERS, TargetScale, strata
from darts.data.torch_datasets import store


def test_restored_numbers_equal_the_original_ones() -> None:
    numbers = torch.tensor([[1.0, 2e6], [3.0, 2e6 + 1], [8.0, 2e6 + 5]], dtype=torch.float64)
    scale = TargetScale.fit(numbers, ("a", "b"), "here")
    standardized = scale.standardize(numbers).float()
    torch.testing.assert_close(standardized.double().mean(0), torch.zeros(2).double())
    torch.testing.assert_close(
        standardized.double().std(0, correction=0), torch.ones(2).double(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(scale.restore(standardized.double()), numbers, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ([4.0, 4.0, 4.0], "all training samples have the number 4"),
        ([1e308, -1e308, 1e308], "too large"),
        ([0.0, 5e-324, 0.0], "too close together"),
    ],
)
def test_numbers_that_cannot_be_standardized_are_refused(column: list[float], problem: str) -> None:
    numbers = torch.tensor([[1.0, value] for value in column], dtype=torch.float64)
    numbers[0, 0] = 7.0
    with pytest.raises(ValueError, match=f"here, target 'b': .*{problem}"):
        TargetScale.fit(numbers, ("a", "b"), "here")


def test_the_scale_does_not_depend_on_the_number_of_threads() -> None:
    numbers = 1e3 * torch.rand(50_000, 1, dtype=torch.float64)
    scales = set()
    for count in (1, 2, 3, torch.get_num_threads()):
        torch.set_num_threads(count)
        scales.add(TargetScale.fit(numbers, ("a",), "here"))
    assert len(scales) == 1


def test_numbers_far_from_the_training_numbers_are_refused(tmp_path: Path) -> None:
    table(tmp_path, "x,y", "1,10", "2,30", name="train.csv")
    table(tmp_path, "x,y", "1,20", "2,1e300", name="test.csv")
    message = "test split: a number is too large to standardize"
    load_error(message, "csv", root=tmp_path, targets=NUMBERS)


def test_groups_of_numbers_are_ranges_of_equal_size() -> None:
    numbers = torch.randperm(100).float()[:, None].log1p()
    groups = strata(numbers)
    assert torch.bincount(groups).tolist() == [10] * 10
    order = numbers[:, 0].argsort()
    assert (groups[order].diff() >= 0).all()


def test_groups_of_labels_are_frequent_combinations() -> None:
    labels = torch.tensor([[0.0, 1.0]] * 30 + [[1.0, 1.0]] * 12 + [[1.0, 0.0]] * 3 + [[0.0, 0.0]])
    groups = strata(labels)
    assert len(groups.unique()) == 3
    assert [len(part.unique()) for part in groups.split([30, 12, 4])] == [1, 1, 1]


ROWS = [f"{k / 2},{k % 7},{3 * k + 1},{k * k}" for k in range(60)]


def test_a_table_has_standardized_numbers_in_its_target_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "a,b,first,second", *ROWS)
    source: Source = load("csv", root=path, targets=NUMBERS, labels=["second", "first"])
    assert source.classes == ("second", "first")
    assert source.encoding.names == ("a", "b")
    numbers = torch.cat([source.train.labels, source.test.labels])
    assert (len(source.train), len(source.test)) == (48, 12)
    restored = source.scale.restore(numbers.double()).round().sort(0).values
    assert restored[:, 0].tolist() == [k * k for k in range(60)]
    assert restored[:, 1].tolist() == [3 * k + 1 for k in range(60)]
    torch.testing.assert_close(source.train.labels.mean(0), torch.zeros(2), atol=1e-6, rtol=0)


def test_a_table_has_labels(tmp_path: Path) -> None:
    rows = [f"{k / 2},{k % 2},{int(k % 3 == 0)}" for k in range(60)]
    path = table(tmp_path, "a,odd,third", *rows)
    source: Source = load("csv", root=path, targets=LABELS, labels=["odd", "third"])
    assert (source.classes, source.scale) == (("odd", "third"), None)
    every = torch.cat([source.train.labels, source.test.labels])
    assert every.sum(0).tolist() == [30, 20]
    # A stratified fifth: each of the four combinations is divided.
    assert len(source.test.labels.unique(dim=0)) == 4


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        (ROWS, {"labels": ["first"], "label": "second"}, "are mutually exclusive"),
        (ROWS, {"labels": ["first", "first"]}, "has a column twice"),
        (ROWS, {"labels": ["first", "wrong"]}, "no column 'wrong' for dataset.labels"),
        (["1,2,3,many"], {}, "line 2, column 'second': 'many' is not a number"),
        (ROWS, {"targets": LABELS, "labels": []}, "must name the columns of the labels"),
        (
            ["1,0,1,0", "2,1,0,0", "3,2,1,0"],
            {"targets": LABELS, "labels": ["b", "first"]},
            "line 4, column 'b': 2 is not a label; must be 0 or 1",
        ),
        (ROWS, {"targets": CLASSES, "labels": ["first", "second"]}, "task=multi_label or task="),
    ],
)
def test_wrong_target_columns_are_refused(
    rows: list[str], options: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = table(tmp_path, "a,b,first,second", *rows)
    load_error(problem, "csv", root=path, **{"targets": NUMBERS, **options})


def arrays(folder: Path, split: str, labels: np.ndarray, **others: np.ndarray) -> None:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    np.savez(folder / f"{split}.npz", images=images, labels=labels, **others)


def test_images_have_numbers(tmp_path: Path) -> None:
    arrays(tmp_path, "train", np.linspace(5, 9, 50), classes=np.array(["age"]))
    arrays(tmp_path, "test", np.array([[7.0], [9.0]]))
    source: Source = load("npz", root=tmp_path, targets=NUMBERS)
    assert source.classes == ("age",)
    assert source.scale.mean == pytest.approx((7.0,))
    torch.testing.assert_close(source.scale.restore(source.test.labels), torch.tensor([[7.0], [9]]))


def test_images_without_a_test_file_have_numbers_in_all_splits(tmp_path: Path) -> None:
    arrays(tmp_path, "train", np.arange(100.0).reshape(50, 2))
    source: Source = load("npz", root=tmp_path, targets=NUMBERS)
    assert source.classes == ("target0", "target1")
    assert (source.train.labels.shape, source.test.labels.shape) == ((40, 2), (10, 2))


@pytest.mark.parametrize(
    ("targets", "labels", "names", "problem"),
    [
        (NUMBERS, np.array(["a", "b"]), None, r"must be numbers of shape \(N, K\)"),
        (NUMBERS, np.array([1.0, np.nan]), None, "a number that is not finite"),
        (NUMBERS, np.ones((2, 2)), np.array(["a"]), "labels has 2 columns; must be 1"),
        (LABELS, np.array([[0, 2], [1, 1]]), None, "must be 0 or 1 with task=multi_label"),
        (LABELS, np.array([0, 1, 1]), None, "must have at least two columns"),
    ],
)
def test_wrong_target_arrays_are_refused(
    targets: str, labels: np.ndarray, names: np.ndarray | None, problem: str, tmp_path: Path
) -> None:
    others = {} if names is None else {"classes": names}
    arrays(tmp_path, "train", labels, **others)
    load_error(problem, "npz", root=tmp_path, targets=targets)


@pytest.mark.parametrize(
    ("given", "names"),
    [(None, ("target0", "target1")), (["column0", " price "], ("column0", "price"))],
)
def test_rows_of_a_torch_dataset_have_exact_numbers(
    given: list[str] | None, names: tuple[str, ...], tmp_path: Path
) -> None:
    """The names of targets may be like those of columns."""
    numbers = torch.randn(30, 2, dtype=torch.float64)
    data: Any = Samples([*zip(torch.randn(30, 3), numbers, strict=True)], given)
    stored = store(data, root=tmp_path, targets=NUMBERS)
    assert (stored.name, stored.labels) == ("csv", names)
    source: Source = load("csv", root=stored.root, targets=NUMBERS, labels=[*stored.labels])
    assert (source.classes, source.train.shape) == (names, (3, 1, 1))
    every = source.scale.restore(torch.cat([source.train.labels, source.test.labels]).double())
    torch.testing.assert_close(every.sort(0).values, numbers.sort(0).values, rtol=1e-6, atol=1e-6)


def test_images_of_a_torch_dataset_have_labels(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    labels = torch.randint(0, 2, (20, 2))
    data = TensorDataset(images, labels)
    data.classes = ["cat", "dog"]  # type: ignore[attr-defined]
    stored = store(data, data, root=tmp_path, targets=LABELS)
    source: Source = load("npz", root=stored.root, targets=LABELS)
    assert source.classes == ("cat", "dog")
    assert torch.equal(source.train.labels, labels.float())


class Samples:
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


def numbered(target: Any) -> Any:
    return Samples([(torch.zeros(2), 1.0), (torch.zeros(2), target)])


@pytest.mark.parametrize(
    ("targets", "data", "message"),
    [
        (CLASSES, Samples([]), "train has no samples"),
        (CLASSES, Samples([IMAGE[0, 0, 0]]), "sample 0 of train is not a pair"),
        (CLASSES, pair(IMAGE - 2.5), r"float32 values from -2\.5 to -2\.5; give uint8"),
        (CLASSES, pair(IMAGE.long()), "int64 values"),
        (CLASSES, pair(torch.zeros(2, 3, 4, 4)), "neither an image nor a row"),
        (CLASSES, pair(IMAGE + float("nan")), "float32 values from nan"),
        (CLASSES, pair({"image": 1}), "is dict, neither an image nor a row"),
        (CLASSES, pair(IMAGE, 1000), "labels go up to 1000, but there are 1 samples"),
        (CLASSES, pair(IMAGE, 0.5), r"label 0\.5; must be an integer >= 0"),
        (CLASSES, Samples([(IMAGE, 0), (IMAGE[:, :2], 0)]), "sample 1 of train has shape"),
        (NUMBERS, numbered("x"), "sample 1 of train has the target 'x'"),
        (NUMBERS, numbered(float("nan")), "sample 1 of train has the target nan"),
        (NUMBERS, numbered([1.0, 2.0]), "sample 1 of train has 2 targets, but the first one 1"),
    ],
)
def test_unusable_samples_are_refused(
    targets: str, data: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        store(data, root=tmp_path, targets=targets)
    assert len(str(caught.value).splitlines()) == 1


def test_train_and_test_must_have_one_shape(tmp_path: Path) -> None:
    other: Tensor = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match="samples or targets of train and test differ in shape"):
        store(pair(IMAGE), pair(other), tmp_path)
