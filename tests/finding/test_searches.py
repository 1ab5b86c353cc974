"""The gradient searches of ``darts.find``, and errors of the executor of its jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_race import DATA, networks_of

from darts.finding.budget import Stopwatch
from darts.finding.candidates import BASELINE, Candidate
from darts.finding.decisions import Decisions
from darts.finding.execution import Execution
from darts.finding.proposals import Pool
from darts.finding.results import FoldRun, Result
from darts.finding.searches import GradientSearches
from darts.recipes.rules import Setting
from darts.running.jobs import Executor, ExecutorError, Future, Job, Outcome

LIMITED = ("limit.macs=100000", "optimizer.lr=0.5")
METHODS = ("methods=[darts_v1,pc_darts]",)


def make_searches(folder: Path, *words: str) -> tuple[GradientSearches, Result]:
    """Return the searches, and the result of a leader that trained 20 epochs in 10 seconds."""
    config, facts, networks = networks_of((*DATA, *LIMITED, *words))
    pool = Pool(config, networks, facts)
    setting = Setting("flip", {"dataset.flip": True})
    genotype = networks["mlp"].baselines["mlp_128"]
    leader = Candidate("mlp-mlp_128+flip", "mlp", genotype, BASELINE, setting)
    summary = {"epochs": 20, "epoch": 20, "seconds": 10.0}
    result = Result(leader, (FoldRun(folder, summary),), summary, 0.5)
    decisions = Decisions(folder / "decisions.json")
    return GradientSearches(pool, decisions, folder, print), result


def test_searches_get_the_recipe_of_searches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches, leader = make_searches(tmp_path, *METHODS, "plan.search_epochs=9")
    (job,) = searches.start(leader, 60, 2)
    assert job.name == "search-mlp-darts_v1"
    assert {"epochs=9", "method=darts_v1", "space=mlp", "dataset=synthetic"} <= {*job.overrides}
    assert "optimizer.lr=0.5" not in job.overrides  # for retrainings
    assert "no search with pc_darts: mlp has no partial channels" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("plan.equal=epochs",), ("plan.search_epochs=0",), ()])
def test_without_time_for_some_epochs_there_is_no_search(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    searches, leader = make_searches(tmp_path, *METHODS, *words)
    assert searches.start(leader, 60 if words else 3, 2) == []


def test_a_resumed_run_repeats_its_searches(tmp_path: Path) -> None:
    searches, leader = make_searches(tmp_path, *METHODS)
    (job,) = searches.start(leader, 20, 2)
    again, _ = make_searches(tmp_path, *METHODS)
    assert again.start(leader, 2_000, 2) == [job]


def test_genotypes_of_searches_become_candidates(tmp_path: Path) -> None:
    words = ("methods=[darts_v2,darts_v1]", "plan.search_epochs=1")
    searches, leader = make_searches(tmp_path, *words)
    assert list(searches.candidates(leader.candidate)) == []
    layers = {"darts_v2": ["relu_64"], "darts_v1": ["relu_256", "relu_256"]}
    for job in searches.start(leader, 60, 2):
        job.directory.mkdir()
        text = json.dumps({"space": "mlp", "layers": layers[job.directory.name.split("-")[2]]})
        (job.directory / "genotype.json").write_text(text)
        (job.directory / "summary.json").write_text("{}")
    (candidate,) = searches.candidates(leader.candidate)  # the other one is beyond the limit
    assert (candidate.name, candidate.origin) == ("mlp-darts_v2", "darts_v2")
    assert candidate.setting == leader.candidate.setting
    assert str(candidate.genotype) == '{"space": "mlp", "layers": ["relu_64"]}'


class FakeExecutor(Executor):
    """A run that fails, a job that cannot be executed, and one that never ends."""

    workers, threads = 3, 1

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        futures = [Future(job) for job in jobs]
        futures[0].set_result(Outcome(None, "it diverged"))
        futures[1].set_exception(ExecutorError("3 workers in a row died"))
        return futures


def test_an_error_of_the_executor_ends_the_race_at_once(tmp_path: Path) -> None:
    """It does not wait for the other runs, which the end of the executor stops."""
    messages: list[str] = []
    console: Any = SimpleNamespace(warn=messages.append, step=lambda seconds, **fields: None)
    interrupt: Any = SimpleNamespace(received=None)
    stopwatch = Stopwatch(100.0, Decisions(tmp_path / "decisions.json"), clock=lambda: 0.0)
    execution = Execution(FakeExecutor(), console, interrupt, stopwatch)
    jobs = [Job(name, "retrain", tmp_path / name, ()) for name in ("a", "b", "c")]
    with pytest.raises(ExecutorError, match="3 workers"):
        execution.run(jobs)
    assert messages == ["a: it diverged"]
