"""What ``darts find`` says of its result."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_race import SHORT, make_race

from darts.find_output import outlook
from darts.finding.candidates import Start
from darts.finding.conclusion import Conclusion
from darts.finding.ensemble import EnsembleResult
from darts.finding.results import Result
from darts.recipes.gain import Gain


def result(name: str, *, baseline: bool = True, augments: bool = False, epochs: int = 3) -> Result:
    setting = SimpleNamespace(augments=augments, name="default")
    candidate: Any = SimpleNamespace(
        name=name,
        family="convnet",
        genotype="{}",
        setting=setting,
        start=Start(),
        moves=(),
        is_baseline=baseline,
        origin="baseline" if baseline else "found",
    )
    return Result(candidate, (), {"seconds": 60.0, "epochs": epochs, "epoch": epochs}, 0.8)


def conclusion(winner: Result, **changes: Any) -> Conclusion:
    values: dict[str, Any] = {"final": None, "test": None, "gain": None, "metric": "accuracy"}
    values |= {"varied": False, "doubtful": False, "ensemble": None}
    return Conclusion(winner, result("plain"), **values | changes)


def ensemble(names: tuple[str, ...]) -> EnsembleResult:
    costs = {"ensemble_parameters": 30.0, "single_parameters": 10.0}
    return EnsembleResult(Path("run"), "accuracy", 0.8, dict.fromkeys(names, 1), len(names), costs)


def test_the_verdict_names_the_network_that_is_the_result() -> None:
    text = conclusion(result("plain+flip", augments=True)).verdict()
    assert text.startswith("The baseline plain+flip is the result: no other architectures were")
    assert text.endswith(
        "more varied samples than plain, whose validation score is not significantly better."
    )
    assert "varied" not in conclusion(result("plain")).verdict()
    assert "varied" not in conclusion(result("plain", augments=True)).verdict()


def test_the_best_network_of_an_ensemble_is_not_called_the_result() -> None:
    averaged = conclusion(result("plain"), ensemble=ensemble(("plain", "other")))
    assert averaged.verdict().startswith("The baseline plain is the best single network: ")
    alone = conclusion(result("plain"), ensemble=ensemble(("plain",)))
    assert alone.verdict().startswith("The baseline plain is the result: ")


@pytest.mark.parametrize(
    ("low", "high", "end"),
    [
        (0.01, 0.03, "+2 points (95 % interval +1 to +3) on test data."),
        (-0.01, 0.05, "+2 points (95 % interval -1 to +5) on test data, which may be chance."),
        (None, None, "+2 points on test data, which may be chance."),
    ],
)
def test_a_found_network_is_compared_with_the_best_baseline(
    low: float | None, high: float | None, end: str
) -> None:
    gain = Gain({}, {}, 0.02, low, high, 100)
    text = conclusion(result("found", baseline=False), gain=gain).verdict()
    assert text == (
        f"After 0:01:00 of training each, the found network minus the baseline plain is {end}"
    )


def test_an_ensemble_says_if_it_is_worse_than_its_best_network() -> None:
    gain = Gain({"accuracy": 0.72}, {"accuracy": 0.745}, -0.025, -0.04, -0.01, 400)
    values = ensemble(("plain", "other")).summary(gain)
    assert str(values["ensemble_note"]).endswith(
        "50 % plain, 50 % other: 3.0 times the parameters of the best single network. Its "
        "improvement over this network in test_accuracy is -2.5 points (95 % interval -4 to -1)."
    )
    assert values["ensemble_parameters"] == 30
    assert "ensemble_parameters" not in ensemble(("plain",)).summary(gain)


def test_the_outlook_says_when_the_validation_score_was_measured(tmp_path: Path) -> None:
    race = make_race(tmp_path, *SHORT)
    winner, final = result("plain", epochs=1), result("plain")
    expected = "The winner may still improve after 1 epoch; set plan.epochs."
    assert outlook(race, conclusion(winner)) == expected
    assert outlook(race, conclusion(winner, final=final)) == expected
    unscored = Result(final.candidate, (), final.summary, math.nan)
    before = "The validation score is from before the final run. "
    assert outlook(race, conclusion(winner, final=unscored)) == before + expected


def test_the_summary_says_how_a_found_network_came_about() -> None:
    baseline = result("plain")
    moves = ("wider stage 2", "head max_3")
    candidate = result("convnet-found-3", baseline=False).candidate
    candidate.moves = moves
    sizes = {"parameters": 1, "macs": 2, "flops": 4, "device": "cpu"}
    winner = replace(baseline, candidate=candidate, summary={**baseline.summary, **sizes})
    known = replace(baseline, summary={**baseline.summary, **sizes})
    values = vars(conclusion(winner)) | {"baseline": known}
    summary = Conclusion(**values | {"search_gain": [0.02, -0.01, 0.05]}).summary()
    assert (summary["origin"], summary["found_moves"]) == ("found", "wider stage 2; head max_3")
    assert [summary[f"search_gain{end}"] for end in ("", "_low", "_high")] == [0.02, -0.01, 0.05]
    assert summary["verdict"].endswith("differs from a baseline by: wider stage 2; head max_3.")
    few = Conclusion(**values | {"search_gain": [0.02]}).summary()
    assert (few["search_gain"], few["search_gain_low"]) == (0.02, None)
    alone = Conclusion(**values | {"winner": known}).summary()
    assert (alone["found_moves"], alone["search_gain"]) == ("", None)
