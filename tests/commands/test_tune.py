"""Complete studies on tiny networks, and errors before the first trial."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import command_calls as commands
import optuna
import pytest
from database_server import database_server
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tiny_search import phone
from waiting import wait_until

from darts import tune
from darts.config import compose
from darts.hpo.store import open_storage
from darts.judging import nas201_table
from darts.reading import read_json
from darts.recipes import retrain
from darts.tracking import read_metrics
from darts.training.run_directory import RunDirectory

IN_PROCESS = "executor=inline"  # trials run in the test process
DATA = ("dataset=synthetic", "dataset.samples=48", "epochs=1", "loader.batch_size=16")
NET = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_8"]}')
RATE = "parameters.optimizer.lr={low: 0.001, high: 0.1, log: true}"
STUDY = (*DATA, *NET, RATE)
SIMPLE = ("experiment=simplenet", *DATA[:3], *NET[1:])
TABLE = "experiment=nas201_table"
BARE = ("analysis.retrain_best=false", "tracking.figures=false", "tracking.tensorboard=false")


def trial_rows(directory: Path) -> list[dict[str, str]]:
    return commands.read_table(directory / "trials.csv")


def trials_of(directory: Path) -> list[Any]:
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{directory}/study.db")
    return list(study.trials)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study of hyperparameters, one of them conditional."""
    own = (
        "parameters.selection=[best, last]",
        "parameters.average_power={low: 1.5, high: 8.5, when: {selection: last}}",
    )
    folder = tmp_path_factory.mktemp("tune") / "run"
    return commands.run("tune", folder, *STUDY, *own, IN_PROCESS, "metric=loss", "budget.trials=10")


def test_the_run_directory_contains_all_files(tuned: Any) -> None:
    names = {path.name for path in tuned.directory.iterdir()}
    names -= {"study.db-shm", "study.db-wal"}  # temporary files of SQLite
    assert names == {
        *("config.yaml", "env.json", "overrides.json", "study.db", "trials", "trials.csv"),
        *("best.json", "summary.json", "analysis.json", "final", "hparams", "jobs.jsonl"),
        *("history.svg", "importances.svg", "marginals.svg"),
    }


def test_the_summary_is_flat_and_describes_the_best_trial(tuned: Any) -> None:
    summary, best = tuned.json("summary.json"), tuned.json("best.json")
    assert not any(isinstance(value, (dict, list)) for value in summary.values())
    assert (summary["command"], summary["metric"], summary["strategy"]) == ("tune", "loss", "tpe")
    assert (summary["trials"], summary["complete"], summary["failed"]) == (10, 10, 0)
    assert (summary["seed"], summary["genotype"]) == (0, None)
    scores = [trial.value for trial in trials_of(tuned.directory)]
    assert summary["valid_loss"] == best["valid_loss"] == min(scores)
    assert scores[summary["trial"]] == min(scores)
    assert 0 <= summary["test_accuracy"] <= 1
    assert summary["share_hyperparameters"] == pytest.approx(1)
    importances = tuned.json("analysis.json")["importances"]
    assert set(importances) == {"optimizer.lr", "selection", "average_power"}
    # The energy includes all trials and the final training.
    files = [*tuned.directory.glob("trials/*/summary.json"), tuned.directory / "final/summary.json"]
    assert summary["joules"] == pytest.approx(sum(read_json(file)["joules"] for file in files))
    assert len(files) == 11
    assert f"test_loss      {summary['test_loss']:.4g}" in tuned.out


def test_trials_csv_has_a_row_per_trial(tuned: Any) -> None:
    rows = trial_rows(tuned.directory)
    assert [int(row["trial"]) for row in rows] == list(range(10))
    for row, trial in zip(rows, trials_of(tuned.directory), strict=True):
        assert row["state"] == "complete"
        assert float(row["valid_loss"]) == trial.value
        assert float(row["optimizer.lr"]) == trial.params["optimizer.lr"]
        assert row["selection"] == trial.params["selection"]
        assert (row["average_power"] == "") == (row["selection"] == "best")
        assert int(row["parameters"]) > 0
        assert float(row["wall_seconds"]) > 0
        assert row["failure"] == ""


def test_the_printed_command_reproduces_the_best_trial(tuned: Any, tmp_path: Path) -> None:
    best = tuned.json("best.json")
    printed = commands.printed_arguments(tuned.out, "retrain")
    own = [f"hydra.run.dir={tmp_path}", "tracking.tensorboard=false", "tracking.figures=false"]
    again = commands.call("retrain", [*printed, *own], tmp_path)
    assert again.result["valid_loss"] == best["valid_loss"]
    assert again.result["test_loss"] == tuned.result["test_loss"]
    config = compose("retrain", best["overrides"])
    retrain.check(config)
    assert config.optimizer.lr == best["parameters"]["optimizer.lr"]
    assert config.average_power == best["parameters"].get("average_power", 0.0)
    assert compose("retrain", printed) == config


def test_tensorboard_has_an_hparams_row_per_trial(tuned: Any) -> None:
    rows = trial_rows(tuned.directory)
    folders = sorted((tuned.directory / "hparams").iterdir())
    assert len(folders) == 10
    for row, folder in zip(rows, folders, strict=True):
        board = EventAccumulator(str(folder))
        board.Reload()
        (score,) = board.Scalars("summary/valid_loss")
        assert score.value == pytest.approx(float(row["valid_loss"]))
        content = board.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        start = metadata.parse_session_start_info_plugin_data(content)
        assert start.hparams["optimizer.lr"].number_value == float(row["optimizer.lr"])
        assert start.hparams["selection"].string_value == row["selection"]


def test_resuming_a_complete_study_needs_a_larger_budget(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can then be killed before its new summary, and resumed again."""
    overrides = [TABLE, f"benchmark.table={table}", *BARE, f"hydra.run.dir={tmp_path}"]
    commands.call("tune", [*overrides, "budget.trials=4"])
    line = commands.error_of("tune", f"resume={tmp_path}")
    assert "is complete; raise budget.trials" in line
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "finish", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises((SystemExit, KeyboardInterrupt, TypeError)):
            commands.call("tune", [f"resume={tmp_path}", "budget.trials=6"], tmp_path)
    assert not (tmp_path / "summary.json").exists()
    done = commands.call("tune", [f"resume={tmp_path}", "budget.trials=6"], tmp_path)
    assert (tmp_path / "summary.json").exists()
    assert done.result["trials"] == 6
    assert len(trial_rows(tmp_path)) == 6


def test_architectures_are_scored_with_a_table(tmp_path: Path, table: Path) -> None:
    truth = nas201_table.load(table)
    overrides = [TABLE, "strategy=greedy", f"benchmark.table={table}", "tracking.tensorboard=false"]
    done = commands.run("tune", tmp_path, *overrides, "budget.trials=20")
    summary, genotype = done.json("summary.json"), done.result["genotype"]
    assert summary["true_accuracy"] == pytest.approx(truth.accuracy(genotype) / 100)
    known = truth.accuracy(genotype, split="val", epochs=12)
    assert summary["valid_accuracy"] == pytest.approx(known / 100)
    assert summary["true_rank"] == truth.rank(genotype)
    assert summary["true_regret"] == pytest.approx(truth.regret(genotype) / 100)
    # In the synthetic table, validation and test accuracy have equal ranks.
    assert summary["rank_correlation_spearman"] == pytest.approx(1)
    assert (summary["joules"], summary["joules_source"]) == (None, "not measured")
    assert not (tmp_path / "final").exists()  # the table replaces the final training
    assert {row["genotype"] for row in trial_rows(tmp_path)} >= {genotype}
    # A retraining accepts the run directory as genotype.
    config = compose("retrain", [f"genotype={tmp_path}", "space=nas201"])
    retrain.check(config)
    retrain.check(compose("retrain", commands.printed_arguments(done.out, "retrain")))


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study of architecture and hyperparameters."""
    folder = tmp_path_factory.mktemp("joint") / "run"
    more = ("strategy=evolution", "strategy.population=2", "seed=1")
    return commands.run("tune", folder, *SIMPLE, IN_PROCESS, *more, "budget.trials=3")


@pytest.mark.slow
def test_architectures_and_hyperparameters_are_varied_together(joint: Any) -> None:
    best, rows = joint.json("best.json"), trial_rows(joint.directory)
    assert len(rows) == 3
    assert set(best["parameters"]) == {"optimizer.lr", "loader.batch_size"}
    assert best["genotype"] == joint.result["genotype"] == rows[best["trial"]]["genotype"]
    (layer,) = json.loads(best["genotype"])["layers"]
    assert layer.split("_")[0] in ("relu", "tanh")
    config = compose("retrain", best["overrides"])
    assert (config.genotype, config.space.name) == (best["genotype"], "mlp")
    assert layer.replace("_", "-") in joint.out  # the line of its trial shows it


def test_joules_of_different_sources_are_not_compared(tmp_path: Path) -> None:
    power = "parameters.tracking.energy.watts_per_core=[10.0, 20.0]"  # two estimates
    options = ("metric=loss", "strategy=grid", "costs=[joules]", "budget.trials=2")
    done = commands.run("tune", tmp_path / "run", *DATA, *NET, power, IN_PROCESS, *BARE, *options)
    first, second = trial_rows(done.directory)
    assert (first["state"], second["state"]) == ("complete", "failed")
    assert float(first["joules"]) > 0
    assert float(first["gco2e"]) == pytest.approx(float(first["joules"]) / 3.6e6 * 480)
    message = "joules cannot be compared: they come from estimate: 20 W per busy core here and from"
    assert message in second["failure"]


def test_costs_and_limits_give_a_pareto_front(tmp_path: Path) -> None:
    more = ("costs=[flops]", "limit.parameters=7000", "strategy=nsga2", BARE[0])
    done = commands.run("tune", tmp_path, *SIMPLE, IN_PROCESS, *more, "budget.trials=4")
    rows, best = trial_rows(tmp_path), done.json("best.json")
    assert (tmp_path / "front_flops.svg").exists()
    assert all(int(row["flops"]) > 0 for row in rows)
    assert best["flops"] == done.result["flops"] == int(rows[best["trial"]]["flops"])
    within = [row for row in rows if float(row["parameters"]) <= 7000]
    assert within
    assert best["valid_accuracy"] == max(float(row["valid_accuracy"]) for row in within)
    assert "test_accuracy" not in done.result


@pytest.mark.slow
def test_a_trial_can_be_a_search(tmp_path: Path) -> None:
    overrides = ("target=search", "space=mlp", "space.cells=1", "space.widths=[4,8]", *DATA)
    rate = "parameters.arch_optimizer.lr=[0.01, 0.1]"
    options = ("tracking.figures=false", "analysis.retrain_best=false", "strategy=grid")
    done = commands.run("tune", tmp_path, *overrides, IN_PROCESS, *options, rate)
    assert done.result["trials"] == 2  # all points of the grid
    assert done.json("best.json")["command"].startswith("darts search ")


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_machines_share_a_study(database: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        if database == "sqlite":
            url = f"sqlite:///{tmp_path}/shared.db"
        else:
            url = stack.enter_context(database_server()).url
        check_a_shared_study(url, tmp_path)


def check_a_shared_study(url: str, folder: Path) -> None:
    one, other = folder / "one", folder / "other"
    # The first command must not finish all trials while the second one starts.
    longer = [word.replace("epochs=1", "epochs=60") for word in STUDY]
    shared = (f"storage='{url}'", "budget.trials=8", "window=2")
    overrides = [*longer, *BARE, IN_PROCESS, *shared]
    process = commands.start("tune", *overrides, f"hydra.run.dir={one}")
    wait_until(lambda: list(one.glob("trials/*/summary.json")), process)
    done = commands.call("tune", [*overrides, f"hydra.run.dir={other}"], other)
    _, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    study = optuna.load_study(study_name="tune", storage=open_storage(url, heartbeat=60))
    trials = [trial for trial in study.trials if trial.params]  # others have not begun
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    folders = [p.parent.name for run in (one, other) for p in run.glob("trials/*/summary.json")]
    assert sorted(folders) == [f"{trial.number:04d}" for trial in trials]  # each trial ran once
    assert all(list(folder.glob("trials/*/summary.json")) for folder in (one, other))
    summary = read_json(one / "summary.json")
    assert summary["trial"] == done.result["trial"] == study.best_trial.number
    assert summary["valid_accuracy"] == done.result["valid_accuracy"]
    assert len(trial_rows(one)) == len(trial_rows(other)) == 8


@pytest.mark.slow
def test_a_study_survives_the_end_of_its_server(tmp_path: Path) -> None:
    with database_server() as server:
        storage = f"storage='{server.url}'"
        words = (*STUDY, *BARE, "executor=inline", storage, "budget.trials=8")
        process = commands.start("tune", *words, f"hydra.run.dir={tmp_path}")
        wait_until(lambda: len(list(tmp_path.glob("trials/*/summary.json"))) >= 2, process)
        server.stop()
        _, err = process.communicate(timeout=120)
        (line,) = err.splitlines()
        assert (process.returncode, line[:33]) == (4, "darts tune: cannot write storage=")
        assert line.endswith(f"continue with: darts tune resume={tmp_path}")
        server.start()
        done = commands.call("tune", [f"resume={tmp_path}"], tmp_path)
        assert done.result["complete"] == 8


def test_ctrl_c_saves_the_study_for_resuming(tmp_path: Path) -> None:
    folder, options = tmp_path / "run", (*BARE, IN_PROCESS, "budget.trials=4", "retries=0")
    with commands.signal_in_step(6, signal.SIGINT), pytest.raises(SystemExit, match="130"):
        commands.run("tune", folder, *STUDY, *options)
    states = [trial.state.name for trial in trials_of(folder)]
    assert states == ["COMPLETE", "COMPLETE", "WAITING"]
    assert not (folder / "summary.json").exists()
    assert len(trial_rows(folder)) == 2
    temporary = folder / "trials" / "0000" / ".summary.json.1.tmp"
    temporary.touch()  # a job that outlives a killed command may be writing such a file
    done = commands.call("tune", [f"resume={folder}"], folder)
    assert done.result["complete"] == done.result["trials"] == 4
    assert temporary.exists()


@pytest.mark.slow
def test_the_progress_includes_the_joules_of_earlier_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*STUDY, *BARE, IN_PROCESS, "budget.trials=2")
    commands.run("tune", tmp_path, *options)
    shown: list[float] = []
    step = tune.Console.step

    def record(self: Any, n: int = 1, **fields: Any) -> None:
        shown.append(fields.get("joules", 0.0))
        step(self, n, **fields)

    monkeypatch.setattr(tune.Console, "step", record)
    done = commands.call("tune", [f"resume={tmp_path}", "budget.trials=3"], tmp_path)
    assert max(shown) == pytest.approx(done.result["joules"])


@pytest.mark.slow
def test_a_pruner_ends_runs_in_worker_processes(tmp_path: Path) -> None:
    """The second run would need much longer than its first epochs, which are worse."""
    rates = "parameters.optimizer.lr=[0.05, 1e-7]"
    options = ("strategy=grid", "strategy.order=written", "metric=loss", "executor=processes")
    pruner = ("pruner=median", "pruner.startup=1", "pruner.warmup=1", "epochs=300")
    done = commands.run("tune", tmp_path, *DATA[:2], DATA[3], *NET, rates, *options, *pruner, *BARE)
    assert (done.result["complete"], done.result["pruned"]) == (1, 1)
    assert [row["state"] for row in trial_rows(tmp_path)] == ["complete", "pruned"]
    complete, pruned = trials_of(tmp_path)
    assert len(complete.intermediate_values) == 300
    assert 1 <= len(pruned.intermediate_values) < 100
    assert not (tmp_path / "trials/0001/summary.json").exists()
    ends = [row["end"] for row in read_metrics(tmp_path / "jobs.jsonl")]
    assert ends == ["complete", "stopped"]


@pytest.mark.slow
def test_no_trial_starts_after_budget_hours(tmp_path: Path) -> None:
    overrides = (*STUDY, *BARE, IN_PROCESS, "budget.trials=null")
    done = commands.run("tune", tmp_path / "a", *overrides, "budget.hours=0.0002")
    assert done.result["trials"] >= 1
    starts = [trial.datetime_start for trial in trials_of(tmp_path / "a")]
    assert (max(starts) - min(starts)).total_seconds() < 0.75
    line = commands.error_of("tune", *overrides, "budget.hours=1e-9", f"hydra.run.dir={tmp_path}/b")
    assert "no trial was completed; budget.hours=1e-09 may be too short" in line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*STUDY, "parameters.optimizer.lrr=[1]"), "did you mean 'optimizer.lr'"),
        ((*STUDY, "parameters.epochs={low: 0, high: 3}"), "epochs=0: must be"),
        ((*STUDY, "metric=acc"), "metric='acc' is unknown; choose from accuracy,"),
        ((*STUDY, "costs=[flop]"), "costs: 'flop' is unknown"),
        ((*STUDY, "costs=[latency_ms]"), "costs: 'latency_ms' is measured only if"),
        ((*STUDY, "pruner=median", "costs=[flops]"), "pruner=median cannot be combined with costs"),
        ((*STUDY, IN_PROCESS, "pruner=median"), "pruner=median cannot be combined with executor=i"),
        ((*STUDY, "budget.trials=null"), "budget.trials and budget.hours are both null"),
        ((*STUDY, "benchmark.table=x"), "benchmark.table needs parameters={genotype: {"),
        ((*STUDY, "judge=supernet", "judge.checkpoint=x"), "judge=supernet scores architectures"),
        (
            (TABLE, "benchmark.table=x", "parameters.genotype.space=macro"),
            "{space: nas201} or {space: macro, skeleton: nasbench}",
        ),
        ((TABLE, "benchmark.table=x", "workers=2"), "in this process; leave out workers=2"),
        ((TABLE, "benchmark.table={table}", "benchmark.epochs=9"), "no column 'cifar10_test_ep9'"),
        ((TABLE, "judge=training_free"), "judge=training_free compares architectures with each"),
        ((*STUDY, IN_PROCESS, "storage=study.log"), "storage='study.log' cannot be opened"),
    ],
)
def test_invalid_studies_are_refused_before_the_first_trial(
    table: Path, cwd: Path, overrides: tuple[str, ...], message: str
) -> None:
    arguments = [word.replace("{table}", str(table)) for word in overrides]
    assert message in commands.error_of("tune", *arguments)
    assert list(cwd.iterdir()) == []


def test_a_study_without_any_network_within_the_limits_says_so(tmp_path: Path) -> None:
    more = ("limit.macs=10", "analysis.retrain_best=false", "strategy=random", "budget.trials=2")
    line = commands.error_of("tune", *SIMPLE, IN_PROCESS, *more, f"hydra.run.dir={tmp_path}")
    assert "limit.macs=10: the networks of all 2 trials exceed the limits" in line
    assert not list(tmp_path.glob("trials/*/checkpoint.safetensors"))


def test_a_latency_model_is_for_networks_of_one_space_and_size(tmp_path: Path) -> None:
    limit = ("limit.latency_ms=3", f"limit.device={phone(tmp_path)}")
    line = commands.error_of("tune", *STUDY, *limit)
    assert "the latency model is for space=nas201, not space=mlp" in line
    cell = "genotype=|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"
    varied = ("space=nas201", cell, "parameters.space.channels=[2, 4]", *DATA)
    line = commands.error_of("tune", *varied, *limit)
    assert "networks of one size; leave parameters.space.channels out" in line
