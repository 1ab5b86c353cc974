"""Data sets, splits, loaders and augmentation.

source = load("cifar10", root="data")
train, valid = stratified_split(source.train.labels, (0.5, 0.5), seed=0)
batches = SampleLoader(source.train, train, batch_size=64, seed=0, stream="weights",
                  mean=source.mean, std=source.std, augmentation=Augmentation(),
                  shuffle=True, drop_last=True, device="cpu")
for images, labels in batches.epoch(0):
    ...
"""

from __future__ import annotations

from darts.data.augment import Augmentation
from darts.data.batches import SampleLoader
from darts.data.corpus import Corpus
from darts.data.documents import Documents, Labeled
from darts.data.images import DiskImages, Images, MemoryImages
from darts.data.pairs import Pairs, Sentences
from darts.data.schedule import rank_slice
from darts.data.sentences import DocumentLoader, PairBatch, PairLoader
from darts.data.source import Source, SourceSpec
from darts.data.sources import SOURCES, load
from darts.data.spec_augment import SpecAugment
from darts.data.split import load_split, save_split, stratified_split, stratified_subset
from darts.data.windows import IGNORE_INDEX, Carry, Window, WindowLoader

__all__ = [
    "IGNORE_INDEX",
    "SOURCES",
    "Augmentation",
    "SampleLoader",
    "Carry",
    "Corpus",
    "DiskImages",
    "DocumentLoader",
    "Documents",
    "Images",
    "Labeled",
    "MemoryImages",
    "PairBatch",
    "Pairs",
    "PairLoader",
    "Sentences",
    "Source",
    "SourceSpec",
    "SpecAugment",
    "Window",
    "WindowLoader",
    "load",
    "load_split",
    "save_split",
    "rank_slice",
    "stratified_split",
    "stratified_subset",
]
