"""A dry run extrapolates the measured steps and epoch ends of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darts.config import TrackingConfig
from darts.tracking import Energy
from darts.training import dry_run as module
from darts.training.distributed import Ranks
from darts.training.dry_run import CostEstimate, ExtrapolatedLoader, FinalWork, estimate_cost
from darts.training.loop import EpochReport, Recipe, StepReport

CPU = torch.device("cpu")


class Clock:
    """A clock that advances only when a test spends time."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the dry run and of an energy meter that measures 50 watts."""
    clock = Clock()

    class Meter:
        def start(self) -> None:
            self.since = clock.now

        def read(self) -> Energy:
            seconds = clock.now - self.since
            return Energy(seconds, 50 * seconds, "rapl")

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(module, "energy_meter", lambda *_: Meter())
    return clock


class FakeLoader:
    """A loader of numbered batches."""

    batch_share = (0, 4)

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def batch(self, epoch: int, step: int) -> Any:
        return epoch, step

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        return iter([(epoch, step) for step in range(first_step, self.steps)])


class FakeRecipe(Recipe):
    """A recipe whose steps and epoch ends take a given time.

    Args:
        clock: Spends the seconds.
        steps: Steps per epoch.
        step_seconds: Returns the seconds of a step, given epoch and step.
        end_seconds: Returns the seconds of the end of an epoch.
        epoch_kind, step_kind: As in ``Recipe``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        steps: int,
        step_seconds: Callable[[int, int], float],
        end_seconds: Callable[[int], float] = lambda epoch: 0.0,
        epoch_kind: Callable[[int], Any] = lambda epoch: None,
        step_kind: Callable[[int, int], Any] = lambda epoch, step: None,
    ) -> None:
        tracking = TrackingConfig(tensorboard=False, figures=False)
        tracking.energy.gco2_per_kwh = 360.0
        self.config: Any = SimpleNamespace(tracking=tracking)
        self.run: Any = SimpleNamespace(ranks=Ranks("cpu"))
        self.state: Any = SimpleNamespace(train_loader=FakeLoader(steps), step=0)
        self.score_loader = None
        self.clock, self.step_seconds, self.end_seconds = clock, step_seconds, end_seconds
        self.epoch_kind, self.step_kind = epoch_kind, step_kind  # type: ignore[method-assign]
        self.taken: list[tuple[int, int]] = []
        self.ended: list[int] = []

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def train_step(self, batch: Any) -> StepReport:
        assert batch == (self.epoch, self.state.step)
        self.taken.append(batch)
        self.clock.spend(self.step_seconds(*batch))
        return StepReport(1, {}, {})

    def end_epoch(self, epoch: int) -> EpochReport:
        assert epoch == self.epoch
        self.ended.append(epoch)
        self.clock.spend(self.end_seconds(epoch))
        return EpochReport(lr=0.1)

    def write_epoch(self, epoch: int) -> None:
        raise AssertionError("a dry run writes nothing")


def test_the_median_step_is_extrapolated_after_a_warm_up(clock: Clock) -> None:
    seconds = iter([6.0, 0.25, 0.25, 9.0, 0.2, 0.25])  # the median ignores the 9
    recipe = FakeRecipe(
        clock, steps=100, step_seconds=lambda *_: next(seconds), end_seconds=lambda _: 5.0
    )
    estimate = estimate_cost(recipe, epochs=50)
    assert recipe.taken == [(0, step) for step in range(6)]
    assert recipe.ended == [0]
    assert (estimate.steps, estimate.epochs, estimate.seconds_per_step) == (5000, 50, 0.25)
    assert estimate.seconds == 50 * (100 * 0.25 + 5.0)
    assert estimate.finish_seconds == 0
    assert estimate.joules == pytest.approx(50 * estimate.seconds)
    assert estimate.joules_source == "rapl"
    assert estimate.gco2e == pytest.approx(50 * estimate.seconds / 1e4)  # 360 g for 3.6 MJ
    assert estimate.peak_memory_mb >= estimate.base_memory_mb > 16


def test_slow_steps_are_measured_once(clock: Clock) -> None:
    recipe = FakeRecipe(clock, steps=100, step_seconds=lambda *_: 100.0)
    assert estimate_cost(recipe, epochs=1).seconds == 10_000
    assert len(recipe.taken) == 1


class CheckedRecipe(FakeRecipe):
    """A recipe with a collapse check of 7 seconds in every epoch; a dry run skips 4 of them."""

    share: float | None = None
    skipped = 0.0

    @property
    def skipped_seconds(self) -> float:
        return self.skipped

    @property
    def collapse_share(self) -> float | None:
        return self.share

    def end_epoch(self, epoch: int) -> EpochReport:
        assert self.monitor is not None
        with self.monitor("collapse"):
            self.clock.spend(3.0)
        self.skipped += 4.0
        return super().end_epoch(epoch)


@pytest.mark.parametrize(("share", "checks"), [(None, 70.0), (0.2, 30.0), (0.5, 70.0)])
def test_collapse_checks_take_at_most_their_share(
    clock: Clock, share: float | None, checks: float
) -> None:
    recipe = CheckedRecipe(
        clock, steps=10, step_seconds=lambda *_: 1.0, end_seconds=lambda epoch: 2.0
    )
    recipe.share = share
    assert estimate_cost(recipe, epochs=10).seconds == pytest.approx(10 * (10 + 2) + checks)


def test_each_measurement_is_announced(clock: Clock) -> None:
    recipe = FakeRecipe(clock, steps=3, step_seconds=lambda *_: 1.0)
    lines: list[str] = []
    estimate_cost(recipe, epochs=2, show=lines.append, final_work=lambda: [FinalWork(1, int)])
    assert lines == [
        "measuring steps of epoch kind 1 of 1",
        "measuring the end of an epoch",
        "measuring the work after the last epoch",
    ]


def test_slow_batches_of_a_pass_are_measured_once(clock: Clock) -> None:
    loader = ExtrapolatedLoader(FakeLoader(10), CPU)  # type: ignore[arg-type]
    for _ in loader.epoch(0):
        clock.spend(20.0)
    assert clock.now == 20.0
    assert loader.skipped_seconds == 180.0


def test_an_epoch_of_one_step_is_repeated(clock: Clock) -> None:
    recipe = FakeRecipe(clock, steps=1, step_seconds=lambda *_: 1.0)
    estimate_cost(recipe, epochs=1)
    assert recipe.taken == [(0, 0)] * 6


def test_each_kind_of_epoch_is_measured(clock: Clock) -> None:
    """Three epochs have steps of one second; two have steps of four seconds and a longer end."""
    recipe = FakeRecipe(
        clock,
        steps=10,
        step_seconds=lambda epoch, _: 1.0 if epoch < 3 else 4.0,
        end_seconds=lambda epoch: 2.0 if epoch < 3 else 7.0,
        epoch_kind=lambda epoch: epoch < 3,
        step_kind=lambda epoch, _: epoch < 3,
    )
    estimate = estimate_cost(recipe, epochs=5)
    assert estimate.seconds == 3 * (10 * 1 + 2) + 2 * (10 * 4 + 7)
    assert estimate.seconds_per_step == pytest.approx((3 * 1 + 2 * 4) / 5)
    assert recipe.ended == [0, 3]


def test_a_kind_of_step_is_measured_once_for_all_kinds_of_epochs(clock: Clock) -> None:
    recipe = FakeRecipe(
        clock,
        steps=10,
        step_seconds=lambda *_: 1.0,
        end_seconds=lambda epoch: 100.0 if epoch == 3 else 0.0,
        epoch_kind=lambda epoch: epoch == 3,
    )
    assert estimate_cost(recipe, epochs=4).seconds == 4 * 10 + 100
    assert len(recipe.taken) == 6


def test_rare_steps_are_measured_once_and_counted(clock: Clock) -> None:
    """Every seventh step takes 11 seconds instead of 1."""

    def is_rare(epoch: int, step: int) -> bool:
        return (epoch * 10 + step) % 7 == 0

    recipe = FakeRecipe(
        clock, steps=10, step_seconds=lambda e, s: 11.0 if is_rare(e, s) else 1.0, step_kind=is_rare
    )
    rare = sum(is_rare(epoch, step) for epoch in range(3) for step in range(10))
    assert estimate_cost(recipe, epochs=3).seconds == 30 + 10 * rare
    assert sum(is_rare(*position) for position in recipe.taken) == 1


def test_final_work_is_measured_after_the_last_epoch(clock: Clock) -> None:
    """The result ignores the warm-up and, as a median, one slow measurement."""
    seconds = iter([5.0, 0.5, 0.5, 7.0, 0.5, 0.5])
    recipe = FakeRecipe(
        clock, steps=10, step_seconds=lambda *_: 0.0, epoch_kind=lambda epoch: epoch < 3
    )

    def work() -> None:
        assert recipe.ended == [0, 3]
        clock.spend(next(seconds))

    def never() -> None:
        raise AssertionError

    estimate = estimate_cost(
        recipe, epochs=5, final_work=lambda: [FinalWork(1000, work), FinalWork(0, never)]
    )
    assert estimate.seconds == estimate.finish_seconds == 500
    assert list(seconds) == []


def test_all_ranks_take_as_many_steps_as_the_slowest(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that takes more steps than the others would wait for them forever."""

    def steps_taken(factor: int) -> int:
        """Return the number of steps if another rank needs ``factor`` times as long."""
        recipe = FakeRecipe(clock, steps=9, step_seconds=lambda *_: 1.0)
        monkeypatch.setattr(recipe.run.ranks, "all_reduce_max", lambda own: factor * own)
        estimate_cost(recipe, epochs=3)
        return len(recipe.taken)

    # The numbers include the warm-up step.
    assert (steps_taken(1), steps_taken(7), steps_taken(100)) == (6, 3, 1)


@pytest.mark.parametrize(("steps", "first_step"), [(10, 0), (10, 3), (3, 0), (5, 4)])
def test_skipped_batches_are_accounted_for(clock: Clock, steps: int, first_step: int) -> None:
    loader = ExtrapolatedLoader(FakeLoader(steps), CPU)  # type: ignore[arg-type]
    delivered = 0
    for batch in loader.epoch(0, first_step):
        assert batch == (0, first_step + delivered)  # type: ignore[comparison-overlap]
        delivered += 1
        clock.spend(1.0)
    assert delivered == min(4, steps - first_step)
    assert loader.skipped_seconds == 1.0 * (steps - first_step - delivered)


def test_an_abandoned_pass_counts_no_skipped_batches(clock: Clock) -> None:
    loader = ExtrapolatedLoader(FakeLoader(10), CPU)  # type: ignore[arg-type]
    for _ in loader.epoch(0):
        clock.spend(2.0)
        break
    assert loader.skipped_seconds == 0


def test_skipped_batches_are_part_of_the_estimate(clock: Clock) -> None:
    recipe = FakeRecipe(clock, steps=1, step_seconds=lambda *_: 0.0)
    loader = ExtrapolatedLoader(FakeLoader(100), CPU)  # type: ignore[arg-type]
    recipe.score_loader = loader

    def score(epoch: int) -> float:
        for _ in loader.epoch(0):
            clock.spend(0.5)
        return 3.0

    recipe.end_seconds = score
    estimate: CostEstimate = estimate_cost(recipe, epochs=2)
    assert estimate.seconds == 2 * (100 * 0.5 + 3)
