"""Selection of test cases for the everyday run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet


def mark_slow(cases: Iterable[tuple[Any, ...]], *, except_every: int) -> list[ParameterSet]:
    """Mark the cases ``slow``, except the first, the last and every n-th one.

    Choose n without a common divisor with the sizes of the parametrized axes, so that the remaining
    cases cover each value of each axis.
    """
    all_cases = list(cases)
    return [
        pytest.param(*case)
        if index % except_every == 0 or index == len(all_cases) - 1
        else pytest.param(*case, marks=pytest.mark.slow)
        for index, case in enumerate(all_cases)
    ]
