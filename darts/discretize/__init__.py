"""From a trained supernet to a genotype: one function a rule, registered by name."""

from __future__ import annotations

from collections.abc import Callable

from darts.discretize.argmax import argmax
from darts.spaces.genotype import Genotype

DISCRETISERS: dict[str, Callable[..., Genotype]] = {"argmax": argmax}

__all__ = ["DISCRETISERS", "argmax"]
