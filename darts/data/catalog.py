"""The registry of data sets, and the function that loads one by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from darts.data.arrays import ArrayOptions, load_arrays
from darts.data.audio import AudioFolderOptions, FsddOptions, load_audiofolder, load_fsdd
from darts.data.corpus import CorpusOptions, load_ptb, load_text
from darts.data.documents import DocumentOptions, load_agnews, load_documents
from darts.data.folders import load_imagefolder, load_imagenet
from darts.data.pairs import PairOptions, load_multi30k, load_pairs
from darts.data.source import Request, SourceSpec
from darts.data.synthetic import SyntheticOptions, load_synthetic
from darts.data.tables import TableOptions, load_csv
from darts.data.targets import TARGETS
from darts.data.vision import load_cifar, load_digits, load_fashion_mnist, load_svhn
from darts.data.words import VocabularyOptions
from darts.plugins import PluginError, load_plugins

_FILES = ("memory", "disk")

_SOURCES = (
    SourceSpec("digits", "handwritten digits, 1x8x8, part of scikit-learn", load_digits),
    SourceSpec("cifar10", "10 classes of objects, 3x32x32", load_cifar),
    SourceSpec("cifar100", "100 classes of objects, 3x32x32", load_cifar),
    SourceSpec("svhn", "house numbers, 3x32x32", load_svhn),
    SourceSpec("fashion_mnist", "10 classes of clothes, 1x28x28", load_fashion_mnist),
    SourceSpec("imagenet", "ILSVRC2012, 1,000 classes", load_imagenet, storages=_FILES),
    SourceSpec("synthetic", "patterns with noise, for tests", load_synthetic, SyntheticOptions),
    SourceSpec("imagefolder", "your own images", load_imagefolder, storages=_FILES, own=True),
    *(
        SourceSpec(name, description, load_arrays, ArrayOptions, own=True, targets=TARGETS)
        for name, description in (
            ("npz", "your own images or numbers, in .npz files"),
            ("challenge", "the same, in .npy files: the NAS Unseen-Data Challenge"),
        )
    ),
    SourceSpec(
        "csv", "your own table", load_csv, TableOptions, ("rows",), own=True, targets=TARGETS
    ),
    SourceSpec("text", "your own text", load_text, CorpusOptions, ("text",), own=True),
    SourceSpec("ptb", "Penn Treebank, 10,000 words", load_ptb, CorpusOptions, ("text",)),
    SourceSpec("fsdd", "spoken digits of six speakers", load_fsdd, FsddOptions, ("audio",)),
    SourceSpec(
        "audiofolder",
        "your own recordings",
        load_audiofolder,
        AudioFolderOptions,
        ("audio",),
        own=True,
    ),
    SourceSpec("pairs", "your own translations", load_pairs, PairOptions, ("pairs",), own=True),
    SourceSpec("multi30k", "image captions, translated", load_multi30k, PairOptions, ("pairs",)),
    SourceSpec(
        "documents", "your own texts", load_documents, DocumentOptions, ("documents",), own=True
    ),
    SourceSpec(
        "agnews",
        "news with topics, or pairs of description and title",
        load_agnews,
        VocabularyOptions,
        ("documents", "pairs"),
    ),
)


@cache
def sources() -> Mapping[str, SourceSpec]:
    """Return the data sets of this project and of plug-ins, which the first call imports, by name.

    This reads no files of the data sets.
    """
    by_name = {spec.name: spec for spec in _SOURCES}
    for spec in load_plugins("darts.datasets"):
        if not isinstance(spec, SourceSpec):
            raise PluginError(f"the data set {spec!r} of a plug-in is not a SourceSpec")
        if by_name.setdefault(spec.name, spec) is not spec:
            raise PluginError(f"a plug-in adds the data set {spec.name}, which exists already")
    return by_name


def load(
    name: str, *, root: str | Path | None = None, kind: str | None = None, **settings: Any
) -> Any:  # Source, Corpus, Documents or Pairs, depending on the name
    """Load a data set: a ``Source``, ``Corpus``, ``Documents`` or ``Pairs``.

    Args:
        name: A key of ``sources()``.
        root, kind: See ``Request``; without a kind, the first one of the data set is loaded.
        **settings: Other attributes of ``Request``, and options that only this data set has, see
            ``SourceSpec.options``.
    """
    if name not in sources():
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(sources())}")
    spec = sources()[name]
    storage = settings.get("storage", "auto")
    if storage not in ("auto", *spec.storages):
        raise ValueError(
            f"{name}: storage={storage} is not available; set storage={spec.storages[0]}"
        )
    common = {field.name for field in dataclasses.fields(Request)}
    own = {key: value for key, value in settings.items() if key not in common}
    try:
        options = spec.options(**own)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    settings = {key: value for key, value in settings.items() if key in common}
    path = None if root is None else Path(root).expanduser()
    return spec.read(Request(name, options, kind or spec.kinds[0], path, **settings))
