"""What each sample has as its target: one class, several labels, or numbers.

The targets of N samples are one tensor: classes ``(N,)`` int64, K labels ``(N, K)`` float32 that
are 0 or 1, or K numbers ``(N, K)`` float32 that are standardized by ``TargetScale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darts.data.split import Groups, HoldOutOptions, hold_out_test

CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"
# Kinds of targets: one class, any of several labels, or numbers.
TARGETS = (CLASSES, LABELS, NUMBERS)

# Groups into which numbers are divided, each with equally many samples.
NUM_STRATA = 10
_MIN_MEMBERS = 10  # of a combination of labels that is a group of its own


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of each number, in the training samples.

    Networks learn standardized numbers. Then one learning rate suits prices and probabilities.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.deviation):
            raise ValueError("scale: mean and deviation differ in length")
        if not np.isfinite([*self.mean, *self.deviation]).all() or min(self.deviation) <= 0:
            raise ValueError("scale: every mean must be finite, every deviation also positive")

    @classmethod
    def fit(cls, numbers: Tensor, names: Sequence[str], where: str) -> TargetScale:
        """Return the scale of the training targets, ``(N, K)`` float64 and finite.

        Error messages contain the names of the columns, and ``where``, data set and file.
        """
        # Not torch, whose sums depend on the number of threads: a checkpoint is compared with this.
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = numbers.numpy().mean(0), numbers.numpy().std(0)
        for column, name in enumerate(names):
            if bool((numbers[:, column] == numbers[0, column]).all()):
                problem = f"all training samples have the number {float(numbers[0, column]):g}"
            elif not (0 < float(deviation[column]) < float("inf")):
                problem = "the numbers are too large or too close together to standardize"
            else:
                continue
            raise ValueError(f"{where}, target {name!r}: {problem}")
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def standardize(self, numbers: Tensor) -> Tensor:
        """Return standardized numbers ``(..., K)`` float64, on the CPU."""
        values = numbers.cpu().double()
        mean, deviation = (values.new_tensor(own) for own in (self.mean, self.deviation))
        return (values - mean) / deviation

    def restore(self, outputs: Tensor) -> Tensor:
        """Return numbers in their own units, of the shape ``(..., K)`` and type of ``outputs``."""
        mean, deviation = (outputs.new_tensor(values) for values in (self.mean, self.deviation))
        return outputs * deviation + mean


def complete_splits(
    inputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    names: Sequence[str],
    *,
    kind: str,
    options: HoldOutOptions | None,
    where: str,
    groups: Groups | None = None,
) -> tuple[dict[str, Tensor], TargetScale | None]:
    """Hold out a test split if there is none, and convert the targets to their final type.

    Args:
        inputs, targets: Samples and targets of each split, labels and numbers as float64. A
            held-out split is added to both.
        names: Names of the classes, labels or numbers.
        kind: One of ``TARGETS``. Numbers are standardized by the scale of the training split.
        options: Share and seed of the test split; None holds out none.
        where: Data set and file, for error messages.
        groups: Groups of training samples that a held-out split does not divide.

    Returns:
        The targets of each split, and the scale of numbers.
    """
    if "test" not in targets and options is not None:
        name = where.partition(":")[0]
        kept, held_out = hold_out_test(
            strata(targets["train"]), options, name=name, where=where, groups=groups
        )
        for values in (inputs, targets):
            values["test"], values["train"] = values["train"][held_out], values["train"][kept]
    if kind != NUMBERS:
        found = {split: own.float() if kind == LABELS else own for split, own in targets.items()}
        return found, None
    scale = TargetScale.fit(targets["train"], names, where)
    found = {split: scale.standardize(numbers).float() for split, numbers in targets.items()}
    for split, numbers in found.items():
        if not bool(numbers.isfinite().all()):
            raise ValueError(f"{where}, {split} split: a number is too large to standardize")
    return found, scale


def strata(targets: Tensor) -> Tensor:
    """Return the group of each sample, ``(N,)`` int64, for stratified subsets.

    Groups are classes, frequent combinations of labels, or ranges of the first number. All rare
    combinations of labels together are one group.
    """
    if targets.ndim == 1:
        return targets
    values = targets.numpy()
    if np.isin(values, (0.0, 1.0)).all():
        _, group, sizes = np.unique(values, axis=0, return_inverse=True, return_counts=True)
        rare = sizes < _MIN_MEMBERS
        names = np.where(rare, len(sizes), np.arange(len(sizes)))
        return torch.from_numpy(names[group.reshape(-1)].astype(np.int64))
    ranks = values[:, 0].argsort(kind="stable").argsort(kind="stable")
    count = max(min(NUM_STRATA, len(ranks) // _MIN_MEMBERS), 1)
    return torch.from_numpy((ranks * count // len(ranks)).astype(np.int64))
