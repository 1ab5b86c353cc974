"""NAS-Bench-Macro: accuracy, parameters and MACs of every architecture, from a table.

The benchmark has trained 6,561 chains of eight blocks on CIFAR-10, each three times for 50 epochs.
It writes an architecture as eight digits, one per block: 0 for identity, 1 for an inverted residual
block with kernel size 3 and expansion 3, 2 for kernel size 5 and expansion 6. At the start of a
stage, 0 is a 1x1 convolution instead. In this package, architectures are genotypes of
``space=macro`` with ``space.skeleton=nasbench``.

A table is a CSV file, plain or gzip-compressed, with the columns ``arch``, ``mean_acc`` (mean test
accuracy in percent), ``params`` and ``flops`` (MACs), and optionally ``std`` (standard deviation of
the test accuracies) and ``test_acc_0``, ``test_acc_1``, ... (single runs). In a ``Table``, the
column of the means is called ``cifar10_test_ep50`` and the column of the first run
``cifar10_test_ep50_run0``; the latter is read with ``split="test_run0"``.

An accuracy is the best of a run's 50 epochs on the test split, so it is slightly optimistic.
Architectures that differ only in the position of identities after the first block of a stage are
the same network and have equal rows: there are 3,969 different networks.

References:
    Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", arXiv:2103.11922,
    section 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import ClassVar

from darts.judging.benchmark import BenchmarkTable, Layout, Values, read_table
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import short_repr
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.skeleton import SKELETONS

_SKELETON = "nasbench"
_DEPTHS = SKELETONS[_SKELETON].depths or ()
_BLOCKS = sum(_DEPTHS)
_FIRST = ("conv_1x1", "mb_k3_e3", "mb_k5_e6")  # by digit, at the start of a stage
_REST = ("skip_connect", "mb_k3_e3", "mb_k5_e6")
_OPERATIONS = [names for depth in _DEPTHS for names in (_FIRST, *[_REST] * (depth - 1))]
_ACCURACY = "cifar10_test_ep50"
_RUN = re.compile(r"test_acc_(\d+)")
_LARGEST = {"mean_acc": 100.0, "std": 100.0, "params": 1e12, "flops": 1e12}  # valid values
_NUMBERS = {"params": "parameters", "flops": "macs", "std": "deviation"}


class Table(BenchmarkTable):
    """Accuracies, parameters and MACs of all architectures.

    Args:
        columns: Accuracies in percent ``(6561,)`` by column name. Architectures are in the order of
            their digits, read as a number in base 3.
        numbers: Arrays ``(6561,)`` by name, in the same order: ``parameters``, ``macs``, and
            optionally ``deviation``, the standard deviation of an architecture's accuracies in
            percentage points.
    """

    default_epochs: ClassVar[int] = 50

    def __init__(self, columns: Mapping[str, Values], numbers: Mapping[str, Values]) -> None:
        super().__init__(columns)
        self.numbers = numbers

    def index(self, arch: str | AnyGenotype) -> int:
        digits = arch if isinstance(arch, str) and arch.isdigit() else arch_of(arch)
        _check(digits)
        return int(digits, 3)

    def arch(self, index: int) -> str:
        return "".join(str(index // 3**place % 3) for place in reversed(range(_BLOCKS)))

    def parameters(self, arch: str | AnyGenotype) -> int:
        """Return the number of parameters of an architecture's network."""
        return int(self.numbers["parameters"][self.index(arch)])

    def macs(self, arch: str | AnyGenotype) -> int:
        """Return the multiply-accumulate operations for one image of 32x32 pixels."""
        return int(self.numbers["macs"][self.index(arch)])


def space() -> Macro:
    """Return the benchmark's space, with networks of the benchmark's size."""
    return Macro(channels=SKELETONS[_SKELETON].channels, skeleton=_SKELETON)


def arch_of(genotype: str | AnyGenotype) -> str:
    """Return the eight digits of a genotype, which may be given as text."""
    parsed = genotype if isinstance(genotype, AnyGenotype) else Genotype.parse(genotype)
    if isinstance(parsed, Genotype) and parsed.depths == _DEPTHS:
        pairs = list(zip(parsed.blocks, _OPERATIONS, strict=True))
        if all(name in names for name, names in pairs):
            return "".join(str(names.index(name)) for name, names in pairs)
    raise ValueError(f"{short_repr(str(parsed))} is not an architecture of NAS-Bench-Macro")


def genotype_of(arch: str) -> Genotype:
    """Return the genotype of eight digits."""
    _check(arch)
    blocks = (names[int(digit)] for digit, names in zip(arch, _OPERATIONS, strict=True))
    return Genotype(tuple(blocks), _DEPTHS)


def load(path: str | Path) -> Table:
    """Read a CSV file, plain or gzip-compressed, or ``nasbench_macro.csv[.gz]`` in a directory."""
    read = read_table(path, _LAYOUT)
    columns = {_ACCURACY: read["mean_acc"]}
    for name, values in read.items():
        if run := _RUN.fullmatch(name):
            columns[f"{_ACCURACY}_run{run[1]}"] = values
    return Table(columns, {_NUMBERS[name]: read[name] for name in _NUMBERS if name in read})


def _check(arch: str) -> None:
    if not re.fullmatch(f"[012]{{{_BLOCKS}}}", arch):
        raise ValueError(
            f"{short_repr(arch)} is not an architecture of NAS-Bench-Macro; the notation is "
            f"{_BLOCKS} digits from 0 to 2"
        )


def _select(header: Sequence[str]) -> dict[str, float]:
    names = [name for name in header if name in _LARGEST or _RUN.fullmatch(name)]
    limits = {name: _LARGEST.get(name, 100.0) for name in names}
    return limits if {"mean_acc", "params", "flops"} <= limits.keys() else {}


_LAYOUT = Layout(
    "NAS-Bench-Macro",
    "nasbench_macro.csv",
    lambda: map("".join, product("012", repeat=_BLOCKS)),
    _select,
    "the columns arch, mean_acc, params, flops",
)
