"""Which retrainings can run as CUDA graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darts.config import RetrainConfig, WeightOptimizerConfig, compose
from darts.recipes.checks import retrain_obstacle
from darts.tasks.classification import Classification
from darts.training.distributed import Ranks


@pytest.fixture(scope="module")
def config() -> RetrainConfig:
    found: RetrainConfig = compose("retrain", ["dataset=synthetic", "genotype=DARTS_V2"])
    return found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"warmup": 0.1}, "warmup=0.1: the learning rate changes with each step"),
        ({"ema_decay": 0.9}, "the CPU reads how many steps are averaged"),
        ({"averaging_patience": 3}, "the CPU reads how many steps are averaged"),
        ({"average_power": 8.0}, "the CPU reads how many steps are averaged"),
        ({"optimizer": WeightOptimizerConfig(schedule="stable")}, "optimizer.schedule=stable"),
        ({"precision": "fp16"}, "precision=fp16: the CPU reads whether a gradient overflows"),
        ({"task": Classification(loss="own")}, "task.loss=own is your own code"),
    ],
)
def test_settings_that_cannot_be_captured_are_named(
    config: RetrainConfig, change: dict[str, Any], reason: str | None
) -> None:
    found = retrain_obstacle(replace(config, **change), Ranks("cpu"))
    assert found is None if reason is None else (found or "").startswith(reason)
