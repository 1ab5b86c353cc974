"""Data sets, splits, augmentation and loaders.

Example::

    source = load("cifar10", root="data")
    train, valid = stratified_split(source.train.labels, (0.5, 0.5), seed=0)
    loader = SampleLoader(
        source.train, train, batch_size=64, seed=0, name="train", mean=source.mean, std=source.std,
        augmentation=Augmentation(crop="pad", padding=4, flip=True, cutout=0),
        shuffle=True, drop_last=True, device="cpu",
    )
    for images, labels in loader.epoch(0):
        ...
"""

from __future__ import annotations

from darts.data.augment import Augmentation
from darts.data.catalog import SOURCES, load
from darts.data.corpus import Corpus
from darts.data.documents import Documents, LabeledTexts
from darts.data.images import DiskImages, Images, MemoryImages
from darts.data.loader import (
    Batch,
    Carry,
    Loader,
    LoaderState,
    PairBatch,
    SampleBatch,
    Window,
    rank_slice,
)
from darts.data.pairs import Pairs, SentencePairs
from darts.data.sample_loader import SampleLoader
from darts.data.sentence_loader import DocumentLoader, PairLoader
from darts.data.source import InputSpec, Source, SourceSpec
from darts.data.spec_augment import SpecAugment
from darts.data.split import (
    count_folds,
    load_split,
    save_split,
    stratified_fold,
    stratified_split,
    stratified_subset,
)
from darts.data.window_loader import IGNORE_INDEX, WindowLoader

__all__ = [
    "IGNORE_INDEX",
    "SOURCES",
    "Augmentation",
    "Batch",
    "Carry",
    "Corpus",
    "DiskImages",
    "DocumentLoader",
    "Documents",
    "Images",
    "InputSpec",
    "LabeledTexts",
    "Loader",
    "LoaderState",
    "MemoryImages",
    "PairBatch",
    "PairLoader",
    "Pairs",
    "SampleBatch",
    "SampleLoader",
    "SentencePairs",
    "Source",
    "SourceSpec",
    "SpecAugment",
    "Window",
    "WindowLoader",
    "count_folds",
    "load",
    "load_split",
    "rank_slice",
    "save_split",
    "stratified_fold",
    "stratified_split",
    "stratified_subset",
]
