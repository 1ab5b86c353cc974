"""The registry of data sets, and the function that loads one by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from darts.data.audio import AudioFolderOptions, FsddOptions, load_audiofolder, load_fsdd
from darts.data.corpus import PTB, CorpusOptions, load_ptb, load_text
from darts.data.digits import load_digits
from darts.data.documents import DocumentOptions, load_documents
from darts.data.folders import load_imagefolder, load_imagenet
from darts.data.news import load_agnews
from darts.data.pairs import PairOptions, load_multi30k, load_pairs
from darts.data.source import Request, SourceSpec
from darts.data.synthetic import SyntheticOptions, load_synthetic
from darts.data.tables import TableOptions, load_csv
from darts.data.vision import LAYOUTS, load_cifar10, load_cifar100, load_fashion_mnist, load_svhn
from darts.data.words import VocabularyOptions

__all__ = ["SOURCES", "load"]

_STORAGES = ("auto", "memory", "disk")

SOURCES: dict[str, SourceSpec] = {
    spec.name: spec
    for spec in (
        SourceSpec("digits", "handwritten digits, 1x8x8, part of scikit-learn", load_digits),
        SourceSpec(
            "cifar10",
            "10 classes of objects, 3x32x32",
            load_cifar10,
            files=LAYOUTS["cifar10"].paths(),
        ),
        SourceSpec(
            "cifar100",
            "100 classes of objects, 3x32x32",
            load_cifar100,
            files=LAYOUTS["cifar100"].paths(),
        ),
        SourceSpec("svhn", "house numbers, 3x32x32", load_svhn, files=LAYOUTS["svhn"].paths()),
        SourceSpec(
            "fashion_mnist",
            "10 classes of clothes, 1x28x28",
            load_fashion_mnist,
            files=LAYOUTS["fashion_mnist"].paths(),
        ),
        SourceSpec(
            "imagefolder",
            "your own images, one folder per class",
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
            options=TableOptions,
            kinds=("rows",),
        ),
        SourceSpec(
            "text",
            "your own text in three files",
            load_text,
            files=("train.txt", "valid.txt", "test.txt"),
            options=CorpusOptions,
            kinds=("text",),
        ),
        SourceSpec(
            "ptb",
            "Penn Treebank, 10,000 words, Mikolov's version",
            load_ptb,
            files=PTB.paths(),
            options=CorpusOptions,
            kinds=("text",),
        ),
        SourceSpec(
            "fsdd",
            "spoken digits of six speakers, as spectrograms",
            load_fsdd,
            files=("recordings/<digit>_<speaker>_<index>.wav",),
            options=FsddOptions,
            kinds=("audio",),
        ),
        SourceSpec(
            "audiofolder",
            "your own recordings, one folder per class, as spectrograms",
            load_audiofolder,
            files=("train/<class>/*.wav", "valid/<class>/*.wav", "test/<class>/*.wav"),
            options=AudioFolderOptions,
            kinds=("audio",),
        ),
        SourceSpec(
            "pairs",
            "your own sentences with their translations",
            load_pairs,
            files=("train.<source>", "train.<target>", "valid.*", "test.*"),
            options=PairOptions,
            kinds=("pairs",),
        ),
        SourceSpec(
            "multi30k",
            "image captions in several languages",
            load_multi30k,
            files=("train.<language>", "val.<language>", "test_2016_flickr.<language>"),
            options=PairOptions,
            kinds=("pairs",),
        ),
        SourceSpec(
            "documents",
            "your own texts in a table with a column of classes",
            load_documents,
            files=("train.csv", "valid.csv", "test.csv"),
            options=DocumentOptions,
            kinds=("documents",),
        ),
        SourceSpec(
            "agnews",
            "news with topics, or pairs of description and title",
            load_agnews,
            files=("test.csv",),
            options=VocabularyOptions,
            kinds=("documents", "pairs"),
        ),
        SourceSpec(
            "synthetic",
            "learnable patterns with noise, for tests",
            load_synthetic,
            options=SyntheticOptions,
        ),
    )
}
"""All data sets by name. Listing them reads no files and imports no further libraries."""


def load(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = True,
    verify: bool = True,
    size: int | None = None,
    storage: str = "auto",
    seed: int = 0,
    kind: str | None = None,
    **options: object,
) -> Any:  # Source, Corpus, Documents or Pairs, depending on the name
    """Load a data set: a ``Source``, ``Corpus``, ``Documents`` or ``Pairs``.

    Args:
        name: a key of ``SOURCES``.
        root: folder of its files, or a file for ``csv``; None for data sets without files.
        download: whether to download missing files, where the publisher offers them.
        verify: whether files with other than the published checksums are an error; otherwise they
            cause a warning.
        size: side of the images in pixels; None for the data set's own.
        storage: "memory", "disk", or "auto" to choose by size.
        seed: seed of ``synthetic``. Nothing else depends on it; test splits are fixed.
        kind: one of the data set's kinds; None for the first.
        **options: options of this data set alone, see ``SourceSpec.options``.

    Raises:
        ValueError: if a name or value is unknown, an option is missing, or files are missing or
            damaged.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(SOURCES)}")
    spec = SOURCES[name]
    if storage not in _STORAGES:
        raise ValueError(f"unknown storage {storage!r}; choose from {', '.join(_STORAGES)}")
    if storage != "auto" and storage not in spec.storages:
        raise ValueError(
            f"{name}: storage={storage} is not available; set storage={spec.storages[0]}"
        )
    if size is not None and size < 1:
        raise ValueError(f"{name}: size={size}: must be >= 1 pixel")
    if kind is not None and kind not in spec.kinds:
        raise ValueError(f"{name}: kind={kind!r}: choose from {', '.join(spec.kinds)}")
    request = Request(
        name=name,
        root=None if root is None else Path(root).expanduser(),
        download=download,
        verify=verify,
        size=size,
        storage=storage,
        seed=seed,
        kind=kind or spec.kinds[0],
        options=_parse_options(spec, options),
    )
    return spec.loader(request)


def _parse_options(spec: SourceSpec, options: dict[str, object]) -> object:
    fields = dataclasses.fields(spec.options)
    names = [field.name for field in fields]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    for option in options:
        if option not in names:
            raise ValueError(
                f"{spec.name} has no option {option!r}; its options are "
                f"{', '.join(names) or 'none'}"
            )
    missing = [option for option in required if option not in options]
    if missing:
        raise ValueError(f"{spec.name}: missing options {', '.join(missing)}; set all of them")
    try:
        return spec.options(**options)
    except ValueError as error:
        raise ValueError(f"{spec.name}: {error}") from None
