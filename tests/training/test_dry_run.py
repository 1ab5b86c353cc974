"""Costs of networks, and dry runs, which extrapolate a few measured steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_loader import FakeLoader
from torch import nn

from darts.config.options import TrackingConfig
from darts.tracking.energy import Energy
from darts.training import dry_run as module
from darts.training.cost import count_macs, count_parameters
from darts.training.distributed import Ranks
from darts.training.dry_run import CostEstimate, estimate_cost
from darts.training.loop import EpochReport, Recipe, StepReport


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the dry run and of an energy meter that measures 50 watts."""
    clock = SimpleNamespace(now=0.0)  # it advances only when a test changes it

    class Meter:
        def __init__(self, *_: object, **__: object) -> None:
            self.since = clock.now

        def read(self) -> Energy:
            seconds = clock.now - self.since
            return Energy(seconds, 50 * seconds, "rapl")

    monkeypatch.setattr(module, "synchronized_clock", lambda device: clock.now)
    monkeypatch.setattr(module, "EnergyMeter", Meter)
    return clock


class FakeRecipe(Recipe):
    """A recipe whose steps take a given time on a clock."""

    def __init__(
        self, clock: SimpleNamespace, *, steps: int, step_seconds: Callable[[int, int], float]
    ) -> None:
        tracking = TrackingConfig(tensorboard=False, figures=False)
        tracking.energy.gco2_per_kwh = 360.0
        self.config: Any = SimpleNamespace(tracking=tracking)
        self.run: Any = SimpleNamespace(ranks=Ranks("cpu"))
        self.state: Any = SimpleNamespace(train_loader=FakeLoader(steps), step=0)
        self.clock, self.step_seconds = clock, step_seconds
        self.taken: list[tuple[int, int]] = []

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def train_step(self, batch: Any) -> StepReport:
        assert batch == (self.epoch, self.state.step)
        self.taken.append(batch)
        self.clock.now += self.step_seconds(*batch)
        return StepReport(1, {}, {})

    def end_epoch(self, epoch: int) -> EpochReport:
        raise AssertionError("a dry run ends no epoch")

    def write_epoch(self, epoch: int) -> None:
        raise AssertionError("a dry run writes nothing")


def estimate(recipe: FakeRecipe, epochs: dict[int, int], **options: Any) -> CostEstimate:
    """Return the estimate of a recipe, by default without validation data."""
    return estimate_cost(recipe, epochs, **({"valid_loader": None, "score": list} | options))


def test_the_median_step_is_extrapolated_after_a_warm_up(clock: SimpleNamespace) -> None:
    durations = iter([6.0, 0.25, 0.25, 9.0, 0.2, 0.25])  # the median ignores the 9
    recipe = FakeRecipe(clock, steps=100, step_seconds=lambda *_: next(durations))
    cost = estimate(recipe, {0: 50})
    assert recipe.taken == [(0, step) for step in range(6)]
    assert (cost.steps, cost.epochs, cost.seconds_per_step) == (5000, 50, 0.25)
    seconds = 50 * 100 * 0.25
    assert cost.estimated_seconds == seconds
    assert cost.estimated_joules == pytest.approx(50 * seconds)
    assert cost.joules_source == "rapl"
    assert cost.estimated_gco2e == pytest.approx(50 * seconds / 1e4)  # 360 g for 3.6 MJ
    assert cost.peak_memory_mb > 16


def test_slow_steps_are_measured_once_after_a_warm_up(clock: SimpleNamespace) -> None:
    recipe = FakeRecipe(clock, steps=100, step_seconds=lambda *_: 100.0)
    assert estimate(recipe, {0: 1}).estimated_seconds == 10_000
    assert len(recipe.taken) == 2


@pytest.mark.parametrize(("batches", "scored"), [(100, 2), (1, 1), (0, 0)])
def test_validation_is_extrapolated_from_batches(
    clock: SimpleNamespace, batches: int, scored: int
) -> None:
    def score(data: Iterable[Any]) -> None:
        data = list(data)
        assert data == [(0, step) for step in range(scored)]
        clock.now += 0.5 * len(data)

    recipe = FakeRecipe(clock, steps=10, step_seconds=lambda *_: 1.0)
    cost = estimate(recipe, {0: 2}, valid_loader=FakeLoader(batches), score=score)
    assert cost.estimated_seconds == 2 * (10 * 1.0 + batches * 0.5)
    assert cost.seconds_per_step == 1.0


def test_each_kind_of_epoch_is_measured(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three epochs have steps of one second; two have steps of four seconds."""
    recipe = FakeRecipe(clock, steps=10, step_seconds=lambda epoch, _: 1.0 if epoch < 3 else 4.0)
    cost = estimate(recipe, {0: 3, 3: 2}, valid_loader=FakeLoader(1))
    assert cost.estimated_seconds == 3 * 10 * 1 + 2 * 10 * 4
    assert cost.seconds_per_step == pytest.approx((3 * 1 + 2 * 4) / 5)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "measuring steps of epoch kind 1 of 2",
        "measuring validation",
        "measuring steps of epoch kind 2 of 2",
        "measuring validation",
    ]


def test_all_ranks_take_the_steps_of_one(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that takes more steps than the others would wait for them forever."""
    recipe = FakeRecipe(clock, steps=9, step_seconds=lambda *_: 1.0)
    others = iter([False, False, True])
    monkeypatch.setattr(recipe.run.ranks, "all_reduce_max", lambda own: own or next(others))
    estimate(recipe, {0: 3})
    assert len(recipe.taken) == 3  # with the warm-up step


def test_macs_and_parameters_of_layers_equal_a_count_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # on 10x12
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False),  # to 5x6
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 7),
    )
    by_hand = 10 * 12 * 8 * 3 * 9 + 5 * 6 * 8 * 25 + 5 * 6 * 16 * 8 + 16 * 7
    assert count_macs(net, torch.zeros(1, 3, 10, 12)) == by_hand
    weights = 8 * 3 * 9 + 2 * 8 + 8 * 25 + (16 * 8 + 16) + (16 * 7 + 7)
    assert count_parameters(net.parameters()) == weights
    assert count_parameters([]) == 0
