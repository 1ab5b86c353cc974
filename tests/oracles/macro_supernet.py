"""The oracle of ``darts.spaces.macro.Supernet``, which runs one candidate after the other.

Both have the same state dicts and initial weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from darts.spaces.macro.skeleton import InvertedResidual
from darts.spaces.macro.supernet import MixedBlock, Supernet


class EdgewiseBlock(MixedBlock):
    """All candidates of one block; none of them runs together with others."""

    def inverted_residuals(self, active: Sequence[int]) -> dict[int, InvertedResidual]:
        return {}


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseBlock``; the arguments are those of ``Supernet``."""

    block_class = EdgewiseBlock
