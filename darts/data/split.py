"""Random, stratified splits that depend on a seed alone, and their files.

Many data sets are sorted by class. Cutting one in the middle would give the weights one half of the
classes and the alphas the other. These functions give all subsets the same share of each class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darts.data.randomness import permutation, seed_for
from darts.reading import MIB, FileError, StrPath, read_npz
from darts.registry import number
from darts.writing import open_atomically

_SPLIT_LIMIT = 256 * MIB  # bytes: 33 million indices


def stratified_split(labels: Tensor, fractions: Sequence[float], *, seed: int) -> list[Tensor]:
    """Divide ``range(len(labels))`` into disjoint subsets that cover it.

    Within each class the largest remainder method rounds the sizes of the subsets, so each size
    differs from the exact one by less than one sample. Of subsets with equal remainders, the one
    that is furthest below its fraction of all samples gets the next sample; this keeps equal halves
    equal over many classes.

    Args:
        labels: Integers (N,).
        fractions: Fraction of the samples for each subset, at least 0, with sum 1.
        seed: Seed of the subsets and of their order: shuffled indices (n,) int64.
    """
    chunks: list[list[Tensor]] = [[] for _ in fractions]
    counts = [0] * len(fractions)
    divided = 0
    for members in _by_class(labels, seed):
        divided += len(members)
        missing = [share * divided - count for share, count in zip(fractions, counts, strict=True)]
        sizes = _apportion([share * len(members) for share in fractions], len(members), missing)
        for subset, chunk in zip(chunks, torch.split(members, sizes), strict=True):
            subset.append(chunk)
        counts = [count + size for count, size in zip(counts, sizes, strict=True)]
    return [_shuffled(subset, seed, index) for index, subset in enumerate(chunks)]


def stratified_subset(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """Return ``count`` shuffled indices with the class proportions of all labels, int64."""
    classes = _by_class(labels, seed)
    quotas = [count * len(members) / labels.numel() for members in classes]
    sizes = _apportion(quotas, count, [0.0] * len(quotas))
    chosen = [members[:size] for members, size in zip(classes, sizes, strict=True)]
    return _shuffled(chosen, seed, 0)


def count_folds(share: float) -> int:
    """Return how many disjoint parts with this share of the samples there are; 0 for share 0."""
    return math.floor(1 / share + 1e-9) if share > 0 else 0


def stratified_fold(labels: Tensor, share: float, fold: int, *, seed: int) -> list[Tensor]:
    """Divide ``range(len(labels))`` into a part with a share of the samples, and the rest.

    The parts form a cross-validation: with a share of 0.2 there are five, in which each
    sample occurs once.

    Args:
        labels: Integers (N,).
        share: Share of the samples in a part, above 0.
        fold: Number of the part, from 0 to ``count_folds(share) - 1``.

    Returns:
        Shuffled indices (n,) int64 of the rest, and of the part.
    """
    folds = count_folds(share)
    rest = max(1 - folds * share, 0.0)
    subsets = stratified_split(labels, [*[share] * folds, rest], seed=seed)
    part = subsets.pop(fold)
    return [_shuffled(subsets, seed, fold), part]


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of samples that no split divides, such as the visits of one patient.

    Attributes:
        of: Group of each sample, ``(N,)`` int64, from 0.
        is_ordered: Whether the groups follow in time. The last ones then validate and test.
    """

    of: Tensor
    is_ordered: bool = False

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(torch.unique(self.of))

    def at(self, indices: Tensor) -> Groups:
        """Return the groups of some samples."""
        return Groups(self.of[indices], self.is_ordered)

    def split(self, share: float, *, seed: int) -> list[Tensor]:
        """Divide the samples into the rest and a part with about a share of them, shuffled."""
        return self._divide(1, share, 0, seed)

    def fold(self, share: float, fold: int, *, seed: int) -> list[Tensor]:
        """Divide the samples like ``stratified_fold``."""
        if self.is_ordered:
            raise ValueError(
                "validation_fold: the latest samples validate, because dataset.time is set; leave "
                "out validation_fold"
            )
        return self._divide(count_folds(share), share, fold, seed)

    def _divide(self, parts: int, share: float, part: int, seed: int) -> list[Tensor]:
        """Return the samples that are not in a part, and those that are."""
        sizes = torch.bincount(self.of).double()
        if self.is_ordered:
            # The latest groups, until the next one would lead further away from the share.
            after = sizes.flip(0).cumsum(0).flip(0)  # samples from each group on
            chosen = (after - sizes / 2 < share * len(self.of))[self.of]
        else:
            targets = torch.tensor([*[share] * parts, 1 - parts * share]).double() * len(self.of)
            member = torch.empty_like(sizes, dtype=torch.int64)
            order = permutation(len(sizes), seed, "groups")
            # The largest first, each into the part that lacks most samples.
            for group in order[sizes[order].argsort(descending=True, stable=True)].tolist():
                member[group] = targets.argmax()
                targets[member[group]] -= sizes[group]
            chosen = (member == part)[self.of]
        both = torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
        return [_shuffled([own], seed, index) for index, own in enumerate(both)]


@dataclass
class HoldOutOptions:
    """Options of the test split of data sets that have none: a share of the training split."""

    test_share: float = number(0.2, above=0, below=1)
    split_seed: int = number(0, low=0, high=2**62)  # independent of the seed of the run


def hold_out_test(
    labels: Tensor, options: HoldOutOptions, *, name: str, where: str, groups: Groups | None = None
) -> list[Tensor]:
    """Return training and test indices, (n,) int64 each, stratified unless there are groups.

    Args:
        labels: Integers (N,).
        options: Share and seed of the test split.
        name: Kind of the data, such as "csv"; seeds the draws together with ``split_seed``.
        where: Data set and file or folder, for error messages.
        groups: Groups that are not divided.
    """
    share = options.test_share
    seed = seed_for(name, "test", options.split_seed)
    if groups is None:
        train, test = stratified_split(labels, (1 - share, share), seed=seed)
    else:
        train, test = groups.split(share, seed=seed)
    if not len(test):
        raise ValueError(
            f"{where}: dataset.test_share={share} of {len(labels)} samples leaves no test sample; "
            "increase it"
        )
    if len(torch.unique(labels[train])) < len(torch.unique(labels)):
        raise ValueError(
            f"{where}: dataset.test_share={share} of {len(labels)} samples leaves a class without "
            "training samples; decrease it"
        )
    return [train, test]


def _by_class(labels: Tensor, seed: int) -> list[Tensor]:
    """Return the indices of each class by ascending label, each in random order."""
    # One sort instead of a search for each class, because each sample may be a class of its own.
    order = torch.argsort(labels, stable=True).cpu()
    names, counts = (result.tolist() for result in torch.unique(labels, return_counts=True))
    return [
        members[permutation(len(members), seed, "class", label)]
        for label, members in zip(names, torch.split(order, counts), strict=True)
    ]


def _shuffled(chunks: list[Tensor], seed: int, index: int) -> Tensor:
    joined = torch.cat(chunks) if chunks else torch.empty(0, dtype=torch.int64)
    return joined[permutation(len(joined), seed, "part", index)]


def _apportion(quotas: list[float], total: int, missing: list[float]) -> list[int]:
    """Round quotas to integers with sum ``total``; ties go to the largest ``missing``."""
    # Round first, because 0.29 * 100 is slightly below 29, and int() would return 28.
    exact = [round(quota, 9) for quota in quotas]
    sizes = [int(quota) for quota in exact]
    order = sorted(range(len(exact)), key=lambda i: (sizes[i] - exact[i], -round(missing[i], 9), i))
    for i in order[: total - sum(sizes)]:
        sizes[i] += 1
    return sizes


def save_split(path: StrPath, subsets: Mapping[str, Tensor]) -> None:
    """Write subsets of indices to an .npz file atomically."""
    arrays: dict[str, np.ndarray] = {name: part.cpu().numpy() for name, part in subsets.items()}
    with open_atomically(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_split(path: StrPath) -> dict[str, Tensor]:
    """Return the subsets that ``save_split`` wrote, by name."""
    try:
        arrays = read_npz(path, limit=_SPLIT_LIMIT)
    except FileNotFoundError:
        raise FileError(f"the split {path} is missing") from None
    subsets: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype != np.int64 or (array < 0).any():
            raise FileError(f"the split {path} is damaged: {name!r} is not an array of indices")
        subsets[name] = torch.from_numpy(array)
    if not subsets:
        raise FileError(f"the file {path} is not a split: it has no subsets")
    return subsets
