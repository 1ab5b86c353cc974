"""Comparisons from the plan to the report; most of them use the fake runs of fake_run.py."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import command_calls as commands
import numpy as np
import pytest
import torch
from fake_executor import make_fake_executor
from waiting import wait_for, wait_until

from darts import compare
from darts.comparing.baselines import CostModel, RunFailed, pilot_overrides
from darts.comparing.plan import ComparisonPlan, as_overrides
from darts.comparing.report import render_report
from darts.comparing.results import ComparisonResults
from darts.config import compose
from darts.reading import read_json
from darts.recipes.commands import search_config
from darts.training.cost import count_macs

NET = ("dataset=synthetic", "dataset.samples=48", "space=mlp", "loader.batch_size=16")
ALL_BASELINES = "baselines=[random,random_sharing,random_search]"
SMALL = (*NET, "search.epochs=2", "retrain.epochs=3", "settings.random_search.epochs=1")


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "make_executor", make_fake_executor)


def overrides_of(directory: Path) -> dict[str, str]:
    words = read_json(directory / "overrides.json")["overrides"]
    return dict(word.split("=", 1) for word in words)


def starts(comparison: Path) -> dict[str, int]:
    """Return how often each run was started."""
    return {
        file.parent.relative_to(comparison / "runs").as_posix(): len(file.read_text())
        for file in sorted(comparison.glob("runs/**/starts"))
    }


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A comparison of darts_v1 with three baselines, made with fake runs."""
    folder = tmp_path_factory.mktemp("compare") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "make_executor", make_fake_executor)
        counts = ("searches=7", "retrainings=1", "workers=2", "seed=5")
        return commands.run("compare", folder, *SMALL, ALL_BASELINES, *counts)


def test_run_directory_contains_summary_report_and_rows(comparison: Any) -> None:
    assert {path.name for path in comparison.directory.iterdir()} == {
        *("config.yaml", "env.json", "overrides.json", "summary.json"),
        *("report.md", "rows.csv", "scores.svg", "runs"),
    }
    summary = comparison.json("summary.json")
    assert summary == comparison.result
    assert all(not isinstance(value, (dict, list)) for value in summary.values())
    rows = commands.read_table(comparison.directory / "rows.csv")
    assert len(rows) == 4 * 7
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        own = [float(row["test_accuracy"]) for row in rows if row["name"] == name]
        assert summary[f"{name}_test_accuracy"] == pytest.approx(np.mean(own))
        assert summary[f"{name}_test_accuracy_low"] < np.mean(own)
        assert summary[f"{name}_test_accuracy_high"] > np.mean(own)


def test_each_run_starts_once_with_its_seed(comparison: Any) -> None:
    assert set(starts(comparison.directory).values()) == {1}
    folder = comparison.directory / "runs"
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        seeds = [overrides_of(folder / name / str(i) / "retrain-0")["seed"] for i in range(7)]
        assert seeds == [str(5 + i) for i in range(7)]
    for name in ("darts_v1", "random_sharing"):
        searches = [overrides_of(folder / name / str(i) / "search") for i in range(7)]
        assert [search["seed"] for search in searches] == [str(5 + i) for i in range(7)]
        assert {search["method"] for search in searches} == {name}


def test_baselines_have_the_cost_of_the_method(comparison: Any) -> None:
    """The budget of 40 J pays for 7 epochs of 5 J and 7 J of work after them.

    It also pays for 4 trainings of 10 J.
    """
    folder = comparison.directory / "runs"
    assert overrides_of(folder / "darts_v1/0/search")["epochs"] == "2"
    assert overrides_of(folder / "random_sharing/pilot")["epochs"] == "3"
    assert overrides_of(folder / "random_sharing/0/search")["epochs"] == "7"
    chosen = read_json(folder / "random_search/0/chosen.json")
    assert (chosen["trained"], chosen["joules"]) == (4, 40.0)
    summary = comparison.result
    assert summary["darts_v1_search_joules"] == 40.0
    assert summary["random_sharing_search_joules"] == 42.0
    assert summary["random_search_search_joules"] == 40.0
    assert summary["random_search_joules"] == 0.0
    assert summary["joules"] == pytest.approx(7 * (40 + 42 + 40) + 22 + 28 * 30)
    assert summary["seconds"] == 2 * 7 + 1 + 7 * 4 + 28  # one second per run


def test_random_search_chooses_by_validation_score(comparison: Any) -> None:
    folder = comparison.directory / "runs/random_search/0"
    short = sorted(folder.glob("short-???"))
    assert all(overrides_of(run)["evaluate_test"] == "false" for run in short)
    assert all("test_accuracy" not in read_json(run / "summary.json") for run in short)
    best = max(short, key=lambda run: read_json(run / "summary.json")["valid_accuracy"])
    assert overrides_of(best)["genotype"] == (folder / "genotype.json").read_text()
    retrained = overrides_of(folder / "retrain-0")
    assert retrained["genotype"] == str(folder / "genotype.json")
    assert "evaluate_test" not in retrained
    assert overrides_of(comparison.directory / "runs/darts_v1/2/retrain-0")["genotype"] == str(
        comparison.directory / "runs/darts_v1/2/search"
    )


def test_report_states_verdicts_commands_and_costs(comparison: Any) -> None:
    page = (comparison.directory / "report.md").read_text(encoding="utf-8")
    # The fake scores of darts_v1 are higher; three comparisons need seven pairs to show it.
    for name in ("random", "random_sharing", "random_search"):
        assert comparison.result[f"difference_{name}_significant"]
        assert f"darts_v1 is better than {name}: difference " in page
        assert f"| `darts_v1` - `{name}` | " in page
        assert comparison.result[f"difference_{name}_verdict"] in comparison.out
    assert "trains random architectures briefly, 4.0 per search on average, and" in page
    for ratio in ("1.00", "1.05"):
        assert f"Its searches cost {ratio} times as much as searches of `darts_v1`." in page
    for line in page.splitlines():
        if line.startswith("darts "):
            words = shlex.split(line)
            compose(words[1], words[2:])
    figure = (comparison.directory / "scores.svg").read_text(encoding="utf-8")
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        assert f"interval-{name}" in figure
    assert "cannot show a difference" not in comparison.out
    assert "test_accuracy" not in comparison.out.partition("\ncompare\n")[0]  # hidden while it runs


def results_of(comparison: Any, folder: Path, edits: dict[str, Any]) -> ComparisonResults:
    """Return the results of a copy of a comparison in which some files are edited."""
    shutil.copytree(comparison.directory / "runs", folder / "runs")
    for pattern, edit in edits.items():
        files = list(folder.glob(f"runs/{pattern}"))
        assert files
        for file in files:
            file.write_text(json.dumps({**read_json(file), **edit}))
    overrides = read_json(comparison.directory / "overrides.json")["overrides"]
    return ComparisonResults(ComparisonPlan(compose("compare", [*overrides, "draws=1000"]), folder))


@pytest.mark.parametrize("source", ["another", "mixed: nvml + rapl"])
def test_joules_of_two_sources_are_not_summed(comparison: Any, tmp_path: Path, source: str) -> None:
    """Either one search has another source, or all runs have the same mixed source."""
    which = "random_sharing/0/search" if source == "another" else "**"
    edits = {f"{which}/{name}.json": {"joules_source": source} for name in ("summary", "chosen")}
    if source == "another":
        del edits[f"{which}/chosen.json"]
    results = results_of(comparison, tmp_path, edits)
    page = render_report(results, ["x=1"])
    assert "several sources" in page
    assert "All retrainings together took" in page
    assert "retrainings together used" not in page
    assert results.search_joules("random_sharing") is None
    assert results.cost_ratio("random_sharing") is None
    assert "Whether random_sharing cost as much as darts_v1 is unknown." in page
    joules = results.search_joules("darts_v1")
    assert joules == (40.0 if source == "another" else None)
    assert results.plan.total_cost()["joules"] is None
    network = next(n for n in results.networks if n.name == "random_sharing")
    assert network.search_joules_source == source


def test_verdict_mentions_unequal_cost(comparison: Any, tmp_path: Path) -> None:
    assert "equal cost" not in comparison.result["difference_random_sharing_verdict"]
    edits = {"random_sharing/*/search/summary.json": {"joules": 56.0}}
    found = results_of(comparison, tmp_path, edits).verdicts()
    verdicts = dict(zip(("random", "random_sharing", "random_search"), found, strict=True))
    remark = "random_sharing cost 1.40 times as much as darts_v1, which is not an equal cost."
    assert verdicts["random_sharing"].endswith(remark)
    for other in ("random", "random_search"):
        assert "equal cost" not in verdicts[other]


@pytest.mark.usefixtures("fake_runs")
def test_too_few_searches_show_no_difference(tmp_path: Path) -> None:
    overrides = (*SMALL, "baselines=[random]", "searches=4", "retrainings=2")
    done = commands.run("compare", tmp_path / "run", *overrides)
    start = done.out.partition("search darts_v1 0")[0]  # before the first run has ended
    assert "searches=4 cannot show a difference" in start
    assert "a comparison with 1 baseline needs at least 6 searches" in start
    verdict = done.result["difference_random_verdict"]
    assert "No difference between darts_v1 and random is shown: 4 searches are too few" in verdict
    assert "at least 6 are needed" in verdict
    assert not done.result["difference_random_significant"]
    for name in ("darts_v1", "random"):  # with the same seed for retraining j of search i
        folder = done.directory / "runs" / name
        runs = [folder / str(i) / f"retrain-{j}" for i in range(4) for j in range(2)]
        assert [overrides_of(run)["seed"] for run in runs] == [str(n) for n in range(8)]


@pytest.mark.slow
@pytest.mark.usefixtures("fake_runs")
def test_stopped_comparison_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.5")
    overrides = (*SMALL, ALL_BASELINES, "searches=2", "retrainings=1", "workers=2")
    folder = tmp_path / "run"
    pilot, search = folder / "runs/random_sharing/pilot", folder / "runs/darts_v1/0/search"

    def stop() -> None:
        wait_until(lambda: all((run / "metrics.jsonl").exists() for run in (pilot, search)))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(SystemExit, match=r"^143$"):
        commands.run("compare", folder, *overrides)
    thread.join()
    assert not (folder / "summary.json").exists()
    before = starts(folder)
    assert 1 <= len(before) <= 2

    monkeypatch.setenv("FAKE_SECONDS", "0")
    own, other = (path / ".file.json.1.tmp" for path in (search.parent, pilot))
    own.touch()
    other.touch()  # a job that outlives a killed command may be writing it
    commands.call("compare", [f"resume={folder}", "workers=1"], folder)
    assert (own.exists(), other.exists()) == (False, True)
    assert read_json(folder / "summary.json")["searches"] == 2
    after = starts(folder)
    assert after["darts_v1/0/search"] == 2
    assert {count for name, count in after.items() if name not in before} == {1}
    rows = (folder / "runs/darts_v1/0/search/metrics.jsonl").read_text().splitlines()
    assert len(rows) == 2  # resumed, not restarted
    assert "is complete" in commands.error_of("compare", f"resume={folder}")


def test_a_comparison_rejects_a_dry_run() -> None:
    line = commands.error_of("compare", *SMALL, "dry_run=true")
    assert "dry_run=true: only darts search predicts the cost of a run" in line


@pytest.mark.usefixtures("fake_runs")
def test_failed_run_prevents_only_runs_that_need_it(tmp_path: Path) -> None:
    overrides = (*SMALL, "baselines=[random,random_sharing]", "searches=2", "retrainings=1")
    folder = tmp_path / "run"
    failing = "settings.random_sharing.name=random_sharing"
    line = commands.error_of("compare", *overrides, failing, f"hydra.run.dir={folder}")
    assert "1 of 13 runs failed" in line  # the pilot; four others need it
    assert "darts search: it diverged" in line
    assert "pilot.log" in line
    assert not (folder / "report.md").exists()
    assert "random/1/retrain-0" in starts(folder)
    assert "random_sharing/0/search" not in starts(folder)


@pytest.mark.usefixtures("fake_runs")
@pytest.mark.slow
def test_diverged_short_training_counts_with_its_cost(tmp_path: Path) -> None:
    """The budget of 40 J pays for three trainings of 10 J and three diverged ones of 4 J."""
    overrides = (*SMALL, "baselines=[random_search]", "searches=1", "retrainings=1")
    diverging = "settings.random_search.optimizer.lr=9"
    done = commands.run("compare", tmp_path / "run", *overrides, diverging)
    folder = done.directory / "runs/random_search/0"
    chosen = read_json(folder / "chosen.json")
    assert (chosen["trained"], chosen["joules"], chosen["seconds"]) == (6, 42.0, 6.0)
    assert "best of 6 (3 diverged)" in done.out
    assert not (folder / "short-001/summary.json").exists()
    assert done.result["joules"] == 40 + 42 + 2 * 30  # both searches and the retrainings


@pytest.mark.usefixtures("fake_runs")
@pytest.mark.slow
def test_random_search_fails_if_the_first_three_trainings_diverge(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    overrides = (*SMALL, "baselines=[random_search]", "searches=1", "retrainings=1")
    diverging = "settings.random_search.optimizer.lr=99"
    line = commands.error_of("compare", *overrides, diverging, f"hydra.run.dir={folder}")
    assert "the first 3 short runs diverged: the loss became nan" in line
    assert "start a new comparison" in line
    assert commands.error_of("compare", f"resume={folder}").partition("; ")[0] in line
    assert starts(folder)["random_search/0/short-000"] == 1  # not repeated


@pytest.mark.usefixtures("fake_runs")
@pytest.mark.parametrize(
    ("gpus", "source", "workers", "shared"),
    [
        ("3,5", "nvml", 2, False),
        pytest.param("3", "nvml", 2, True, marks=pytest.mark.slow),
        pytest.param("3", "nvml", 1, False, marks=pytest.mark.slow),
        pytest.param("3,5", "rapl", 2, True, marks=pytest.mark.slow),
    ],
)
def test_shared_counters_are_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: str,
    source: str,
    workers: int,
    shared: bool,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setenv("FAKE_SOURCE", source)
    overrides = (*SMALL, "baselines=[random]", "searches=1", "retrainings=1", f"workers={workers}")
    done = commands.run("compare", tmp_path / "run", *overrides)
    warning = f"share the counter {source}"
    assert (warning in done.out) == shared
    assert (warning in (done.directory / "report.md").read_text()) == shared


def test_cost_model_finds_the_epochs_that_fit_a_budget() -> None:
    config = search_config([*NET, "method=random_sharing", "epochs=3"])

    def epochs(budget: float, joules: list[float], total: float) -> int:
        return CostModel(config, joules, total).epochs_within(config, budget)

    assert epochs(100.0, [10.0, 20.0, 30.0], 35.0) == round((100 - 5) / 10)
    assert epochs(100.0, [12.0, 20.0, 28.0], 28.0) == 12  # the first epoch is slower
    assert epochs(15.0, [10.0, 20.0, 30.0], 35.0) == 1
    with pytest.raises(RunFailed, match=r"14 J does not suffice for 1 epoch .* \(15 J\)"):
        epochs(14.0, [10.0, 20.0, 30.0], 35.0)
    with pytest.raises(RunFailed, match="300 J does not suffice"):  # 510 J are not of epochs
        epochs(300.0, [18.0, 35.0, 52.0], 561.0)
    with pytest.raises(RunFailed, match="was not measured"):
        epochs(100.0, [1.0, 1.0, 1.0], 1.0)


@pytest.mark.parametrize("method", ["p_darts", "pc_darts", "drnas", "random_sharing", "darts_v1"])
def test_pilot_contains_all_kinds_of_epochs(method: str) -> None:
    overrides = [*NET[:2], f"method={method}", "epochs=50"]
    config = search_config(overrides)
    pilot = search_config([*overrides, *pilot_overrides(config)])
    assert pilot.epochs == 3 * max(1, len(config.stages or []))
    rows = [10.0 * (epoch + 1) for epoch in range(pilot.epochs)]
    model = CostModel(pilot, rows, rows[-1])
    for epochs in (3, 17, 50, 101):  # all epochs have the same cost here
        assert model.joules(config, epochs) == pytest.approx(10 * epochs)


@pytest.mark.usefixtures("fake_runs")
def test_baseline_with_stages_has_equal_cost(tmp_path: Path) -> None:
    """The budget is 400 J. Later stages and epochs that update the alphas cost more."""
    overrides = ("dataset=synthetic", "dataset.samples=48", "baselines=[p_darts]", "searches=1")
    sizes = ("search.epochs=20", "retrain.epochs=1", "retrainings=1")
    done = commands.run("compare", tmp_path / "run", *overrides, *sizes)
    pilot = overrides_of(done.directory / "runs/p_darts/pilot")
    assert (pilot["epochs"], pilot["collapse.every"]) == ("9", "9")
    assert 380 <= done.result["p_darts_search_joules"] <= 420
    assert "equal cost" not in done.result["difference_p_darts_verdict"]


def macs_of_random_genotypes(*words: str) -> list[int]:
    base = ["dataset=synthetic", "space=nas201", "space.channels=2", "space.cells=1"]
    config: Any = compose("compare", [*base, *words])
    plan = ComparisonPlan(config, Path("unused"))
    example = torch.zeros(1, 3, 8, 8)
    return [
        count_macs(plan.space.network(genotype, classes=10, in_channels=3), example)
        for genotype in itertools.islice(plan.random_genotypes(0), 20)
    ]


def test_random_architectures_are_within_the_limits_of_the_searches() -> None:
    free = macs_of_random_genotypes()
    limit = sorted(free)[5]
    limited = macs_of_random_genotypes(f"search.limit.macs={limit}")
    assert max(free) > limit >= max(limited)
    assert len(set(limited)) > 1


def test_settings_become_overrides() -> None:
    nested = {"space": "mlp", "stages": [], "optimizer": {"lr": 0.1}, "name": "a b", "x": None}
    expected = ["space=mlp", "stages=[]", "optimizer.lr=0.1", "name='a b'", "x=null"]
    assert as_overrides(nested) == expected


@pytest.mark.slow  # real runs
def test_killed_comparison_with_real_runs_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = ("random_search.epochs=4", "random_sharing.discretize.samples=1")
    overrides = [*NET, "epochs=1", "search.epochs=6", *(f"settings.{text}" for text in settings)]
    overrides += [ALL_BASELINES, "searches=1", "retrainings=1", "workers=2"]
    overrides.append(f"hydra.run.dir={folder}")
    process = commands.start("compare", *overrides, start_new_session=True)
    file = folder / "runs/darts_v1/0/search/summary.json"
    wait_for(file, process)
    process.kill()
    process.communicate()
    written = file.stat().st_mtime
    done = commands.call("compare", [f"resume={folder}"], folder)
    assert file.stat().st_mtime == written
    summary = done.result
    assert summary["random_sharing_search_joules"] > 0
    assert summary["random_search_search_joules"] >= summary["darts_v1_search_joules"]
    assert "1 search is too few" in summary["difference_random_verdict"]
    assert (folder / "report.md").exists()
