"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The nets here are so small that threads cost more than they give, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def accuracy(index: int) -> float:
    """Of the made-up table: by the digits of an architecture's number, some better than others."""
    digits = [index // 5**place % 5 for place in range(6)]
    return 50 + sum((3, 4, 1, 8, 2)[digit] * (place + 1) / 5 for place, digit in enumerate(digits))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark in which the test accuracy is a function of the validation accuracy."""
    from darts.spaces.nas201 import Genotype

    path = tmp_path_factory.mktemp("table") / "table.csv"
    lines = ["arch,cifar10_val_ep12,cifar10_test_ep200"]
    for index in range(15625):
        value = accuracy(index)
        lines.append(f"{Genotype.from_index(index)},{value - 10:.4f},{value:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path
