"""The choice between float32 and bfloat16 by measured steps."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from darts.recipes import timing


@pytest.mark.parametrize(("bf16", "faster"), [([1.9, 9.0, 9.0], "bf16"), ([2.1, 2.1], "fp32")])
def test_other_programs_do_not_change_the_precision(
    monkeypatch: pytest.MonkeyPatch, bf16: list[float], faster: str
) -> None:
    """Another program makes steps slower, but not all of them."""
    seconds = {"fp32": cycle([2.0]), "bf16": cycle(bf16)}
    monkeypatch.setattr(timing, "_training_step", lambda p, *_: lambda: next(seconds[p]))
    nothing: Any = None
    assert timing.faster_precision(nothing, nothing, nothing) == faster
