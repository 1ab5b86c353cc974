"""Which searches and retrainings can run as CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from darts.config import RetrainConfig, SearchConfig, WeightOptimizerConfig, compose
from darts.methods.relaxation import Softmax
from darts.methods.relaxation_sampled import Concrete, Gumbel
from darts.plugins import conf_folder
from darts.recipes.checks import retrain_obstacle, search_obstacle
from darts.registry import can_capture
from darts.tasks.classification import Classification
from darts.training.distributed import Ranks
from darts.training.graphs import GraphedStep

METHODS = sorted(path.stem for path in (conf_folder() / "method").glob("*.yaml"))
OBSTACLES = {
    "gdas": "relaxation=gumbel",
    "lambda_darts": "regularizer=alignment",
    "oles": "freezing=gradient_matching",
    "random_sharing": "relaxation=uniform",
    "sdarts_adv": "perturbation=adversarial",
}


@pytest.fixture(scope="module")
def config() -> SearchConfig:
    found: SearchConfig = compose("search", ["dataset=synthetic"])
    assert search_obstacle(found, Ranks("cpu")) is None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_methods_that_cannot_be_captured_name_their_component(method: str) -> None:
    expected = OBSTACLES.get(method)
    config: SearchConfig = compose("search", ["dataset=synthetic", f"method={method}"])
    found = search_obstacle(config, Ranks("cpu"))
    assert found == (None if expected is None else f"{expected} does not support them")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"precision": "fp16"}, "precision=fp16: the CPU reads whether a gradient overflows"),
        ({"memory": "checkpoint"}, "memory=checkpoint: it saves and restores"),
        ({"task": Classification(loss="own")}, "task.loss=own is your own code"),
        ({"relaxation": Gumbel()}, "relaxation=gumbel does not support them"),
        ({"relaxation": Concrete()}, ""),
        ({"precision": "bf16"}, ""),
    ],
)
def test_settings_that_cannot_be_captured_are_named(
    config: SearchConfig, change: dict[str, Any], reason: str
) -> None:
    found = search_obstacle(replace(config, **change), Ranks("cpu"))
    assert (found or "").startswith(reason)
    assert (found is None) == (not reason)


def test_several_ranks_are_an_obstacle(config: SearchConfig) -> None:
    ranks = Ranks("cpu")
    ranks.size = 2
    assert search_obstacle(config, ranks) == "there are several ranks"


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
    ],
)
def test_settings_of_a_retraining_that_cannot_be_captured_are_named(
    change: dict[str, Any], reason: str | None
) -> None:
    config: RetrainConfig = compose("retrain", ["dataset=synthetic", "genotype=DARTS_V2"])
    found = retrain_obstacle(replace(config, **change), Ranks("cpu"))
    assert found is None if reason is None else (found or "").startswith(reason)


@dataclass
class CountingSoftmax(Softmax):
    """Could count its calls in Python, which a graph would not repeat."""

    name: str = "counting"


def test_a_subclass_does_not_inherit_the_declaration() -> None:
    assert can_capture(Softmax())
    assert not can_capture(CountingSoftmax())


def test_graphs_change_nothing_on_the_cpu() -> None:
    calls, lines = list[Any](), list[str]()
    step: GraphedStep[None] = GraphedStep(
        lambda *batches: calls.append(batches),
        torch.device("cpu"),
        enabled=True,
        obstacle="of a rule",
    )
    step.connect(lines.append)
    batch = (torch.zeros(1), torch.zeros(1))
    for _ in range(3):
        step(batch, batch)
    assert calls == [(batch, batch)] * 3
    assert lines == []
