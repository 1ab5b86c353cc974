"""Small files in the formats of the published image data sets, with other checksums."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def make_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for k, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        content = {"data": rows(4, k), "labels": [k, 9, 0, 1]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = {"label_names": [f"class {n}" for n in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))


def make_cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for k, name in enumerate(["train", "test"]):
        content = {"data": rows(3, k), "fine_labels": [k, 99, 5], "coarse_labels": [0, 0, 0]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = {"fine_label_names": [f"class {n}" for n in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))


def make_svhn(root: Path) -> None:
    from scipy import io

    root.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(["train_32x32.mat", "test_32x32.mat"]):
        pixels = rows(3, k).reshape(3, 3, 32, 32).transpose(2, 3, 1, 0)  # (32, 32, 3, N)
        content = {"X": pixels, "y": np.array([[1], [10], [9]], dtype=np.uint8)}
        io.savemat(root / name, content, do_compression=name.startswith("test"))


def make_fashion_mnist(root: Path) -> None:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for k, part in enumerate(["train", "t10k"]):
        head = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28])
        images = head + np.random.default_rng(k).bytes(3 * 28 * 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9])
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


MAKE: dict[str, Callable[[Path], None]] = {
    "cifar10": make_cifar10,
    "cifar100": make_cifar100,
    "svhn": make_svhn,
    "fashion_mnist": make_fashion_mnist,
}
