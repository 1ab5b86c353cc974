"""Errors of data sets that cannot be loaded."""

from __future__ import annotations

from typing import Any

import pytest

from darts.data import load


def load_error(message: str, name: str, **options: Any) -> str:
    """Check that a data set is refused in one line that matches; return the line."""
    with pytest.raises(ValueError, match=message) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
