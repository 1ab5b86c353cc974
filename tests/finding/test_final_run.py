"""The final run of ``darts.find``."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fake_race import BASELINES, LEADER, SHORT, make_race
from fake_race import explored as explored_race

from darts.finding.candidates import Start
from darts.finding.final_run import PLANNED, final_run, final_runs, held_out_share, useful_epochs
from darts.finding.results import FoldRun, Result

TIMED = ("plan.newcomers=2", "methods=[]")
explored = partial(explored_race, scores=lambda name, _: 0.9 if LEADER in name else 0.1)


@pytest.mark.parametrize(
    ("peak", "left", "length"),
    [
        (None, 100.0, {"start", "max_seconds", "optimizer.warmup_epochs", "optimizer.cooldown"}),
        (None, 0.5, None),
        (4, 100.0, {"epochs"}),  # 4 epochs on a quarter more samples take 5 seconds
        (4, 5.5, {"epochs"}),
        (4, 4.5, None),
    ],
    ids=["improving", "no time", "from scratch", "just enough", "too long"],
)
def test_the_final_run_continues_the_training_or_repeats_it_up_to_the_best_epoch(
    peak: int | None, left: float, length: set[str] | None, tmp_path: Path
) -> None:
    race, executor = explored(tmp_path, *TIMED, peaks={} if peak is None else {LEADER: peak})
    result = race.results[LEADER]
    executor.now = (PLANNED if peak is None else 1.0) * race.stopwatch.total - left
    run = final_run(race, result, 0.0, refits=True)
    if length is None:
        assert run is None
        return
    job = executor.jobs[-1]
    values = dict(item.split("=", 1) for item in job.overrides)
    assert (values["validation"], values["selection"]) == ("0", "last")
    assert length <= values.keys()
    assert values.get("start") == (None if peak else f"'{result.directory.resolve()}'")
    assert int(run.summary["epochs"]) == (peak or int(left))
    assert run.epochs == (peak or int(left) + result.epochs)
    assert run.directory == job.directory == tmp_path / "runs" / job.name


def test_a_final_run_leaves_the_time_for_test_scores(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, *TIMED)
    executor.now = 0.5 * race.stopwatch.total
    assert final_run(race, race.results[LEADER], 100.0, refits=True) is not None
    assert race.stopwatch.until(PLANNED) == pytest.approx(100.0, abs=1)


def test_a_final_run_that_fails_leaves_the_winner(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, *SHORT)
    executor.failing = frozenset({"final"})
    assert final_run(race, race.best(), 0.0, refits=True) is None


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ((), 0.2),
        (("validation=0.3",), 0.0),
        (("validation_fold=1",), 0.0),
        (("selection=last",), 0.0),
    ],
)
def test_the_user_decides_about_validation_samples(
    words: tuple[str, ...], share: float, tmp_path: Path
) -> None:
    race = make_race(tmp_path, *SHORT, *words)
    candidate = race.pool.baselines()[0]
    assert held_out_share(race, candidate) == share


def test_a_published_validation_split_is_not_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race(tmp_path, *SHORT)
    networks = race.pool.networks["mlp"]
    monkeypatch.setattr(networks.data, "held_out_loader", lambda split, subsets: "loader")
    assert held_out_share(race, race.pool.baselines()[0]) == 0.0


def test_without_a_refit_the_samples_of_the_winner_stay_held_out(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, *TIMED)
    run = final_run(race, race.results[LEADER], 0.0, refits=False)
    assert run.score == run.summary["valid_accuracy"] == 0.9
    keys = {item.partition("=")[0] for item in executor.jobs[-1].overrides}
    assert "optimizer.cooldown" in keys
    assert "selection" not in keys
    assert "validation=0" not in executor.jobs[-1].overrides


@pytest.mark.parametrize(("accuracy", "cooldown"), [(0.9, "1"), (0.91, "0")])
def test_the_rate_falls_unless_the_winner_knows_its_training_samples(
    accuracy: float, cooldown: str, tmp_path: Path
) -> None:
    """The winner has a validation accuracy of 0.9."""
    race, executor = explored(tmp_path, *TIMED, trained=lambda name: accuracy)
    assert final_run(race, race.results[LEADER], 0.0, refits=True) is not None
    assert f"optimizer.cooldown={cooldown}" in executor.jobs[-1].overrides


def test_a_plan_in_epochs_without_a_refit_has_no_final_run(tmp_path: Path) -> None:
    race, _ = explored(tmp_path, *SHORT)
    assert final_run(race, race.best(), 0.0, refits=False) is None


def test_the_networks_of_an_ensemble_share_the_time_that_is_left(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, *TIMED, workers=2)
    finalists = [race.results[name] for name in (LEADER, BASELINES[0], BASELINES[1])]
    executor.failing = frozenset({f"final-640-{BASELINES[1]}"})
    executor.now = PLANNED * race.stopwatch.total - 100
    first, second, failed = final_runs(race, finalists, 20.0)
    assert [run.summary["epochs"] for run in (first, second)] == [40, 40]  # two rounds of workers
    assert first.candidate.name == LEADER
    assert first.directory != finalists[0].directory
    assert failed == finalists[2]


def test_a_final_run_repeats_the_training_that_the_winner_has_continued(tmp_path: Path) -> None:
    """A setting continued the best epoch of the leader, and was best two epochs later."""
    race, executor = explored_race(
        tmp_path,
        *TIMED,
        "plan.rounds=3",
        scores=lambda name, _: 0.9 if "flip" in name else float(name == LEADER) / 2,
        peaks=Peaks(),
    )
    fork = race.best()
    assert fork.candidate.start.epochs == 3
    assert fork.best_epoch == 5
    final = final_run(race, fork, 0.0, refits=True)
    assert final is not None
    first, second = executor.jobs[-2:]
    keys = [dict(item.split("=", 1) for item in job.overrides) for job in (first, second)]
    assert [values["epochs"] for values in keys] == ["3", "2"]
    assert "start" not in keys[0]
    assert keys[1]["start"] == f"'{first.directory.resolve()}'"
    assert [values.get("dataset.flip") for values in keys] == ["false", "true"]
    assert [values["validation"] for values in keys] == ["0", "0"]
    assert final.directory == second.directory
    assert final.epochs == 5


class Peaks(dict[str, int]):
    """The leader has its best epoch after 3 epochs, a setting after 2 more, others after one."""

    def get(self, name: str, default: object = None) -> int:  # type: ignore[override]
        return 3 if name == LEADER else 2 if "flip" in name else 1


def test_a_final_run_is_as_long_as_the_loss_of_the_best_epoch_is_not_exceeded(
    tmp_path: Path,
) -> None:
    """The mean losses of epochs 2 to 4 are 0.5, 0.55 and 0.5."""
    losses = {"fold0": [0.9, 0.5, 0.6, 0.4, 0.7], "fold1": [0.9, 0.5, 0.5, 0.6, 0.7]}
    runs = []
    for fold, values in losses.items():
        (tmp_path / fold).mkdir()
        rows = [{"epoch": epoch, "valid_loss": loss} for epoch, loss in enumerate(values, 1)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / fold / "metrics.jsonl").write_text(text)
        runs.append(FoldRun(tmp_path / fold, {}))
    race = make_race(tmp_path, *SHORT)
    candidate = race.pool.baselines()[0]
    result = Result(candidate, tuple(runs), {"epoch": 2, "epochs": 5}, 0.9)
    assert useful_epochs(result) == 4
    assert useful_epochs(replace(result, summary={"epoch": 1, "epochs": 5})) == 5
    continued = replace(candidate, start=Start("another", 0, 3.0, 3))
    assert useful_epochs(replace(result, candidate=continued)) == 7
