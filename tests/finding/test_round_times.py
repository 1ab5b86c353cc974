"""Predicted times of trainings, from measured steps and complete trainings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darts.finding import rounds
from darts.finding.candidates import Candidate
from darts.finding.decisions import Decisions
from darts.finding.families import Family
from darts.finding.results import Result
from darts.finding.rounds import CONTENTION, LARGER_SPEED, Trainer
from darts.tasks.metrics import CLASSIFICATION_METRICS


@dataclass
class FakeNetworks:
    """Networks whose genotypes are their MACs, or a thousandth of them in the family "wide"."""

    family: Family
    config: str
    data: Any = None

    def costs(self, genotype: str) -> Any:
        return {"macs": float(genotype) * (1000 if self.config == "wide" else 1)}


@dataclass
class Measured:
    """Predicts a second per epoch and 100 MACs, three in "slow", and 300 in "wide"."""

    genotypes: list[str] = field(default_factory=list)

    def __call__(self, genotype: str, config: str, data: Any, *, workers: int) -> float:
        self.genotypes.append(genotype)
        return float(genotype) / 100 * {"slow": 3, "wide": 300}.get(config, 1)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    result = Measured()
    monkeypatch.setattr(rounds, "measure_seconds_per_epoch", result)
    return result


@pytest.fixture
def trainer(tmp_path: Path, measured: Measured) -> Trainer:
    names = ("fast", "slow", "other", "wide")
    networks: Any = {name: FakeNetworks(Family(name, "macro", {}, {}), name) for name in names}
    console: Any = SimpleNamespace(info=lambda text: None)
    stopwatch: Any = SimpleNamespace(left=1000.0)
    fake: Any = None
    metric = ("accuracy", CLASSIFICATION_METRICS["accuracy"])
    return Trainer(
        tmp_path, networks, metric, 100, "time", fake, 2, console, fake, stopwatch,
        Decisions(tmp_path / "decisions.json"), fake,
    )  # fmt: skip


def candidate(family: str, macs: int) -> Candidate:
    return Candidate(f"{family}-{macs}", family, str(macs), "baseline")


def add(
    trainer: Trainer, family: str, macs: int, seconds_per_epoch: float, epochs: int = 4
) -> None:
    summary = {"seconds": epochs * seconds_per_epoch}
    result = Result(candidate(family, macs), epochs, Path(), summary, 0.5)
    trainer.results[result.run] = result


def test_before_any_training_workers_are_assumed_to_slow_each_other_down(trainer: Trainer) -> None:
    assert trainer.seconds_per_epoch(candidate("fast", 200)) == pytest.approx(2 * CONTENTION)
    trainer.workers = 1
    assert trainer.seconds_per_epoch(candidate("fast", 200)) == pytest.approx(2)


def test_the_slowest_training_of_a_family_predicts_its_other_networks(trainer: Trainer) -> None:
    add(trainer, "fast", 100, 1.2)
    add(trainer, "fast", 300, 4.5)  # 1.5 times as long as predicted
    add(trainer, "slow", 100, 6.0)  # twice
    assert trainer.seconds_per_epoch(candidate("fast", 200)) == pytest.approx(1.5 * 2)
    assert trainer.seconds_per_epoch(candidate("slow", 200)) == pytest.approx(2 * 6)
    assert trainer.seconds_per_epoch(candidate("other", 100)) == pytest.approx(1.5)  # the median


def test_a_trained_network_is_not_predicted(trainer: Trainer, measured: Measured) -> None:
    add(trainer, "fast", 100, 9.0, epochs=2)
    add(trainer, "fast", 100, 7.0, epochs=8)
    assert trainer.seconds_per_epoch(candidate("fast", 100)) == 7.0
    assert measured.genotypes == []


def entered(trainer: Trainer, candidates: list[Candidate], monkeypatch: Any) -> list[str]:
    """Return which candidates a round of 50 seconds trains."""
    names: list[str] = []

    def train(self: Trainer, entries: list[tuple[Candidate, int]]) -> list[Result]:
        names.extend(candidate.name for candidate, _ in entries)
        return [Result(c, n, Path(), {}, 0.5) for c, n in entries]

    monkeypatch.setattr(Trainer, "train_candidates", train)
    trainer.round("baselines", candidates, 50.0)
    return names


def test_networks_that_are_far_too_large_are_not_measured(
    trainer: Trainer, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of the wide network take at least 3 * 1,000 / 4 seconds."""
    names = entered(trainer, [candidate("fast", 100), candidate("wide", 100)], monkeypatch)
    assert measured.genotypes == ["100"]
    assert names == ["fast-100"]


def test_a_network_that_may_fit_is_measured(
    trainer: Trainer, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of the wide network may take 3 * 10 * 13 / 4 = 97.5 of 100 seconds."""
    macs = round(13 * LARGER_SPEED / 4)
    entered(trainer, [candidate("fast", macs), candidate("wide", macs)], monkeypatch)
    assert measured.genotypes == [str(macs)] * 2


def test_other_architectures_are_measured_however_many_macs_they_have(
    trainer: Trainer, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bag of words has 256 MACs and needs as long per epoch as a convolution with 17,000."""
    entered(trainer, [candidate("fast", 1), candidate("fast", 90_000)], monkeypatch)
    assert measured.genotypes == ["1", "90000"]


def test_the_first_network_is_always_trained(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entered(trainer, [candidate("fast", 90_000)], monkeypatch) == ["fast-90000"]
