"""Small published data sets of images: digits, CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST.

References:
    Digits: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (its test split).
    CIFAR-10, CIFAR-100: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    SVHN: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning",
    2011.
    Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv:1708.07747.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from darts.data.download import Archive, Layout, find_files
from darts.data.images import MemoryImages
from darts.data.mat_file import read_mat
from darts.data.randomness import seed_for
from darts.data.safe_pickle import load_pickled_arrays
from darts.data.source import NoOptions, Request, Source, memory_source
from darts.data.split import stratified_split
from darts.reading import MIB, FileError, gunzip, read_bytes

_IDX_LIMIT = 64 * MIB  # bytes; the training images of Fashion-MNIST have 45 MiB
_CIFAR = "https://www.cs.toronto.edu/~kriz"
_SVHN = "http://ufldl.stanford.edu/housenumbers"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_SVHN_FILES = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
_FASHION_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}

LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        files={
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
        archives=(Archive(f"{_CIFAR}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        unpack=True,
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        files={
            "meta": "7973b15100ade9c7d40fb424638fde48",
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        },
        archives=(
            Archive(f"{_CIFAR}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ),
        unpack=True,
    ),
    "svhn": Layout(
        folder="",
        files=_SVHN_FILES,
        archives=tuple(Archive(f"{_SVHN}/{name}", md5) for name, md5 in _SVHN_FILES.items()),
    ),
    "fashion_mnist": Layout(
        folder="FashionMNIST/raw",
        files=_FASHION_FILES,
        archives=tuple(Archive(f"{_FASHION}/{name}", md5) for name, md5 in _FASHION_FILES.items()),
    ),
}

_CIFAR10_STATISTICS = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))
_CIFAR100_STATISTICS = ((0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047))

_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_digits(request: Request[NoOptions]) -> Source:
    """Load the 1,797 gray digits of scikit-learn, 8 by 8 pixels.

    Pixels of 0 to 16 are scaled to 0 to 255. There is no published split: a stratified 25 % is the
    test split, the same for all seeds.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    published = torch.from_numpy(bunch.images)  # (1797, 8, 8) float64, 0 to 16
    pixels = (published * (255 / 16)).round().to(torch.uint8)[:, None]
    images = MemoryImages(pixels, torch.from_numpy(bunch.target))
    train, test = stratified_split(images.labels, (0.75, 0.25), seed=seed_for("digits", "test"))
    names = tuple(str(digit) for digit in range(10))
    return memory_source(
        request.name, names, images.select(train), images.select(test), size=request.size
    )


def load_cifar10(request: Request[NoOptions]) -> Source:
    """Load 50,000 training and 10,000 test color images of 32 by 32 pixels in 10 classes."""
    folder = find_files(request, LAYOUTS["cifar10"])
    names = _class_names(folder / "batches.meta", "label_names")
    train = [_read_cifar(folder / f"data_batch_{k}", "labels", len(names)) for k in range(1, 6)]
    joined = MemoryImages(
        torch.cat([batch.pixels for batch in train]), torch.cat([batch.labels for batch in train])
    )
    test = _read_cifar(folder / "test_batch", "labels", len(names))
    return memory_source(
        request.name, names, joined, test, size=request.size, statistics=_CIFAR10_STATISTICS
    )


def load_cifar100(request: Request[NoOptions]) -> Source:
    """Load 50,000 training and 10,000 test color images of 32 by 32 pixels in 100 classes."""
    folder = find_files(request, LAYOUTS["cifar100"])
    names = _class_names(folder / "meta", "fine_label_names")
    train = _read_cifar(folder / "train", "fine_labels", len(names))
    test = _read_cifar(folder / "test", "fine_labels", len(names))
    return memory_source(
        request.name, names, train, test, size=request.size, statistics=_CIFAR100_STATISTICS
    )


def load_svhn(request: Request[NoOptions]) -> Source:
    """Load 73,257 training and 26,032 test color images of house numbers, 32 by 32 pixels.

    The additional training images that SVHN calls "extra" are not used.
    """
    folder = find_files(request, LAYOUTS["svhn"])
    names = tuple(str(digit) for digit in range(10))
    train, test = (_read_svhn(folder / name) for name in _SVHN_FILES)
    return memory_source(request.name, names, train, test, size=request.size)


def load_fashion_mnist(request: Request[NoOptions]) -> Source:
    """Load 60,000 training and 10,000 test gray images of clothes, 28 by 28 pixels."""
    folder = find_files(request, LAYOUTS["fashion_mnist"])
    train, test = (
        _make_images(
            folder / f"{prefix}-images-idx3-ubyte.gz",
            _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 28, 28)[:, None],
            _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz"),
            len(_FASHION_CLASSES),
        )
        for prefix in ("train", "t10k")
    )
    return memory_source(request.name, _FASHION_CLASSES, train, test, size=request.size)


def _make_images(path: Path, pixels: np.ndarray, labels: np.ndarray, classes: int) -> MemoryImages:
    valid = pixels.ndim == 4 and pixels.dtype == np.uint8 and labels.shape == pixels.shape[:1]
    if not valid or not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"the file {path} is damaged: images and labels do not match")
    return MemoryImages(torch.tensor(pixels), torch.tensor(labels.astype(np.int64)))


def _class_names(path: Path, key: str) -> tuple[str, ...]:
    names = load_pickled_arrays(path).get(key)
    if not isinstance(names, list) or not names:
        raise ValueError(f"the file {path} is damaged: it has no {key}")
    return tuple(str(name) for name in names)


def _read_cifar(path: Path, key: str, classes: int) -> MemoryImages:
    content = load_pickled_arrays(path)
    rows, labels = content.get("data"), content.get(key)
    if not isinstance(rows, np.ndarray) or rows.shape[1:] != (3072,) or labels is None:
        raise ValueError(f"the file {path} is damaged: it has no images or no {key}")
    try:
        numbers = np.asarray(labels, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the file {path} is damaged: its {key} are not numbers") from None
    return _make_images(path, rows.reshape(-1, 3, 32, 32), numbers, classes)


def _read_svhn(path: Path) -> MemoryImages:
    content = read_mat(path)
    pixels, labels = content.get("X"), content.get("y")
    if pixels is None or pixels.ndim != 4 or labels is None or not np.isin(labels, range(11)).all():
        raise ValueError(f"the file {path} is damaged: it has no images or no labels")
    digits = np.where(labels == 10, 0, labels).reshape(-1)  # the digit 0 is published as 10
    return _make_images(path, pixels.transpose(3, 2, 0, 1), digits, 10)  # from (32, 32, 3, N)


def _read_idx(path: Path, *sample: int) -> np.ndarray:
    """Read an IDX file of uint8: two zeros, type 8, number of axes, big-endian sizes, content.

    Args:
        path: File, compressed with gzip.
        sample: Shape of one sample; the file holds any number of them.
    """
    try:
        raw = gunzip(read_bytes(path, limit=_IDX_LIMIT), limit=_IDX_LIMIT)
    except FileError:
        raise
    except ValueError as error:
        raise ValueError(f"the file {path} is damaged: {error}") from None
    start = 8 + 4 * len(sample)
    count, *shape = (int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    if raw[:4] != bytes([0, 0, 8, 1 + len(sample)]) or shape != [*sample]:
        raise ValueError(f"the file {path} is damaged: its header is not that of the data set")
    if count * math.prod(sample) != len(raw) - start:
        raise ValueError(f"the file {path} is damaged: its size differs from its header")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(count, *sample)
