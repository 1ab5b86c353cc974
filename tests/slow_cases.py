"""Parametrized tests of which only a few cases run every day."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(rows: Iterable[Any], everyday: Collection[Any]) -> list[Any]:
    """Return the rows of a parametrized test, all marked slow except the everyday ones."""
    return [
        row
        if row in everyday
        else pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)
        for row in rows
    ]
