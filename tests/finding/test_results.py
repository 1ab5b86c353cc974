"""The order of results, and their rows in the table of candidates."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from darts.finding.candidates import Candidate
from darts.finding.results import FIRST_EPOCHS, FoldRun, Result, ranked, signed
from darts.spaces import parse_genotype
from darts.tasks.metrics import CLASSIFICATION_METRICS

NET = Candidate("net", "mlp", parse_genotype('{"space": "mlp", "layers": ["relu_8"]}'), "baseline")
ACCURACY, LOSS = CLASSIFICATION_METRICS["accuracy"], CLASSIFICATION_METRICS["loss"]


def result(score: float, loss: float | None = None, parameters: int = 1) -> Result:
    summary = {"valid_loss": loss, "parameters": parameters}
    return Result(NET, (), summary, score)


def test_results_rank_by_score_then_by_loss_then_by_size() -> None:
    expected = [
        result(0.9, 0.5, 1), result(0.9, 0.5, 2), result(0.9, 0.6, 1), result(0.9, None, 1),
        result(0.8, 0.1, 1), result(math.nan, 0.1, 1),
    ]  # fmt: skip
    for seed in range(10):
        assert ranked(random.Random(seed).sample(expected, len(expected)), ACCURACY) == expected
    assert ranked(expected, LOSS)[0] == expected[4]


def test_of_equal_results_the_first_one_is_better() -> None:
    equal = [result(0.9), result(0.9)]
    assert ranked(equal, ACCURACY)[0] is equal[0]


def test_signed_scores_are_higher_for_better_results() -> None:
    assert signed(0.9, ACCURACY) > signed(0.8, ACCURACY) > signed(math.nan, ACCURACY)
    assert signed(0.1, LOSS) > signed(0.2, LOSS) > signed(math.nan, LOSS)


@pytest.mark.parametrize(("epochs", "exhausted"), [(2 * 7 + FIRST_EPOCHS, False), (18, True)])
def test_a_result_is_exhausted_if_the_second_half_of_its_epochs_brought_nothing(
    epochs: int, exhausted: bool
) -> None:
    assert Result(NET, (), {"epochs": epochs, "epoch": 7}, 0.5).is_exhausted == exhausted


def test_a_row_sums_the_costs_of_all_runs() -> None:
    costs = {"seconds": 2.0, "joules": 3.0, "joules_source": "nvml", "gco2e": 1.0}
    runs = tuple(FoldRun(Path(f"runs/net.fold{n}"), costs) for n in range(2))
    row = Result(NET, runs, {"epochs": 4, "parameters": 9}, math.nan).row("accuracy")
    assert (row["seconds"], row["joules"], row["runs"]) == (4.0, 6.0, 2)
    assert (row["valid_accuracy"], row["valid_loss"], row["macs"]) == (None, None, None)
    assert (row["candidate"], row["directory"]) == ("net", "net.fold0")
