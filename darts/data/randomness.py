"""Private random loaders, named by what they are for.

A generator is seeded from a hash of its name (any tuple of integers and strings), so that a draw
depends on nothing but that name: not on the draws before it, on the process that makes it, or on
Python's salted `hash`. The global generators of Python, NumPy and PyTorch are never touched.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["generator", "mix", "permutation"]


def mix(*parts: int | str) -> int:
    """A stable 63-bit seed from integers and strings; different tuples give unrelated seeds.

    >>> mix(0, "order", 3) == mix(0, "order", 3), mix(1, "2") == mix("1", 2)
    (True, False)
    """
    text = "".join(f"{type(part).__name__}:{len(str(part))}:{part};" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A fresh CPU generator seeded by `mix(*parts)`."""
    return torch.Generator().manual_seed(mix(*parts))


def permutation(count: int, *parts: int | str) -> Tensor:
    """A random order of `range(count)`, (count,) int64, that depends on `parts` alone."""
    return torch.randperm(count, generator=generator(*parts))
