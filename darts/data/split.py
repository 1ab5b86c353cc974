"""Splits: shuffled, stratified, made from a seed alone, and saved with the run.

A split that cuts a class-sorted folder in the middle shows the weights one half of the classes and
the alphas the other. Here every part gets its share of every class, in shuffled order.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.randomness import permutation

__all__ = ["load_split", "save_split", "stratified_split", "stratified_subset"]


def stratified_split(labels: Tensor, fractions: Sequence[float], *, seed: int) -> list[Tensor]:
    """Cut `range(len(labels))` into disjoint parts that together cover it.

    Within each class the parts get their fractions by the method of the largest remainder, so a
    count differs from the exact proportion by less than one. Equal remainders go to the part that
    is furthest behind its fraction of the whole, which keeps equal halves equal over many classes.

    Args:
        labels: (N,) integers.
        fractions: one share a part, none negative, with the sum 1.
        seed: the parts and their order depend on it, and on `labels`, alone.

    Returns:
        One (n,) int64 tensor of indices a part, in shuffled order.

    Raises:
        ValueError: if `fractions` do not sum to 1 or `labels` has not one dimension.
    """
    shares = [float(share) for share in fractions]
    if not shares or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-6:
        raise ValueError(f"fractions must be at least 0 and sum to 1, not {list(fractions)}")
    parts: list[list[Tensor]] = [[] for _ in shares]
    counts = [0] * len(shares)
    seen = 0
    for members in _by_class(labels, seed):
        seen += len(members)
        behind = [share * seen - count for share, count in zip(shares, counts, strict=True)]
        sizes = _apportion([share * len(members) for share in shares], len(members), behind)
        for part, piece in zip(parts, members.split(sizes), strict=True):
            part.append(piece)
        counts = [count + size for count, size in zip(counts, sizes, strict=True)]
    return [_shuffled(pieces, seed, number) for number, pieces in enumerate(parts)]


def stratified_subset(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """`count` indices that keep the proportions of the classes, (count,) int64, shuffled.

    Raises:
        ValueError: if `count` is not between 1 and the number of labels.
    """
    if not 1 <= count <= labels.numel():
        raise ValueError(f"a subset takes 1 to {labels.numel()} of the samples, not {count}")
    classes = _by_class(labels, seed)
    quotas = [count * len(members) / labels.numel() for members in classes]
    sizes = _apportion(quotas, count, [0.0] * len(quotas))
    chosen = [members[:size] for members, size in zip(classes, sizes, strict=True)]
    return _shuffled(chosen, seed, 0)


def _by_class(labels: Tensor, seed: int) -> list[Tensor]:
    """The indices of each class, by ascending label, each in an order drawn from the seed."""
    if labels.ndim != 1:
        raise ValueError(f"labels must have the shape (N,), not {tuple(labels.shape)}")
    groups = []
    for label in torch.unique(labels).tolist():
        members = torch.nonzero(labels == label).flatten().cpu()
        groups.append(members[permutation(len(members), seed, "class", label)])
    return groups


def _shuffled(pieces: list[Tensor], seed: int, number: int) -> Tensor:
    joined = torch.cat(pieces) if pieces else torch.empty(0, dtype=torch.int64)
    return joined[permutation(len(joined), seed, "part", number)]


def _apportion(quotas: list[float], total: int, behind: list[float]) -> list[int]:
    """Whole numbers with the sum `total`, each its quota rounded down or up."""
    # Rounding first: 0.29 * 100 is a hair below 29 and must not lose its unit to another part.
    exact = [round(quota, 9) for quota in quotas]
    sizes = [int(quota) for quota in exact]
    order = sorted(
        range(len(exact)),
        key=lambda part: (sizes[part] - exact[part], -round(behind[part], 9), part),
    )
    for part in order[: total - sum(sizes)]:
        sizes[part] += 1
    return sizes


def save_split(
    path: str | os.PathLike[str], parts: Mapping[str, Tensor], **facts: int | float | str
) -> None:
    """Write the index of every part, and facts about them (a seed, a data set), to an .npz file.

    The file appears whole or not at all: it is written beside its place, synced and renamed.

    Raises:
        ValueError: if a part is not a (n,) tensor of int64 or shares its name with a fact.
    """
    target = Path(path)
    arrays: dict[str, np.ndarray] = {name: np.asarray(fact) for name, fact in facts.items()}
    for name, index in parts.items():
        if index.ndim != 1 or index.dtype != torch.int64 or name in facts:
            raise ValueError(f"part {name!r} of the split must be an int64 tensor of shape (n,)")
        arrays[name] = index.cpu().numpy()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load_split(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The parts that `save_split` wrote, by name; the facts are left out.

    Raises:
        ValueError: in one line, if the file is missing, damaged, or not a split.
    """
    parts: dict[str, Tensor] = {}
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if array.ndim == 1:
                    if array.dtype != np.int64 or (array < 0).any():
                        raise ValueError(f"{name!r} is not a list of indices")
                    parts[name] = torch.from_numpy(array)
    except FileNotFoundError:
        raise ValueError(f"there is no split at {path}") from None
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,  # np.load gives a bare array, without .files, for a lone .npy
        TypeError,
        MemoryError,
        NotImplementedError,  # zipfile, on a way of compressing that it does not know
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the split {path} is damaged or not a split: {reason}") from None
    if not parts:
        raise ValueError(f"the split {path} is damaged or not a split: it names no part")
    return parts
