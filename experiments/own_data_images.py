"""Image data sets of ``own_data.py``: class folders of PNG files.

They differ in size, color, balance, number of images, and in whether left and right matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from own_data_sets import DataSet, Labels, fsdd_files, split_rows
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
"""Images, ``(N, H, W)`` gray or ``(N, H, W, 3)``."""

GLYPHS = "abcdefghijklmnopqrstuvwxyz0123456789"
CIFAR_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
VEHICLES = (0, 1, 8, 9)


def write_images(folder: Path, images: Iterable[Pixels], names: Iterable[str]) -> None:
    """Write one PNG file per image into the folders of their classes."""
    for index, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{index:05d}.png")


def read_published(name: str, source: Path) -> dict[str, tuple[Pixels, Labels]]:
    """Return images and labels of a published data set, ``cifar10`` for example, by split."""
    from darts.data import MemoryImages, load

    loaded = load(name, root=source, download=False, verify=False)
    splits = {"train": loaded.train, "test": loaded.test}
    result = {}
    for split, images in splits.items():
        assert isinstance(images, MemoryImages)
        pixels = images.pixels.permute(0, 2, 3, 1).numpy()
        result[split] = pixels[..., 0] if pixels.shape[-1] == 1 else pixels, images.labels.numpy()
    return result


def take(labels: Labels, counts: dict[int, int], random: np.random.Generator) -> Labels:
    """Return indices of ``counts[label]`` random samples of each label."""
    chosen = [
        random.choice(np.flatnonzero(labels == label), count, replace=False)
        for label, count in counts.items()
    ]
    return np.concatenate(chosen)


def _write_cifar(
    source: Path, folder: Path, counts: dict[str, dict[int, int]], gray: bool = False
) -> None:
    random = np.random.default_rng(0)
    for split, (images, labels) in read_published("cifar10", source).items():
        rows = take(labels, counts[split], random)
        chosen: Iterable[Pixels] = images[rows]
        if gray:
            chosen = (np.asarray(Image.fromarray(image).convert("L")) for image in chosen)
        write_images(folder / split, chosen, (CIFAR_CLASSES[labels[row]] for row in rows))


def _write_photos(source: Path, folder: Path) -> None:
    counts = {split: dict.fromkeys(range(10), n) for split, n in (("train", 500), ("test", 200))}
    _write_cifar(source, folder, counts)


def _write_few(source: Path, folder: Path) -> None:
    _write_cifar(source, folder, {"train": {8: 150, 9: 150}, "test": {8: 500, 9: 500}})


def _write_unbalanced(source: Path, folder: Path) -> None:
    train, test = {6: 1500, 1: 750, 7: 300, 4: 100}, {6: 600, 1: 300, 7: 120, 4: 40}
    _write_cifar(source, folder, {"train": train, "test": test}, gray=True)


def _write_mosaic(source: Path, folder: Path) -> None:
    """Write four photos as one image; the class is the place of the only animal."""
    random = np.random.default_rng(0)
    places = ("top_left", "top_right", "bottom_left", "bottom_right")
    for split, (images, labels) in read_published("cifar10", source).items():
        vehicle = np.isin(labels, VEHICLES)
        vehicles, animals = np.flatnonzero(vehicle), np.flatnonzero(~vehicle)
        count = 2000 if split == "train" else 1000
        mosaics = np.empty((count, 64, 64, 3), np.uint8)
        classes = np.arange(count) % 4
        for mosaic, place in zip(mosaics, classes, strict=True):
            tiles = random.choice(vehicles, 4)
            tiles[place] = random.choice(animals)
            mosaic[:] = joined(images[tiles])
        write_images(folder / split, mosaics, (places[place] for place in classes))


def joined(tiles: Pixels) -> Pixels:
    """Return four images ``(4, H, W, 3)`` as one, row by row, ``(2H, 2W, 3)``."""
    return np.concatenate([np.concatenate(list(pair), 1) for pair in (tiles[:2], tiles[2:])])


def _write_tiles(source: Path, folder: Path) -> None:
    """Write four photos as one image; the class is their number of distinct classes."""
    random = np.random.default_rng(0)
    for split, (images, labels) in read_published("cifar10", source).items():
        groups = [np.flatnonzero(labels == label) for label in range(10)]
        tiled, names = [], []
        for index in range(8000 if split == "train" else 2000):
            count = index % 4 + 1
            classes = random.choice(10, count, replace=False)
            classes = random.permutation([*classes, *random.choice(classes, 4 - count)])
            tiled.append(joined(images[[random.choice(groups[label]) for label in classes]]))
            names.append(str(count - 1))
        write_images(folder / split, tiled, names)


def _write_added(
    folder: Path, splits: dict[str, tuple[Pixels, Labels]], counts: dict[str, int]
) -> None:
    """Write three gray images as the channels of one; the class is the sum of their labels.

    Sums above 19 are rare and left out.
    """
    random = np.random.default_rng(0)
    for split, (images, labels) in splits.items():
        triples = random.integers(len(labels), size=(2 * counts[split], 3))
        triples = triples[labels[triples].sum(1) < 20][: counts[split]]
        channels = (np.stack(list(images[triple]), 2) for triple in triples)
        names = (f"{labels[triple].sum():02d}" for triple in triples)
        write_images(folder / split, channels, names)


def _write_added_clothes(source: Path, folder: Path) -> None:
    splits = read_published("fashion_mnist", source)
    _write_added(folder, splits, {"train": 10_000, "test": 4000})


def _write_added_digits(_: Path, folder: Path) -> None:
    _write_added(folder, large_digits(), {"train": 10_000, "test": 3000})


def _write_fashion(source: Path, folder: Path) -> None:
    for split, (images, labels) in read_published("fashion_mnist", source).items():
        write_images(folder / split, images, map(str, labels))


def large_digits() -> dict[str, tuple[Pixels, Labels]]:
    """Return scikit-learn's digits, enlarged to 28x28 pixels: 70 % for training, 30 % for test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    result = {}
    for split, rows in zip(("train", "test"), split_rows(digits.target, 0.3), strict=True):
        small = [Image.fromarray((digits.images[row] * 15.9).astype(np.uint8)) for row in rows]
        images = [np.asarray(image.resize((28, 28), Image.Resampling.BICUBIC)) for image in small]
        result[split] = np.stack(images), digits.target[rows]
    return result


def _write_digits(_: Path, folder: Path) -> None:
    for split, (images, labels) in large_digits().items():
        write_images(folder / split, images, map(str, labels))


def _fonts() -> list[Path]:
    """Return the text fonts that matplotlib installs."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [
        path
        for path in sorted(folder.glob("*.ttf"))
        if path.name.startswith(("DejaVuSans", "DejaVuSerif", "STIXGeneral"))
        and "Display" not in path.name
    ]


def draw_glyph(text: str, fonts: Sequence[Path], random: np.random.Generator) -> Pixels:
    """Return a gray image ``(28, 28)`` of a character: random font, size, place, angle, noise."""
    font = ImageFont.truetype(
        str(fonts[int(random.integers(len(fonts)))]), int(random.integers(15, 25))
    )
    image = Image.new("L", (28, 28))
    place = tuple(14 + random.uniform(-3, 3, 2))
    ImageDraw.Draw(image).text(
        place, text, fill=int(random.integers(90, 256)), font=font, anchor="mm"
    )
    image = image.rotate(random.uniform(-20, 20), Image.Resampling.BILINEAR)
    noisy = np.asarray(image) + random.normal(0, 45, (28, 28))
    return noisy.clip(0, 255).astype(np.uint8)


def _write_glyphs(_: Path, folder: Path) -> None:
    random = np.random.default_rng(0)
    fonts = _fonts()
    for split, count in (("train", 100), ("test", 50)):
        names = [glyph for glyph in GLYPHS for _ in range(count)]
        write_images(folder / split, (draw_glyph(name, fonts, random) for name in names), names)


def _write_voices(source: Path, folder: Path) -> None:
    """Write spectrograms ``(64, 63)``, brighter where louder; a class is a digit and a speaker."""
    from darts.data.audio import read_recording
    from darts.data.mel import Spectrogram, fit_length

    transform = Spectrogram(rate=8000, window=32.0, hop=16.0)
    files = fsdd_files(source)
    names = [path.stem.rsplit("_", 1)[0] for path in files]
    for split, rows in zip(("train", "test"), split_rows(names, 0.2), strict=True):
        images = []
        for row in rows:
            samples, _ = read_recording(files[row])
            decibels = transform(fit_length(samples, transform.samples)[None])[0].flip(0)
            bright = (decibels + 80) * (255 / 80)
            images.append(bright.clamp(0, 255).numpy().astype(np.uint8))
        write_images(folder / split, images, (names[row] for row in rows))


IMAGES = (
    DataSet("digits_28", "images", "scikit-learn's digits enlarged to 28x28, gray", _write_digits),
    DataSet(
        "glyphs", "images",
        "generated 28x28 gray images of a-z and 0-9 in matplotlib's fonts, with b/d and p/q",
        _write_glyphs,
    ),
    DataSet("photos", "images", "5,000 images of CIFAR-10, 10 classes", _write_photos, "cifar10"),
    DataSet(
        "unbalanced", "images", "2,650 gray images of CIFAR-10, 4 classes of 1,500 to 100",
        _write_unbalanced, "cifar10",
    ),
    DataSet("few", "images", "300 images of CIFAR-10, ships and trucks", _write_few, "cifar10"),
    DataSet(
        "mosaic", "images",
        "64x64 images composed of three vehicles and an animal of CIFAR-10; the class is its place",
        _write_mosaic, "cifar10",
    ),
    DataSet(
        "voices", "images", "Free Spoken Digit Dataset as 64x63 spectrograms, 60 digits x speakers",
        _write_voices, "fsdd",
    ),
    DataSet(
        "added_digits", "images",
        "three digits of digits_28 as the channels of an image; the class is their sum, 0 to 19",
        _write_added_digits,
    ),
    DataSet(
        "added_clothes", "images",
        "three images of Fashion-MNIST as the channels of an image; the class is the sum of labels",
        _write_added_clothes, "fashion_mnist",
    ),
    DataSet(
        "tiles", "images",
        "64x64 images of four images of CIFAR-10; the class is the number of distinct classes - 1",
        _write_tiles, "cifar10",
    ),
    DataSet(
        "fashion", "images", "Fashion-MNIST, 60,000 training and 10,000 test images, gray",
        _write_fashion, "fashion_mnist",
    ),
)  # fmt: skip
