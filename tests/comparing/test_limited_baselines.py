"""Random baselines draw architectures within the limits of the searches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch

from darts.comparing.plan import ComparisonPlan
from darts.config import CompareConfig, compose
from darts.training.cost import count_macs

WORDS = ("dataset=synthetic", "dataset.samples=64", "space=nas201", "space.channels=2")


def macs_of_random_genotypes(*words: str) -> list[int]:
    config = cast("CompareConfig", compose("compare", [*WORDS, "space.cells=1", *words]))
    plan = ComparisonPlan(config, Path("unused"))
    example = torch.zeros(1, 3, 8, 8)
    sizes: dict[str, Any] = {"classes": 10, "in_channels": 3}
    return [
        count_macs(plan.space.network(genotype, **sizes), example)
        for genotype in islice(plan.random_genotypes(0), 20)
    ]


def test_random_architectures_are_within_the_limits_of_the_searches() -> None:
    free = macs_of_random_genotypes()
    limit = sorted(free)[5]
    limited = macs_of_random_genotypes(f"search.limit.macs={limit}")
    assert max(free) > limit >= max(limited)
    assert len(set(limited)) > 1
