"""Independent random generators, identified by names.

A generator is seeded with the hash of its name, a tuple of integers and strings. A draw therefore
depends on this name alone: not on earlier draws, on the process, or on Python's salted ``hash``.
The global generators of Python, NumPy and PyTorch are never used.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def seed_for(*name: int | str) -> int:
    """Return a stable 63-bit seed for a name; different names give unrelated seeds.

    >>> seed_for(0, "order", 3) == seed_for(0, "order", 3), seed_for(1, "2") == seed_for("1", 2)
    (True, False)
    """
    text = "".join(f"{type(item).__name__}:{len(str(item))}:{item};" for item in name)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*name: int | str) -> torch.Generator:
    """Return a new CPU generator seeded with ``seed_for(*name)``."""
    return torch.Generator().manual_seed(seed_for(*name))


def permutation(count: int, *name: int | str) -> Tensor:
    """Return the random order of ``range(count)`` for a name, ``(count,)`` int64."""
    return torch.randperm(count, generator=generator(*name))
