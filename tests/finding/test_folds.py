"""Scores of networks that train several times, each time with another part held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darts.config import ConfigError
from darts.finding.candidates import Candidate
from darts.finding.folds import choose_folds, combine, last_score
from darts.finding.results import FoldTraining, Result
from darts.finding.rounds import Trainer
from darts.finding.run_pool import Job, Outcome
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.tracking.metrics import MetricsLog

NET = Candidate("net", "family", "genotype", "baseline")
ACCURACY = ("accuracy", CLASSIFICATION_METRICS["accuracy"])
LOSS = ("loss", CLASSIFICATION_METRICS["loss"])


def training(
    folder: Path, accuracies: Sequence[float | None], losses: Sequence[float], seconds: float
) -> FoldTraining:
    """Write the metrics of a training; an accuracy of None is missing in the file."""
    folder.mkdir()
    with MetricsLog(folder / "metrics.jsonl") as log:
        for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), start=1):
            known = {} if accuracy is None else {"valid_accuracy": accuracy}
            log.write(epoch=epoch, train_loss=0.0, valid_loss=loss, **known)
    return FoldTraining(folder, {"seconds": seconds, "epoch": 1, "parameters": 7})


@pytest.fixture
def folds(tmp_path: Path) -> list[FoldTraining]:
    """The parts alone would choose the first and the third epoch; the means are best after two."""
    return [
        training(tmp_path / "0", [0.9, 0.8, 0.5], [0.3, 0.6, 0.1], 2.0),
        training(tmp_path / "1", [0.4, 0.8, 0.9], [0.5, 0.4, 0.4], 4.0),
    ]


def test_the_epoch_with_the_best_mean_gives_the_score(folds: list[FoldTraining]) -> None:
    result = combine(NET, 3, folds, ACCURACY, selection="best")
    assert result.score == pytest.approx(0.8)
    assert result.summary["valid_accuracy"] == pytest.approx(0.8)
    assert result.loss == pytest.approx(0.5)
    assert (result.summary["epoch"], result.summary["parameters"]) == (2, 7)
    assert result.seconds_per_epoch == pytest.approx(1.0)
    assert result.directories == [fold.directory for fold in folds]
    assert [summary["seconds"] for summary in result.summaries] == [2.0, 4.0]


def test_a_lower_loss_is_better(folds: list[FoldTraining]) -> None:
    result = combine(NET, 3, folds, LOSS, selection="best")
    assert (result.score, result.summary["epoch"]) == (pytest.approx(0.25), 3)


def test_the_last_epoch_counts_if_the_user_wants_it(folds: list[FoldTraining]) -> None:
    result = combine(NET, 3, folds, ACCURACY, selection="last")
    assert (result.score, result.summary["epoch"]) == (pytest.approx(0.7), 3)
    assert last_score(result, "accuracy") == pytest.approx(0.7)


def test_no_score_of_a_single_training_remains(tmp_path: Path) -> None:
    parts = [training(tmp_path / name, [0.5], [0.1], 1.0) for name in "ab"]
    parts[0].summary["valid_top5_accuracy"] = 0.9
    summary = combine(NET, 3, parts, ACCURACY, selection="best").summary
    assert "valid_top5_accuracy" not in summary
    assert summary["valid_accuracy"] == 0.5


def test_epochs_without_all_scores_do_not_count(tmp_path: Path) -> None:
    parts = [
        training(tmp_path / "0", [0.5, 0.9, None], [0.1] * 3, 1.0),
        training(tmp_path / "1", [0.5], [0.1], 1.0),
    ]
    assert combine(NET, 3, parts, ACCURACY, selection="best").score == pytest.approx(0.5)
    nothing = [parts[0], training(tmp_path / "2", [math.nan], [0.1], 1.0)]
    assert math.isnan(combine(NET, 3, nothing, ACCURACY, selection="best").score)


@pytest.mark.parametrize("content", [None, "nonsense\n{}\n"])
def test_unreadable_metrics_give_no_score(folds: list[FoldTraining], content: str | None) -> None:
    file = folds[1].directory / "metrics.jsonl"
    file.unlink()
    if content is not None:
        file.write_text(content, encoding="utf-8")
    result = combine(NET, 3, folds, ACCURACY, selection="best")
    assert math.isnan(result.score)
    assert last_score(result, "accuracy") is None


def test_the_last_score_of_a_single_training(folds: list[FoldTraining]) -> None:
    single = Result(NET, 3, folds[0].directory, folds[0].summary, 0.9)
    assert last_score(single, "accuracy") == 0.5
    assert last_score(single, "macro_f1") is None


def networks(held_out: int, *, validation: float = 0.2, split: bool = False, **keys: Any) -> Any:
    subsets = {"train": torch.arange(1), "valid": torch.arange(held_out)}
    data = SimpleNamespace(
        subsets=subsets,
        retrain_loaders=lambda: None,
        held_out_loader=lambda name, subsets: "loader" if split else None,
    )
    config = SimpleNamespace(
        validation=validation, dataset=SimpleNamespace(name="csv"), validation_fold=None
    )
    vars(config).update(keys)
    return SimpleNamespace(data=data, config=config)


@pytest.mark.parametrize(
    ("held_out", "folds"), [(5, 5), (60, 5), (80, 4), (100, 3), (199, 2), (200, 1), (2000, 1)]
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
    ],
)
def test_too_many_parts_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_folds(networks(30, **options), 6)


class Pool:
    """Runs of which those whose name has one of the ``failing`` endings fail."""

    def __init__(self, failing: tuple[str, ...] = ()) -> None:
        self.failing, self.names = failing, list[str]()

    def run(self, jobs: Sequence[Job], **_: Any) -> dict[str, Outcome]:
        outcomes = {}
        for job in jobs:
            self.names.append(job.name)
            job.directory.mkdir(parents=True)
            with MetricsLog(job.directory / "metrics.jsonl") as log:
                log.write(epoch=1, valid_accuracy=0.5, joules=7.0, joules_source="nvml", gco2e=0.0)
            summary = {"seconds": 1.0, "joules": 7.0, "joules_source": "nvml", "gco2e": 0.0}
            failed = job.name.endswith(self.failing) if self.failing else False
            outcomes[job.name] = Outcome(None, "diverged") if failed else Outcome(summary)
        return outcomes


def make_trainer(folder: Path, pool: Any) -> Trainer:
    networks: Any = SimpleNamespace(
        overrides=lambda genotype, **options: (f"fold={options['fold']}",),
        config=SimpleNamespace(selection="best"),
    )
    fake: Any = SimpleNamespace(info=lambda text: None, save=lambda **_: None, begin=None)
    return Trainer(
        folder, {"family": networks}, ACCURACY, 10, "time", pool, 2, fake, fake, fake, fake, fake,
        folds=3,
    )  # fmt: skip


def test_each_network_trains_once_per_part(tmp_path: Path) -> None:
    pool = Pool()
    (result,) = make_trainer(tmp_path, pool).train_candidates([(NET, 1)])
    assert pool.names == [f"net.default.1.fold{part}" for part in range(3)]
    assert [directory.name for directory in result.directories] == pool.names
    assert (result.score, len(result.summaries)) == (0.5, 3)
    assert result.row("accuracy")["joules"] == 21.0


def test_a_network_fails_with_one_of_its_trainings_but_all_of_them_cost(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Pool(failing=("fold1",)))
    assert trainer.train_candidates([(NET, 1)]) == []
    assert trainer.results == {}
    assert sum(cost["joules"] for cost in trainer.other_costs) == 21.0


def test_a_refit_trains_once(tmp_path: Path) -> None:
    pool = Pool()
    (result,) = make_trainer(tmp_path, pool).train_candidates([(NET, 1)], folds=1)
    assert pool.names == ["net.default.1"]
    assert result.folds == ()
