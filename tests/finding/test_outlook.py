"""Time of the stages, and what a longer budget would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darts.finding.budget import MARGIN
from darts.finding.candidates import Candidate
from darts.finding.decisions import Decisions
from darts.finding.outlook import StageTimes, describe_times, outlook
from darts.finding.results import Result


class Watch:
    """A stopwatch that is set by hand."""

    seconds = 0.0


def at(times: StageTimes, watch: Watch, **begins: float) -> None:
    for stage, watch.seconds in begins.items():
        times.begin(stage)


def test_the_times_of_the_stages_add_up_also_after_a_resume(tmp_path: Path) -> None:
    watch: Any = Watch()
    times = StageTimes(Decisions(tmp_path / "decisions.json"), watch)
    at(times, watch, baselines=4.0, proposals=20.0, race=21.0)
    watch.seconds = 50.0  # killed in the race

    times = StageTimes(Decisions(tmp_path / "decisions.json"), watch)
    at(times, watch, baselines=50.0, proposals=50.1, race=50.2, final=70.0)
    watch.seconds = 100.0
    seconds = times.seconds()
    assert seconds == {
        "preparation": 4.0, "baselines": 16.0, "proposals": 1.0, "race": 49.0, "final": 30.0
    }  # fmt: skip
    assert sum(seconds.values()) == watch.seconds


def test_times_are_described_in_one_line() -> None:
    times = {"preparation": 4.2, "race": 0.3, "final": 130.0}
    assert describe_times(times) == "preparation 0:00:04, final 0:02:10"


def trained(epochs: int, seconds_per_epoch: float) -> Result:
    candidate = Candidate("net", "family", "genotype", "baseline")
    return Result(candidate, epochs, Path(), {"seconds": epochs * seconds_per_epoch}, 0.5)


@pytest.mark.parametrize(
    ("workers", "minutes"),
    [(1, 100 * (2 + 4)), (2, 100 * 4), (8, 100 * 4)],  # one training occupies one worker
)
def test_the_budget_for_the_longest_useful_training(workers: int, minutes: int) -> None:
    final = [trained(20, 2 * 60), trained(10, 4 * 60)]
    text = outlook(final, 100, skipped=[], workers=workers, share=1 / MARGIN)
    assert f"about {minutes / 60:.2g} hours, the" in text
    assert "100 epochs, the longest useful training, instead of at most 20." in text


def test_short_budgets_are_in_minutes_and_name_the_skipped_stages() -> None:
    text = outlook(
        [trained(20, 6.0)], 100, skipped=["race", "settings"], workers=2, share=0.5 / MARGIN
    )
    assert text.startswith("With a budget of about 20 minutes,")
    assert text.endswith("at most 20; race and settings would not be skipped.")


def test_after_the_longest_useful_training_only_the_choice_can_improve() -> None:
    text = outlook([trained(30, 1.0)], 30, skipped=[], workers=1, share=0.35)
    assert text == (
        "The final had time for the longest useful training. A longer budget would compare more "
        "networks."
    )
