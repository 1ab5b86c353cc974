"""Which network ``darts.find`` chooses after the final."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darts import find
from darts.finding.candidates import Candidate
from darts.finding.results import Result
from darts.tasks.metrics import CLASSIFICATION_METRICS


def result(name: str, score: float) -> Result:
    origin = "baseline" if name.startswith("baseline") else "evolution"
    return Result(Candidate(name, "family", name, origin), 3, Path(name), {}, score)


@pytest.mark.parametrize(
    ("found", "low", "winner", "doubtful"),
    [
        (0.9, 0.01, "found", None),
        (0.9, -0.01, "baseline1", "found"),
        (0.9, None, "found", None),  # too few samples for an interval
        (0.7, 0.01, "baseline1", None),
    ],
    ids=["clearly better", "perhaps better", "no interval", "worse"],
)
def test_a_found_network_must_be_better_than_by_chance(
    monkeypatch: pytest.MonkeyPatch,
    found: float,
    low: float | None,
    winner: str,
    doubtful: str | None,
) -> None:
    asked: list[Any] = []

    def interval(*runs: list[Path], **options: Any) -> tuple[float, float] | None:
        asked.append((runs, options["metric"]))
        return None if low is None else (low, 0.2)

    monkeypatch.setattr(find, "validation_interval", interval)
    baselines = [result("baseline0", 0.6), result("baseline1", 0.8)]
    # The training of the final is worse than a shorter one of an earlier stage.
    final = [result("found in the final", found - 0.3), result("baseline2", 0.5)]
    final.insert(0, result("found", found))
    trained = {r.run: r for r in [*baselines, *final]}
    metric = "accuracy", CLASSIFICATION_METRICS["accuracy"]
    trainer: Any = SimpleNamespace(results=trained, metric=metric)
    chosen = find.choose(trainer)
    assert chosen.winner.candidate.name == winner
    assert chosen.baseline.candidate.name == "baseline1"
    assert (chosen.doubtful and chosen.doubtful.candidate.name) == doubtful
    if found > 0.8:
        assert asked == [(([Path("found")], [Path("baseline1")]), "accuracy")]
    else:
        assert asked == []
