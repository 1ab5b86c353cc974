"""The end of ``darts.find`` after the race."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from fake_race import FakeExecutor, make_race

from darts.finding import ending
from darts.finding.ending import run_to_the_end
from darts.finding.final_run import PLANNED

TIMED = ("plan.newcomers=2", "methods=[]")


class Peaks(dict[str, int]):
    """All candidates have their best score after a few dozen epochs."""

    def get(self, name: str, default: object = None) -> int:  # type: ignore[override]
        return 3 + zlib.crc32(name.encode()) % 40


@pytest.mark.parametrize("seed", [0, 4, 21, 47])
def test_candidates_and_duels_after_an_exhausted_winner_keep_to_the_budget(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "scoring_seconds", lambda *_: 0.0)
    monkeypatch.setattr(ending, "score_answer", lambda *_: ({}, None))

    def score(name: str, epochs: int) -> float:
        return zlib.crc32(f"{name}{seed}".encode()) / 2**32 * (1.0 if epochs > 20 else 0.6)

    executor = FakeExecutor(scores=score, peaks=Peaks())
    race = make_race(tmp_path, *TIMED, executor=executor)
    conclusion = run_to_the_end(race)
    assert 0.9 <= race.stopwatch.seconds / race.stopwatch.total <= PLANNED
    finals = [job for job in executor.jobs if job.name.startswith("final")]
    words = [word for job in finals for word in job.overrides]
    # If more training does not help, the final run begins anew and ends at the best epoch.
    is_continued = any(word.startswith("max_seconds") for word in words)
    assert not (race.results[conclusion.winner.candidate.name].is_exhausted and is_continued)
