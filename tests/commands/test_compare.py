"""Studies from their first run to the report; most of them over runs that only look like runs."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darts.comparing import runs as real_runs
from darts.comparing.pilot import CostModel, pilot_overrides
from darts.comparing.plan import ComparisonPlan, as_overrides, require_common_source
from darts.comparing.report import ComparisonResults, total_cost
from darts.comparing.runs import RunFailed, RunLauncher
from darts.config import compose
from darts.hpo.tools import trial_config
from darts.tracking import read_json

FAKE = str(Path(__file__).with_name("fake_run.py"))
NET = ("dataset=synthetic", "dataset.samples=48", "space=mlp", "loader.batch_size=16")
ALL = "baselines=[random,random_sharing,random_search]"
SMALL = (*NET, "search.epochs=2", "retrain.epochs=3", "settings.random_search.epochs=1")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_runs, "program", lambda command: [sys.executable, FAKE, command])


def overrides_of(directory: Path) -> dict[str, str]:
    words = read_json(directory / "overrides.json")["overrides"]
    return dict(word.split("=", 1) for word in words)


def starts(study: Path) -> dict[str, int]:
    """How often each run was started."""
    return {
        file.parent.relative_to(study / "runs").as_posix(): len(file.read_text())
        for file in sorted(study.glob("runs/**/starts"))
    }


@pytest.fixture(scope="module")
def studied(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("compare") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_runs, "program", lambda command: [sys.executable, FAKE, command])
        return commands.run(
            "compare", folder, *SMALL, ALL, "searches=7", "retrainings=1", "workers=2", "seed=5"
        )


def test_what_is_in_the_run_directory(studied: Any) -> None:
    assert {path.name for path in studied.directory.iterdir()} == {
        *("config.yaml", "env.json", "overrides.json", "comparison.json", "summary.json"),
        *("report.md", "rows.csv", "scores.svg", "runs"),
    }
    summary = studied.json("summary.json")
    assert summary == studied.result
    assert all(not isinstance(value, (dict, list)) for value in summary.values())
    with (studied.directory / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 7
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        own = [float(row["test_accuracy"]) for row in rows if row["name"] == name]
        assert summary[f"{name}_test_accuracy"] == pytest.approx(np.mean(own))
        assert summary[f"{name}_test_accuracy_low"] < np.mean(own)
        assert summary[f"{name}_test_accuracy_high"] > np.mean(own)


def test_every_run_is_started_once_and_told_its_seed(studied: Any) -> None:
    assert set(starts(studied.directory).values()) == {1}
    place = studied.directory / "runs"
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        seeds = [overrides_of(place / name / str(i) / "retrain-0")["seed"] for i in range(7)]
        assert seeds == [str(5 + i) for i in range(7)]
    for name in ("darts_v1", "random_sharing"):
        found = [overrides_of(place / name / str(i) / "search") for i in range(7)]
        assert [given["seed"] for given in found] == [str(5 + i) for i in range(7)]
        assert {given["method"] for given in found} == {name}


def test_baselines_cost_what_the_method_costs(studied: Any) -> None:
    """40 J: 7 epochs of 5 J with 7 J after them, or 4 trainings of 10 J."""
    place = studied.directory / "runs"
    assert overrides_of(place / "darts_v1/0/search")["epochs"] == "2"
    assert overrides_of(place / "random_sharing/pilot")["epochs"] == "3"
    assert overrides_of(place / "random_sharing/0/search")["epochs"] == "7"
    chosen = read_json(place / "random_search/0/chosen.json")
    assert (chosen["trained"], chosen["joules"]) == (4, 40.0)
    summary = studied.result
    assert summary["darts_v1_search_joules"] == 40.0
    assert summary["random_sharing_search_joules"] == 42.0
    assert summary["random_search_search_joules"] == 40.0
    assert summary["random_search_joules"] == 0.0
    everything = 7 * (40 + 42 + 40) + 22 + 28 * 30
    assert summary["joules"] == pytest.approx(everything)
    assert summary["seconds"] == 2 * 7 + 1 + 7 * 4 + 28  # a second a run


def test_choices_are_made_on_validation_data(studied: Any) -> None:
    place = studied.directory / "runs/random_search/0"
    short = sorted(place.glob("short-???"))
    assert all(overrides_of(run)["test"] == "false" for run in short)
    assert all("test_accuracy" not in read_json(run / "summary.json") for run in short)
    best = max(short, key=lambda run: read_json(run / "summary.json")["valid_accuracy"])
    assert overrides_of(best)["genotype"] == (place / "genotype.json").read_text()
    retrained = overrides_of(place / "retrain-0")
    assert retrained["genotype"] == str(place / "genotype.json")
    assert "test" not in retrained
    assert overrides_of(studied.directory / "runs/darts_v1/2/retrain-0")["genotype"] == str(
        studied.directory / "runs/darts_v1/2/search"
    )


def test_random_architectures_differ_from_search_to_search(studied: Any) -> None:
    found = {(studied.directory / f"runs/random/{i}/genotype.json").read_text() for i in range(7)}
    assert len(found) > 1


def test_the_report(studied: Any) -> None:
    page = (studied.directory / "report.md").read_text(encoding="utf-8")
    # The made-up scores of what darts_v1 finds are higher, but three comparisons need seven pairs.
    for name in ("random", "random_sharing", "random_search"):
        assert studied.result[f"difference_{name}_shown"]
        assert f"darts_v1 is better than {name}: difference " in page
        assert f"| `darts_v1` - `{name}` | " in page
        assert studied.result[f"difference_{name}_verdict"] in studied.out
    assert "at 1.00 of the cost of a search of `darts_v1`" in page
    assert "they came to 1.05 of it" in page
    for line in page.splitlines():
        if line.startswith("python -m darts."):
            words = shlex.split(line)
            compose(words[2].removeprefix("darts."), words[3:])
    picture = (studied.directory / "scores.svg").read_text(encoding="utf-8")
    for name in ("darts_v1", "random", "random_sharing", "random_search"):
        assert f"interval-{name}" in picture
    assert "can show no difference" not in studied.out
    assert "test_accuracy" not in studied.out.partition("\ncompare\n")[0]  # not while it runs


def results_of(study: Any, folder: Path, edits: dict[str, dict[str, Any]]) -> ComparisonResults:
    """The results of a copy of a study in which some files tell something else."""
    shutil.copytree(study.directory / "runs", folder / "runs")
    for pattern, edit in edits.items():
        files = list(folder.glob(f"runs/{pattern}"))
        assert files
        for file in files:
            file.write_text(json.dumps({**read_json(file), **edit}))
    given = read_json(study.directory / "overrides.json")["overrides"]
    return ComparisonResults(ComparisonPlan(compose("compare", [*given, "draws=1000"]), folder))


@pytest.mark.parametrize("source", ["another", "mixed: nvml + rapl"])
def test_joules_of_several_sources_are_not_added_up(
    studied: Any, tmp_path: Path, source: str
) -> None:
    """One search has told of another source, or all of the same mixture."""
    which = "random_sharing/0/search" if source == "another" else "**"
    edits = {f"{which}/{name}.json": {"joules_source": source} for name in ("summary", "chosen")}
    if source == "another":
        del edits[f"{which}/chosen.json"]
    results = results_of(studied, tmp_path, edits)
    page = results.page(["x=1"])
    assert "several sources" in page
    assert "retrainings used" not in page
    assert results.search_joules("random_sharing") is None
    assert results.cost_ratio("random_sharing") is None
    assert "Whether random_sharing cost as much as darts_v1 is not known." in page
    alone = results.search_joules("darts_v1")
    assert alone == (40.0 if source == "another" else None)
    assert total_cost(results.protocol)["joules"] is None
    row = next(row for row in results.rows if row["name"] == "random_sharing")
    assert row["search_joules_source"] == source


def test_mixtures_do_not_compare() -> None:
    mixed = {"joules_source": "mixed: nvml + rapl"}
    with pytest.raises(RunFailed, match="do not compare"):
        require_common_source(mixed, mixed)
    require_common_source({"joules_source": "rapl"}, {"joules_source": "rapl"})


def test_unequal_cost_is_said_in_the_verdict(studied: Any, tmp_path: Path) -> None:
    assert "equal cost" not in studied.result["difference_random_sharing_verdict"]
    edits = {"random_sharing/*/search/summary.json": {"joules": 56.0}}
    verdicts = dict(
        zip(
            ("random", "random_sharing", "random_search"),
            results_of(studied, tmp_path, edits).verdicts(),
            strict=True,
        )
    )
    said = "random_sharing cost 1.40 times as much as darts_v1: not at equal cost."
    assert verdicts["random_sharing"].endswith(said)
    for other in ("random", "random_search"):
        assert "equal cost" not in verdicts[other]


@pytest.mark.usefixtures("fake")
def test_too_few_searches_show_nothing(commands: Any, tmp_path: Path) -> None:
    given = (*SMALL, "baselines=[random]", "searches=4", "retrainings=2")
    done = commands.run("compare", tmp_path / "run", *given)
    begun = done.out.partition("search darts_v1 0")[0]  # before the first run has ended
    assert "searches=4 can show no difference" in begun
    assert "need at least 6" in begun
    verdict = done.result["difference_random_verdict"]
    assert "No difference between darts_v1 and random is shown: 4 searches are too few" in verdict
    assert "at least 6 are needed" in verdict
    assert not done.result["difference_random_shown"]
    for name in ("darts_v1", "random"):  # each network has a seed of its own, the same for both
        place = done.directory / "runs" / name
        runs = [place / str(i) / f"retrain-{j}" for i in range(4) for j in range(2)]
        assert [overrides_of(run)["seed"] for run in runs] == [str(n) for n in range(8)]


@pytest.mark.usefixtures("fake")
def test_a_stopped_study_is_resumed(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM reaches the runs, which save; what was complete is not run again."""
    monkeypatch.setenv("FAKE_SECONDS", "0.5")
    given = (*SMALL, ALL, "searches=2", "retrainings=1", "workers=2")
    folder = tmp_path / "run"
    first = folder / "runs/darts_v1/0/search/metrics.jsonl"

    def stop() -> None:
        while not first.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(SystemExit) as left:
        commands.run("compare", folder, *given)
    thread.join()
    assert left.value.code == 143
    assert not (folder / "summary.json").exists()
    before = starts(folder)
    assert 1 <= len(before) <= 2

    monkeypatch.setenv("FAKE_SECONDS", "0")
    line = commands.refused("compare", *given, f"hydra.run.dir={folder}")
    assert "already holds a comparison" in line
    line = commands.refused("compare", f"resume={folder}", "searches=3")
    assert "searches is 2 in the comparison and 3 here" in line
    commands.exactly("compare", [f"resume={folder}", "workers=1"], folder)
    assert read_json(folder / "summary.json")["searches"] == 2
    after = starts(folder)
    assert after["darts_v1/0/search"] == 2
    assert {count for name, count in after.items() if name not in before} == {1}
    rows = (folder / "runs/darts_v1/0/search/metrics.jsonl").read_text().splitlines()
    assert len(rows) == 2  # it went on where it had been
    assert "is complete" in commands.refused("compare", f"resume={folder}")


@pytest.mark.usefixtures("fake")
def test_a_run_that_fails_keeps_others_from_nothing(commands: Any, tmp_path: Path) -> None:
    given = (*SMALL, "baselines=[random,random_sharing]", "searches=2", "retrainings=1")
    folder = tmp_path / "run"
    line = commands.refused(
        "compare", *given, "settings.random_sharing.name=random_sharing", f"hydra.run.dir={folder}"
    )
    assert "1 of 13 jobs failed" in line  # the pilot; four others needed it
    assert "darts.search: it diverged" in line
    assert "pilot.log" in line
    assert not (folder / "report.md").exists()
    assert "random/1/retrain-0" in starts(folder)
    assert "random_sharing/0/search" not in starts(folder)


@pytest.mark.usefixtures("fake")
def test_a_short_training_that_diverges_is_paid_for(commands: Any, tmp_path: Path) -> None:
    """40 J: three trainings of 10 J, each followed by one of 4 J that diverges."""
    given = (*SMALL, "baselines=[random_search]", "searches=1", "retrainings=1")
    done = commands.run("compare", tmp_path / "run", *given, "settings.random_search.optimizer.lr=9")
    place = done.directory / "runs/random_search/0"
    chosen = read_json(place / "chosen.json")
    assert (chosen["trained"], chosen["joules"], chosen["seconds"]) == (6, 42.0, 6.0)
    assert "best of 6 (3 diverged)" in done.out
    assert not (place / "short-001/summary.json").exists()
    assert done.result["joules"] == 40 + 42 + 2 * 30  # the method's search, this, retrainings


@pytest.mark.usefixtures("fake")
def test_short_trainings_that_all_diverge_end(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = (*SMALL, "baselines=[random_search]", "searches=1", "retrainings=1")
    bad = "settings.random_search.optimizer.lr=99"
    line = commands.refused("compare", *given, bad, f"hydra.run.dir={folder}")
    assert "the first 3 short trainings diverged: the loss became nan" in line
    assert "needs a new comparison" in line
    assert commands.refused("compare", f"resume={folder}").partition("; ")[0] in line
    assert starts(folder)["random_search/0/short-000"] == 1  # it would diverge again


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("gpus", "source", "workers", "shared"),
    [
        ("3,5", "nvml", 2, False),
        ("3", "nvml", 2, True),
        ("3", "nvml", 1, False),
        ("3,5", "rapl", 2, True),
    ],
)
def test_runs_take_gpus_in_turn_and_do_not_share_counters_unsaid(
    commands: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: str,
    source: str,
    workers: int,
    shared: bool,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setenv("FAKE_SOURCE", source)
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    given = (*SMALL, "baselines=[random]", "searches=1", "retrainings=1", f"workers={workers}")
    done = commands.run("compare", tmp_path / "run", *given)
    used = {read_json(file)["gpu"] for file in done.directory.glob("runs/**/summary.json")}
    assert used == (set(gpus.split(",")) if workers > 1 else {gpus})
    said = f"share the counter {source}"
    assert (said in done.out) == shared
    assert (said in (done.directory / "report.md").read_text()) == shared


@pytest.mark.usefixtures("fake")
def test_a_run_that_another_process_is_at_is_waited_for(tmp_path: Path) -> None:
    """As when a study was killed and its runs go on."""
    directory = tmp_path / "search"
    hold = (
        "import fcntl, pathlib, sys, time\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "file = place.with_name('search.lock').open('wb')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(1)\n"
        "place.mkdir()\n"
        "(place / 'summary.json').write_text('{\"by\": \"another\"}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        summary = RunLauncher(1)("search", directory, ["method=darts_v1", "seed=0", "epochs=1"])
    assert summary == {"by": "another"}
    assert not (directory / "starts").exists()


def test_epochs_within_a_budget() -> None:
    config = trial_config("search", [*NET, "method=random_sharing", "epochs=3"])

    def epochs(budget: float, after_epochs: list[float], whole: float) -> int:
        return CostModel(config, after_epochs, whole).epochs_within(config, budget)

    assert epochs(100.0, [10.0, 20.0, 30.0], 35.0) == round((100 - 5) / 10)
    assert epochs(100.0, [12.0, 20.0, 28.0], 28.0) == 12  # the first is slower
    assert epochs(15.0, [10.0, 20.0, 30.0], 35.0) == 1
    with pytest.raises(RunFailed, match=r"14 J do not pay for 1 epoch and .* after them, 15 J"):
        epochs(14.0, [10.0, 20.0, 30.0], 35.0)
    with pytest.raises(RunFailed, match="300 J do not pay"):  # 510 J come after the epochs
        epochs(300.0, [18.0, 35.0, 52.0], 561.0)
    with pytest.raises(RunFailed, match="does not tell"):
        epochs(100.0, [1.0, 1.0, 1.0], 1.0)


def test_a_pilot_that_lacks_a_kind_of_epoch_is_refused() -> None:
    """Three epochs of PC-DARTS, as they were run once: alphas rest in the first alone."""
    config = trial_config("search", [*NET[:2], "method=pc_darts", "epochs=3"])
    with pytest.raises(RunFailed, match="no epoch of stage 1 in which alphas rest"):
        CostModel(config, [10.0, 30.0, 50.0], 50.0)


@pytest.mark.parametrize("method", ["p_darts", "pc_darts", "drnas", "random_sharing", "darts_v1"])
def test_a_pilot_has_all_kinds_of_epochs(method: str) -> None:
    given = [*NET[:2], f"method={method}", "epochs=50"]
    whole = trial_config("search", given)
    pilot = trial_config("search", [*given, *pilot_overrides(whole)])
    assert pilot.epochs == 3 * max(1, len(whole.stages or []))
    rows = [10.0 * (epoch + 1) for epoch in range(pilot.epochs)]
    price = CostModel(pilot, rows, rows[-1])
    for epochs in (3, 17, 50, 101):  # whatever it has, each epoch costs the same here
        assert price.of(whole, epochs) == pytest.approx(10 * epochs)


@pytest.mark.usefixtures("fake")
def test_a_method_in_stages_costs_as_much(commands: Any, tmp_path: Path) -> None:
    """Of the 400 J of 20 epochs of darts_v1; each stage is dearer, above all where alphas move."""
    given = ("dataset=synthetic", "dataset.samples=48", "baselines=[p_darts]", "searches=1")
    sizes = ("search.epochs=20", "retrain.epochs=1", "retrainings=1")
    done = commands.run("compare", tmp_path / "run", *given, *sizes)
    pilot = overrides_of(done.directory / "runs/p_darts/pilot")
    assert (pilot["epochs"], pilot["collapse.every"]) == ("9", "9")
    assert 380 <= done.result["p_darts_search_joules"] <= 420
    assert "equal cost" not in done.result["difference_p_darts_verdict"]


def test_settings_as_overrides() -> None:
    nested = {"space": "mlp", "stages": [], "optimizer": {"lr": 0.1}, "name": "a b", "x": None}
    expected = ["space=mlp", "stages=[]", "optimizer.lr=0.1", "name='a b'", "x=null"]
    assert as_overrides(nested) == expected


@pytest.mark.slow  # real runs
def test_real_runs_and_a_study_that_is_killed(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = [
        *(*NET, "epochs=1", "search.epochs=6", "settings.random_search.epochs=4", ALL),
        "settings.random_sharing.discretize.samples=1",
        *("searches=1", "retrainings=1", "workers=2", f"hydra.run.dir={folder}"),
    ]
    process = commands.start("compare", *given, start_new_session=True)
    while not (folder / "runs/darts_v1/0/search/summary.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    search = (folder / "runs/darts_v1/0/search/summary.json").stat()
    done = commands.exactly("compare", [f"resume={folder}"], folder)
    assert (folder / "runs/darts_v1/0/search/summary.json").stat().st_mtime == search.st_mtime
    summary = done.result
    assert summary["random_sharing_search_joules"] > 0
    assert summary["random_search_search_joules"] >= summary["darts_v1_search_joules"]
    assert "1 search is too few" in summary["difference_random_verdict"]
    assert (folder / "report.md").exists()
