"""Small published data sets of images: digits, CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST.

CIFAR is published as pickles, and unpickling may execute any function that a file names. Here a
file gets an object of a class below for each name that pickled arrays need; any other name is an
error. NumPy's own classes would not be safe: they trust the file with addresses in memory. The
readers of torchvision are not used, because they execute such code if the checksum is not verified.

References:
    Digits: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (its test split).
    CIFAR-10, CIFAR-100: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    SVHN: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning",
    2011.
    Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv:1708.07747.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darts.data.images import MemoryImages
from darts.data.randomness import seed_for
from darts.data.source import Layout, NoOptions, Request, Source, memory_source
from darts.data.split import stratified_split
from darts.reading import MIB, FileError, StrPath, damage, gunzip, read_bytes

_PICKLE_LIMIT = 256 * MIB  # bytes; the largest file of CIFAR-100 has 148 MiB
_MAT_LIMIT = 512 * MIB  # bytes; the training images of SVHN have 174 MiB
_IDX_LIMIT = 64 * MIB  # bytes; the training images of Fashion-MNIST have 45 MiB

_CIFAR_STATISTICS = {
    "cifar10": ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)),
    "cifar100": ((0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)),
}


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
    splits = images.select(train), images.select(test)
    return memory_source(request.name, tuple("0123456789"), *splits, size=request.size)


def load_cifar(request: Request[NoOptions]) -> Source:
    """Load 50,000 training and 10,000 test color images, 32 by 32 pixels, of CIFAR-10 or CIFAR-100.

    CIFAR-100 has its 100 fine classes.
    """
    key = "label" if request.name == "cifar10" else "fine_label"
    *batches, meta = _find_files(request)
    content = load_pickled_arrays(meta)
    with damage(f"the file {meta} is damaged"):
        classes = tuple(map(str, content[f"{key}_names"]))
    *train, test = (_read_cifar(path, f"{key}s", len(classes)) for path in batches)
    joined = MemoryImages(
        torch.cat([batch.pixels for batch in train]), torch.cat([batch.labels for batch in train])
    )
    statistics = _CIFAR_STATISTICS[request.name]
    return memory_source(
        request.name, classes, joined, test, size=request.size, statistics=statistics
    )


def load_svhn(request: Request[NoOptions]) -> Source:
    """Load 73,257 training and 26,032 test color images of house numbers, 32 by 32 pixels.

    The additional training images that SVHN calls "extra" are not used.
    """
    train, test = map(_read_svhn, _find_files(request))
    return memory_source(request.name, tuple("0123456789"), train, test, size=request.size)


def load_fashion_mnist(request: Request[NoOptions]) -> Source:
    """Load 60,000 training and 10,000 test gray images of clothes, 28 by 28 pixels."""
    from torchvision.datasets import FashionMNIST

    files = _find_files(request)
    train, test = (
        _make_images(
            images, _read_idx(images, 28, 28)[:, None], _read_idx(labels), len(FashionMNIST.classes)
        )
        for images, labels in (files[:2], files[2:])
    )
    return memory_source(request.name, tuple(FashionMNIST.classes), train, test, size=request.size)


def published(name: str) -> Layout:
    """Return the files of a data set, as torchvision lists them: training files come first."""
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN, FashionMNIST

    if name == "svhn":
        parts = [SVHN.split_list[split] for split in ("train", "test")]
        return Layout(
            folder="",
            files={file: md5 for _, file, md5 in parts},
            downloads={url: md5 for url, _, md5 in parts},
        )
    if name == "fashion_mnist":
        files = dict(FashionMNIST.resources)
        downloads = {f"{FashionMNIST.mirrors[0]}{file}": md5 for file, md5 in files.items()}
        return Layout("FashionMNIST/raw", files, downloads)
    cifar = CIFAR10 if name == "cifar10" else CIFAR100
    files = dict([*cifar.train_list, *cifar.test_list, (cifar.meta["filename"], cifar.meta["md5"])])
    return Layout(cifar.base_folder, files, {cifar.url: cifar.tgz_md5}, unpack=True)


def _find_files(request: Request[NoOptions]) -> list[Path]:
    layout = published(request.name)
    folder = request.published(layout)
    return [folder / name for name in layout.files]


def _make_images(path: Path, pixels: np.ndarray, labels: np.ndarray, classes: int) -> MemoryImages:
    valid = pixels.ndim == 4 and pixels.dtype == np.uint8 and labels.shape == pixels.shape[:1]
    if not valid or not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise FileError(f"the file {path} is damaged: images and labels do not match")
    return MemoryImages(torch.tensor(pixels), torch.tensor(labels.astype(np.int64)))


def _read_cifar(path: Path, key: str, classes: int) -> MemoryImages:
    content = load_pickled_arrays(path)
    with damage(f"the file {path} is damaged"):
        labels = np.fromiter(content[key], np.int64)
        return _make_images(path, content["data"].reshape(-1, 3, 32, 32), labels, classes)


def _read_svhn(path: Path) -> MemoryImages:
    from scipy.io import loadmat

    data = read_bytes(path, limit=_MAT_LIMIT)
    with damage(f"the file {path} is damaged"):
        content = loadmat(io.BytesIO(data), variable_names=["X", "y"])
        labels = content["y"].reshape(-1)
        digits = np.where(labels == 10, 0, labels)  # the digit 0 is published as 10
        pixels = content["X"].transpose(3, 2, 0, 1)  # from (32, 32, 3, N)
        return _make_images(path, pixels, digits, 10)


def _read_idx(path: Path, *sample: int) -> np.ndarray:
    """Read an IDX file of uint8: two zeros, type 8, number of axes, big-endian sizes, content.

    Args:
        path: File, compressed with gzip.
        sample: Shape of one sample; the file holds any number of them.
    """
    with damage(f"the file {path} is damaged"):
        raw = gunzip(read_bytes(path, limit=_IDX_LIMIT), limit=_IDX_LIMIT)
        kind, count, *shape = np.frombuffer(raw, ">u4", count=2 + len(sample)).tolist()
        if kind != 0x801 + len(sample) or shape != [*sample]:
            raise ValueError("it has another header than the published files")
        array = np.frombuffer(raw, np.uint8, offset=8 + 4 * len(sample))
        return np.reshape(array, (count, *sample))


class _Pickled:
    """Stands for an array or a data type: the arguments and the state that the pickle has."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_array(self) -> np.ndarray:
        _, shape, dtype, fortran, raw = self.state
        # Pickles of Python 2 hold bytes as a string, which is decoded as Latin-1.
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        # Unlike NumPy's own unpickling, this fails for arrays of objects.
        flat = np.frombuffer(data, np.dtype(dtype.arguments[0]).newbyteorder(dtype.state[1]))
        return np.reshape(flat, shape, order="F" if fortran else "C")


def _encode(text: str, codec: str) -> bytes:  # how protocol 2 writes bytes
    return text.encode("latin-1")


_NAMES = {"ndarray": _Pickled, "_reconstruct": _Pickled, "dtype": _Pickled, "encode": _encode}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] not in ("numpy", "_codecs") or name not in _NAMES:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed")
        return _NAMES[name]


def load_pickled_arrays(path: StrPath) -> dict[str, Any]:
    """Return a dictionary of arrays, strings, numbers and lists, pickled by protocol 0 to 4."""
    data = read_bytes(path, limit=_PICKLE_LIMIT)
    with damage(f"the file {path!s} is damaged or not a data file"):
        content = _Reader(io.BytesIO(data), encoding="latin1").load()
        return {
            key: value.to_array() if isinstance(value, _Pickled) else value
            for key, value in content.items()
        }
