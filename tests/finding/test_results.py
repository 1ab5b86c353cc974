"""Results of candidates, and decisions, which are made once and saved before they are used."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.candidates import Candidate, Start
from darts.finding.decisions import Decisions
from darts.finding.execution import Stopwatch
from darts.finding.folds import choose_folds, combine
from darts.finding.results import FIRST_EPOCHS, FoldRun, Result, ranked
from darts.reading import FileError
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.tracking.metrics import MetricsLog

NET = Candidate("net", "mlp", '{"space": "mlp", "layers": ["relu_8"]}', "baseline")
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
    assert ranked(expected, LOSS) == [expected[4], *expected[:4], expected[5]]
    equal = [result(0.9), result(0.9)]
    assert ranked(equal, ACCURACY)[0] is equal[0]


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


@pytest.mark.parametrize(("trained", "expected"), [([0.9], False), ([0.99, 0.9], True)])
def test_an_epoch_that_ended_early_does_not_tell_whether_a_network_memorizes(
    trained: Sequence[float], expected: bool, tmp_path: Path
) -> None:
    with closing(MetricsLog(tmp_path / "metrics.jsonl")) as log:
        for epoch, accuracy in enumerate(trained, start=1):
            log.write(epoch=epoch, train_accuracy=accuracy, valid_accuracy=0.98)
    assert Result(NET, (FoldRun(tmp_path, {}),), {}, 0.98).memorizes == expected


BY_ACCURACY, BY_LOSS = ("accuracy", ACCURACY), ("loss", LOSS)


def training(
    folder: Path, accuracies: Sequence[float | None], losses: Sequence[float], seconds: float
) -> FoldRun:
    """Write the metrics of a training; an accuracy of None is missing in the file."""
    folder.mkdir()
    with closing(MetricsLog(folder / "metrics.jsonl")) as log:
        for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), start=1):
            known = {} if accuracy is None else {"valid_accuracy": accuracy}
            log.write(epoch=epoch, train_loss=0.0, valid_loss=loss, **known)
    return FoldRun(folder, {"seconds": seconds, "epoch": 1, "parameters": 7})


@pytest.fixture
def folds(tmp_path: Path) -> list[FoldRun]:
    """The parts alone would choose the first and the third epoch; the means are best after two."""
    return [
        training(tmp_path / "0", [0.9, 0.8, 0.5], [0.3, 0.6, 0.1], 2.0),
        training(tmp_path / "1", [0.4, 0.8, 0.9], [0.5, 0.4, 0.4], 4.0),
    ]


def test_the_epoch_with_the_best_mean_gives_the_score(folds: list[FoldRun]) -> None:
    result = combine(NET, folds, BY_ACCURACY, selection="best")
    assert result.score == pytest.approx(0.8)
    assert result.summary["valid_accuracy"] == pytest.approx(0.8)
    assert result.loss == pytest.approx(0.5)
    assert (result.summary["epoch"], result.summary["parameters"]) == (2, 7)
    assert (result.seconds, result.epochs, result.best_epoch) == (3.0, 3, 2)
    assert result.directories == [fold.directory for fold in folds]
    by_loss = combine(NET, folds, BY_LOSS, selection="best")  # a lower loss is better
    assert (by_loss.score, by_loss.summary["epoch"]) == (pytest.approx(0.25), 3)
    last = combine(NET, folds, BY_ACCURACY, selection="last")  # if the user wants it
    assert (last.score, last.summary["epoch"]) == (pytest.approx(0.7), 3)


def test_a_mean_score_covers_the_second_half_of_the_epochs(tmp_path: Path) -> None:
    run = training(tmp_path / "run", [0.1, 0.5, 0.7, 0.9], [0.0] * 4, 1.0)
    net = replace(NET, start=Start("other", epochs=10))
    later = Result(net, (run,), {}, 0.9)
    assert later.mean_score("accuracy", 10) == pytest.approx((0.7 + 0.9) / 2)
    assert later.mean_score("accuracy", 11, 13) == 0.7
    assert math.isnan(later.mean_score("accuracy", 14))


def test_no_score_of_a_single_training_remains(tmp_path: Path) -> None:
    parts = [training(tmp_path / name, [0.5], [0.1], 1.0) for name in "ab"]
    parts[0].summary["valid_top5_accuracy"] = 0.9
    summary = combine(NET, parts, BY_ACCURACY, selection="best").summary
    assert "valid_top5_accuracy" not in summary
    assert summary["valid_accuracy"] == 0.5


def test_epochs_without_all_scores_do_not_count(tmp_path: Path) -> None:
    parts = [
        training(tmp_path / "0", [0.5, 0.9, None], [0.1] * 3, 1.0),
        training(tmp_path / "1", [0.5], [0.1], 1.0),
    ]
    assert combine(NET, parts, BY_ACCURACY, selection="best").score == pytest.approx(0.5)
    nothing = [parts[0], training(tmp_path / "2", [math.nan], [0.1], 1.0)]
    assert math.isnan(combine(NET, nothing, BY_ACCURACY, selection="best").score)


@pytest.mark.parametrize("content", [None, "nonsense\n{}\n"])
def test_unreadable_metrics_are_an_error(folds: list[FoldRun], content: str | None) -> None:
    file = folds[1].directory / "metrics.jsonl"
    file.unlink()
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises((OSError, FileError), match=r"metrics\.jsonl"):
        combine(NET, folds, BY_ACCURACY, selection="best")


def test_a_single_run_has_the_score_of_its_summary() -> None:
    run = FoldRun(Path("run"), {"valid_accuracy": 0.9, "epoch": 1})
    assert combine(NET, [run], BY_ACCURACY, selection="best").score == 0.9
    assert math.isnan(combine(NET, [run], BY_LOSS, selection="best").score)


def networks(
    held_out: int,
    *,
    validation: float = 0.2,
    split: bool = False,
    ordered: bool = False,
    **keys: Any,
) -> Any:
    subsets = {"train": torch.arange(1), "valid": torch.arange(held_out)}
    data = SimpleNamespace(
        subsets=subsets,
        retrain_loaders=lambda: None,
        held_out_loader=lambda name, subsets: "loader" if split else None,
        groups=SimpleNamespace(is_ordered=True) if ordered else None,
    )
    config = SimpleNamespace(
        validation=validation, dataset=SimpleNamespace(name="csv"), validation_fold=None
    )
    vars(config).update(keys)
    return SimpleNamespace(data=data, config=config)


@pytest.mark.parametrize(
    ("held_out", "folds"), [(5, 5), (45, 5), (80, 3), (100, 2), (199, 2), (200, 1), (2000, 1)]
)
def test_the_fewer_samples_the_more_parts(held_out: int, folds: int) -> None:
    assert choose_folds(networks(held_out), None) == folds


def test_the_parts_are_disjoint_and_the_split_of_the_data_is_kept() -> None:
    assert choose_folds(networks(30, validation=0.4), None) == 2
    assert choose_folds(networks(30, split=True), None) == 1
    assert choose_folds(networks(30, validation_fold=2), None) == 1
    assert choose_folds(networks(2000), 3) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"plan\.folds=6: validation=0\.2 gives at most 5 disjoint parts"),
        ({"split": True}, r"plan\.folds=6: dataset=csv has a validation split of its own"),
        ({"validation_fold": 0}, r"plan\.folds=6: validation_fold=0 chooses one part"),
        ({"ordered": True}, r"plan\.folds=6: dataset\.time or dataset\.group is set"),
    ],
)
def test_too_many_parts_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_folds(networks(30, **options), 6)


def test_a_decision_is_made_once_and_a_changing_value_replaced(tmp_path: Path) -> None:
    file, calls = tmp_path / "decisions.json", iter(range(10))
    decisions = Decisions(file)
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert json.loads(file.read_text())["decisions"] == {"a": 0}
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("b", dict[str, int], lambda: {"x": next(calls)}) == {"x": 1}
    decisions.record("seconds", 1.0)
    decisions.record("seconds", 2.5)
    assert Decisions(file).decide("seconds", float, lambda: 0.0) == 2.5


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "decisions"), ("[]", "decisions"), ("{", "decisions"), (None, r"json is damaged")],
)
def test_a_damaged_or_changed_file_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", 17)
    changed = file.read_text().replace("17", "18")
    file.write_text(changed if content is None else content, encoding="utf-8")
    with pytest.raises(FileError, match=message):
        Decisions(file)


@pytest.mark.parametrize("value", ["x", {"b": 1.5}, None])
def test_a_value_of_another_type_is_refused(tmp_path: Path, value: object) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", value)
    with pytest.raises(FileError, match="decisions"):
        Decisions(file).decide("a", dict[str, int], dict)


@pytest.mark.parametrize(
    ("hours", "minutes", "seconds"), [(None, None, 600), (0.5, None, 1800), (None, 2, 120)]
)
def test_the_budget_has_two_units(
    hours: float | None, minutes: float | None, seconds: float
) -> None:
    assert FindBudgetConfig(hours, minutes).seconds == seconds


def test_the_stopwatch_counts_all_resumes(tmp_path: Path) -> None:
    now = 100.0
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, clock=lambda: now)
    now += 5
    stopwatch.save()
    now += 1  # lost by a kill
    assert stopwatch.seconds == 5 + 1

    now = 7.0
    resumed = Stopwatch(50, Decisions(tmp_path / "decisions.json"), clock=lambda: now)
    now += 2
    assert resumed.seconds == 5 + 2
    assert resumed.until(0.5) == 25 - resumed.seconds
    now += 1000
    assert resumed.until(1) < 0


def test_the_time_before_the_run_directory_exists_counts(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    stopwatch = Stopwatch(50, decisions, begin=93.0, clock=lambda: 100.0)
    assert stopwatch.seconds == 7
