"""Data sets of ``unseen.py``: arrays that resemble no published benchmark.

Each data set is a folder with ``train_x.npy``, ``train_y.npy``, ``test_x.npy`` and ``test_y.npy``,
in the layout of the NAS Unseen-Data Challenge. Training and test samples come from disjoint
sources.

References:
    Geada et al., "Insights from the Use of Previously Unseen Neural Architecture Search Datasets",
    arXiv:2404.02189, describes AddNIST, MultNIST, CIFARTile and GameOfLife; the sets here follow
    the descriptions, with Fashion-MNIST in place of handwritten digits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from own_data_images import IMAGES, joined, read_published, take
from own_data_sets import Labels
from PIL import Image

from darts.writing import open_atomically

Samples = NDArray[np.uint8] | NDArray[np.float32]
"""Arrays ``(N, C, H, W)``."""

Splits = Iterator[tuple[str, Samples, Labels]]
"""Name, samples and labels ``(N,)`` of each split."""

COUNTS = {"train": 10_000, "test": 2000}
"""Samples of each split; data sets with fewer have all that there are."""


@dataclass(frozen=True)
class UnseenSet:
    """A data set of arrays.

    Attributes:
        name: Name of the folder.
        content: What the samples and the classes are.
        make: Yields the splits, given the folder of the published data.
        natural: Whether the samples consist of photos, for which pretrained weights are made.
    """

    name: str
    content: str
    make: Callable[[Path], Splits]
    natural: bool = False

    def prepare(self, data: Path, folder: Path) -> None:
        """Write the arrays unless they exist; the test labels are last."""
        if (folder / "test_y.npy").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for split, *arrays in self.make(data):
            for letter, array in zip("xy", arrays, strict=True):
                with open_atomically(folder / f"{split}_{letter}.npy") as file:
                    np.save(file, array, allow_pickle=False)


def load_split(folder: Path, split: str) -> tuple[Samples, Labels]:
    """Return samples and labels of a split of a prepared data set."""
    x, y = (np.load(folder / f"{split}_{letter}.npy", allow_pickle=False) for letter in "xy")
    return x, y


def _combined(label_of: Callable[[Labels], Labels], data: Path) -> Splits:
    """Yield triples of Fashion-MNIST images as channels; triples without a class are left out.

    ``label_of`` maps class numbers ``(N, 3)`` to labels ``(N,)``, which are negative for no class.
    """
    random = np.random.default_rng(0)
    for split, (images, labels) in read_published("fashion_mnist", data / "fashion_mnist").items():
        triples = random.integers(len(labels), size=(2 * COUNTS[split], 3))
        found = label_of(labels[triples])
        kept = np.flatnonzero(found >= 0)[: COUNTS[split]]
        yield split, images[triples[kept]], found[kept]


def sums(classes: Labels) -> Labels:
    """Return the sum of three class numbers minus 1 if the sum is 1 to 20, otherwise -1."""
    total = classes.sum(1)
    labels: Labels = np.where((total >= 1) & (total <= 20), total - 1, -1)
    return labels


def products(classes: Labels) -> Labels:
    """Return the last digit of the product of three class numbers."""
    digits: Labels = classes.prod(1) % 10
    return digits


PATTERNS = ((4,), (2, 2), (2, 1, 1), (1, 1, 1, 1))
"""How often the classes occur among the four images of a tile, by label."""


def _tiles(data: Path) -> Splits:
    """Yield four images of CIFAR-10 as one; the label is their number of distinct classes - 1."""
    random = np.random.default_rng(0)
    for split, (images, labels) in read_published("cifar10", data / "cifar10").items():
        groups = [np.flatnonzero(labels == label) for label in range(10)]
        targets = np.arange(COUNTS[split]) % len(PATTERNS)
        tiled = np.empty((len(targets), 3, 64, 64), np.uint8)
        for tile, target in zip(tiled, targets, strict=True):
            pattern = PATTERNS[target]
            classes = np.repeat(random.choice(10, len(pattern), replace=False), pattern)
            rows = [random.choice(groups[label]) for label in random.permutation(classes)]
            tile[:] = joined(images[rows]).transpose(2, 0, 1)
        yield split, tiled, targets


def next_generation(boards: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the next boards ``(N, H, W)`` of Conway's Game of Life; cells outside are dead."""
    height, width = boards.shape[1:]
    padded = np.pad(boards.astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    shifts = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    neighbors = sum(
        padded[:, row : row + height, column : column + width] for row, column in shifts
    )
    return (neighbors == 3) | (boards & (neighbors == 2))


def _life(_: Path) -> Splits:
    """Yield random boards; the label is the number of living cells after one step, up to 24."""
    random = np.random.default_rng(0)
    seen: set[bytes] = set()
    for split, count in COUNTS.items():
        density = random.uniform(0.1, 0.5, (4 * count, 1, 1))
        boards = random.random((4 * count, 10, 10)) < density
        alive = next_generation(boards).sum((1, 2))
        new = [row for row, board in enumerate(boards) if board.tobytes() not in seen]
        kept = [row for row in new if alive[row] <= 24][:count]
        seen.update(boards[row].tobytes() for row in kept)
        yield split, boards[kept, None].astype(np.float32), alive[kept]


def connects(board: NDArray[np.bool_]) -> bool:
    """Return whether open cells of a board ``(H, W)`` connect its left and its right side."""
    reached = np.zeros_like(board)
    reached[:, 0] = board[:, 0]
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= board
        if (grown == reached).all():
            return bool(reached[:, -1].any())
        reached = grown


def _mazes(_: Path) -> Splits:
    """Yield random boards; the label is whether their open cells connect left and right."""
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        boards: list[list[NDArray[np.bool_]]] = [[], []]
        while min(map(len, boards)) < count // 2:
            # Near the density at which half of the boards connect, the density alone says little.
            board = random.random((12, 12)) < random.uniform(0.55, 0.65)
            boards[connects(board)].append(board)
        chosen = np.stack([own for pair in zip(*boards, strict=False) for own in pair][:count])
        yield split, chosen[:, None].astype(np.float32), np.arange(count) % 2


LAGS = 10


def _delays(_: Path) -> Splits:
    """Yield noise from 12 sensors in 64 steps; the label is the delay between two of them.

    One sensor repeats another after 0 to 9 steps, with noise; the sensors differ between samples.
    """
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        signals = random.normal(size=(count, 12, 64))
        lags = np.arange(count) % LAGS
        for signal, lag in zip(signals, lags, strict=True):
            first, second = random.choice(12, 2, replace=False)
            signal[second, lag:] = signal[first, : 64 - lag]
        noisy = signals + random.normal(scale=0.3, size=signals.shape)
        yield split, noisy[:, None].astype(np.float32), lags


def _sample(name: str, data: Path) -> Splits:
    """Yield stratified samples of a published data set."""
    random = np.random.default_rng(0)
    for split, (images, labels) in read_published(name, data / name).items():
        classes = np.unique(labels).tolist()
        rows = take(labels, dict.fromkeys(classes, COUNTS[split] // len(classes)), random)
        yield split, images[rows][:, None], labels[rows]


def _folders(name: str, data: Path) -> Splits:
    """Yield the images of a data set of ``own_data.py``."""
    (dataset,) = (own for own in IMAGES if own.name == name)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        if not dataset.prepare(data, folder):
            raise SystemExit(f"{name}: --data has no folder {dataset.source}")
        names = sorted(path.name for path in (folder / "train").iterdir())
        for split in COUNTS:
            files = [(f, label) for label, own in enumerate(names)
                     for f in sorted((folder / split / own).iterdir())]  # fmt: skip
            images = np.stack([np.asarray(Image.open(file)) for file, _ in files])
            arrays = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
            yield split, arrays, np.array([label for _, label in files])


UNSEEN = (
    UnseenSet("add_fashion", "three images of Fashion-MNIST as channels; the sum of their classes",
              partial(_combined, sums)),
    UnseenSet("mult_fashion", "the same; the last digit of the product of their classes",
              partial(_combined, products)),
    UnseenSet("cifar_tile", "2x2 images of CIFAR-10, 64x64; the number of distinct classes", _tiles,
              natural=True),
    UnseenSet("game_of_life", "10x10 boards; the living cells after one step, 0 to 24", _life),
    UnseenSet("fashion", "10,000 images of Fashion-MNIST", partial(_sample, "fashion_mnist")),
    UnseenSet("photos", "5,000 images of CIFAR-10", partial(_folders, "photos"), natural=True),
    UnseenSet("mosaic", "2x2 images of CIFAR-10; the place of the animal among vehicles",
              partial(_folders, "mosaic"), natural=True),
    UnseenSet("voices", "64x63 spectrograms of spoken digits; 60 digits x speakers",
              partial(_folders, "voices")),
    UnseenSet("mazes", "12x12 boards; whether open cells connect left and right", _mazes),
    UnseenSet("delays", "noise of 12 sensors in 64 steps; the delay between two of them", _delays),
    UnseenSet("unbalanced", "gray images of four CIFAR-10 classes, 1,500 to 100 of each",
              partial(_folders, "unbalanced"), natural=True),
    UnseenSet("few", "300 images of ships and trucks of CIFAR-10", partial(_folders, "few"),
              natural=True),
)  # fmt: skip
"""The data sets. The last two are for pretrained weights only, like ``photos`` and the tiles."""
