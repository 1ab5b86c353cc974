"""The registry of data sets, and how one is loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darts.data.audio import FOLDER_OPTIONS, FSDD_OPTIONS, load_audiofolder, load_fsdd
from darts.data.corpus import OPTIONS as TEXT_OPTIONS
from darts.data.corpus import PTB, load_ptb, load_text
from darts.data.digits import load_digits
from darts.data.documents import OPTIONS as DOCUMENT_OPTIONS
from darts.data.documents import load_documents
from darts.data.folders import load_imagefolder, load_imagenet
from darts.data.news import OPTIONS as NEWS_OPTIONS
from darts.data.news import load_agnews
from darts.data.pairs import OPTIONS as PAIR_OPTIONS
from darts.data.pairs import load_multi30k, load_pairs
from darts.data.source import Query, SourceSpec
from darts.data.synthetic import OPTIONS, load_synthetic
from darts.data.tables import OPTIONS as TABLE_OPTIONS
from darts.data.tables import load_csv
from darts.data.vision import (
    LAYOUTS,
    load_cifar10,
    load_cifar100,
    load_fashion_mnist,
    load_svhn,
)

__all__ = ["SOURCES", "load"]

_STORAGES = ("auto", "memory", "disk")

SOURCES: dict[str, SourceSpec] = {
    spec.name: spec
    for spec in (
        SourceSpec("digits", "handwritten digits, 1x8x8, comes with scikit-learn", load_digits),
        SourceSpec(
            "cifar10",
            "10 classes of things, 3x32x32",
            load_cifar10,
            files=LAYOUTS["cifar10"].described(),
        ),
        SourceSpec(
            "cifar100",
            "100 classes of things, 3x32x32",
            load_cifar100,
            files=LAYOUTS["cifar100"].described(),
        ),
        SourceSpec("svhn", "house numbers, 3x32x32", load_svhn, files=LAYOUTS["svhn"].described()),
        SourceSpec(
            "fashion_mnist",
            "10 classes of clothes, 1x28x28",
            load_fashion_mnist,
            files=LAYOUTS["fashion_mnist"].described(),
        ),
        SourceSpec(
            "imagefolder",
            "your own pictures, one folder a class",
            load_imagefolder,
            files=("train/<class>/*", "val/<class>/*", "test/<class>/*"),
            storages=("memory", "disk"),
        ),
        SourceSpec(
            "imagenet",
            "ILSVRC2012, 1,000 classes, 3x224x224",
            load_imagenet,
            files=("train/<class>/*", "val/<class>/*"),
            storages=("memory", "disk"),
        ),
        SourceSpec(
            "csv",
            "your own table of numbers with a column of classes",
            load_csv,
            files=("train.csv", "valid.csv", "test.csv"),
            options=tuple(TABLE_OPTIONS),
            kinds=("rows",),
        ),
        SourceSpec(
            "text",
            "your own text in three files",
            load_text,
            files=("train.txt", "valid.txt", "test.txt"),
            options=tuple(TEXT_OPTIONS),
            kinds=("text",),
        ),
        SourceSpec(
            "ptb",
            "Penn Treebank, 10,000 words, Mikolov's version",
            load_ptb,
            files=PTB.described(),
            options=tuple(TEXT_OPTIONS),
            kinds=("text",),
        ),
        SourceSpec(
            "fsdd",
            "spoken digits of six speakers, as spectrograms",
            load_fsdd,
            files=("recordings/<digit>_<speaker>_<index>.wav",),
            options=tuple(FSDD_OPTIONS),
            kinds=("audio",),
        ),
        SourceSpec(
            "audiofolder",
            "your own recordings, one folder a class, as spectrograms",
            load_audiofolder,
            files=("train/<class>/*.wav", "valid/<class>/*.wav", "test/<class>/*.wav"),
            options=tuple(FOLDER_OPTIONS),
            kinds=("audio",),
        ),
        SourceSpec(
            "pairs",
            "your own sentences with their translations",
            load_pairs,
            files=("train.<source>", "train.<target>", "valid.*", "test.*"),
            options=tuple(PAIR_OPTIONS),
            kinds=("pairs",),
        ),
        SourceSpec(
            "multi30k",
            "captions of pictures in several languages",
            load_multi30k,
            files=("train.<language>", "val.<language>", "test_2016_flickr.<language>"),
            options=tuple(PAIR_OPTIONS),
            kinds=("pairs",),
        ),
        SourceSpec(
            "documents",
            "your own texts in a table with a column of classes",
            load_documents,
            files=("train.csv", "valid.csv", "test.csv"),
            options=tuple(DOCUMENT_OPTIONS),
            kinds=("documents",),
        ),
        SourceSpec(
            "agnews",
            "news with their topics, or from the description to the title",
            load_agnews,
            files=("test.csv",),
            options=tuple(NEWS_OPTIONS),
            kinds=("documents", "pairs"),
        ),
        SourceSpec(
            "synthetic",
            "learnable patterns plus noise, 3x8x8, for tests",
            load_synthetic,
            options=tuple(OPTIONS),
        ),
    )
}
"""Every data set by name; to list them reads and imports nothing."""


def load(
    name: str,
    *,
    root: str | Path | None = "data",
    download: bool = True,
    verify: bool = True,
    size: int | None = None,
    storage: str = "auto",
    seed: int = 0,
    kind: str | None = None,
    **options: Any,
) -> Any:
    """Load a data set: a `Source`, a `Corpus` of text, `Documents` or `Pairs` of sentences.

    Args:
        name: one of `SOURCES`.
        root: folder of its files, or a file of `csv`; sets that come with a package need none.
        download: fetch missing files, where the publisher offers them.
        verify: insist on the published checksums; otherwise others are taken with a warning.
        size: side of the images in pixels; None is the set's own.
        storage: "memory", "disk", or "auto" to choose by size.
        seed: of the `synthetic` set. Nothing else depends on it; the test splits are fixed.
        kind: one of the set's kinds; None is the first.
        **options: of this set alone, see `SourceSpec.options`.

    Raises:
        ValueError: in one line, if a name or a value is unknown, or files are missing or damaged.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(SOURCES)}")
    spec = SOURCES[name]
    if storage not in _STORAGES:
        raise ValueError(f"unknown storage {storage!r}: choose one of {', '.join(_STORAGES)}")
    if storage != "auto" and storage not in spec.storages:
        raise ValueError(f"{name} is kept in {spec.storages[0]}: storage={storage} is not offered")
    if size is not None and size < 1:
        raise ValueError(f"{name}: size is a number of pixels, at least 1, not {size}")
    if kind is not None and kind not in spec.kinds:
        raise ValueError(f"{name} is no set of {kind}; it is one of {' or '.join(spec.kinds)}")
    unknown = [option for option in options if option not in spec.options]
    if unknown:
        known = ", ".join(spec.options) or "none"
        raise ValueError(f"{name} has no option {unknown[0]!r}: its options are {known}")
    place = None if root is None else Path(root).expanduser()
    query = Query(
        *(name, place, download, verify, size, storage, seed, options),
        kind=kind or spec.kinds[0],
    )
    return spec.loader(query)
