"""The results of a study: the files that it writes, its energy, and the analysis at its end.

A study writes ``trials.csv``, ``best.json`` and files for TensorBoard. The analysis computes
importances, and executes a final run.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.study import StudyPlan, best_trial
from darts.hpo.trials import (
    WALL_SECONDS,
    complete_trials,
    failure_reason,
    finished_trials,
    trial_results,
    trial_scores,
    trial_state,
)
from darts.judging.benchmark import Benchmark
from darts.judging.importances import ParameterImportances
from darts.judging.rankings import agreement
from darts.plotting.study_figures import save_study_figures
from darts.reading import JsonObject, read_json_object
from darts.recipes.commands import merge_overrides, resume_command, run_command
from darts.tracking import TensorBoard, print_lines, read_metrics
from darts.tracking.ledger import sum_costs
from darts.tracking.optional import optional
from darts.tracking.trackers import TrackedRun
from darts.writing import write_atomically, write_json

MIN_TRIALS = 10  # complete trials that the importances of parameters need


def trial_rows(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> list[dict[str, object]]:
    """Return a row of ``trials.csv`` per finished trial.

    A row has number, state, scores, costs, wall time in seconds, parameters, genotype and failure.
    """
    rows: list[dict[str, object]] = []
    for trial in finished_trials(trials):
        failure = failure_reason(trial) if trial.state == TrialState.FAIL else None
        own = {"trial": trial.number, "state": trial_state(trial), **trial_results(trial)}
        seconds = {WALL_SECONDS: trial.user_attrs.get(WALL_SECONDS)}
        rows.append({**own, **seconds, **plan.space.row(trial.params), "failure": failure})
    return rows


def best_overrides(plan: StudyPlan, trial: FrozenTrial) -> list[str]:
    """Return the overrides that repeat a trial as an ordinary run, with the test split."""
    trials_only = ("evaluate_test=", "tracking.")
    overrides = [o for o in plan.fixed_overrides if not o.startswith(trials_only)]
    return merge_overrides([*overrides, *plan.space.overrides(trial.params)])


def write_best(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> JsonObject | None:
    """Write ``best.json``, and ``genotype.json`` if the study varies the architecture.

    Return the content of ``best.json``, or None without a complete trial.
    """
    best = best_trial(plan, trials)
    if best is None:
        return None
    arguments = overrides = best_overrides(plan, best)
    genotype = plan.space.genotype(best.params)
    if genotype is not None:
        # The printed command names the run directory instead of the long text of the genotype.
        arguments = merge_overrides([*overrides, f"genotype={plan.directory}"])
        write_atomically(plan.directory / "genotype.json", genotype.to_json())
    content = {
        "trial": best.number,
        **{name: trial_results(best)[name] for name in plan.objectives},
        "parameters": plan.space.settings(best.params),
        "genotype": None if genotype is None else str(genotype),
        "overrides": overrides,
        "command": f"darts {plan.config.target} {shlex.join(arguments)}",
    }
    write_json(plan.directory / "best.json", content)
    return content


def total_energy(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> JsonObject:
    """Return ``joules``, ``joules_source`` and ``gco2e`` of all runs, including the analysis.

    The energy of an unfinished trial is read from its run directory and therefore included only if
    it ran on this machine.
    """
    measured = [trial for trial in trials if "joules" in trial_results(trial)]
    names = {f"{trial.number:04d}" for trial in measured}
    directories = [d for d in plan.directory.glob("trials/*") if d.name not in names]
    directories += plan.directory.glob("final*")
    costs: list[JsonObject] = [dict(trial_results(trial)) for trial in measured]
    for directory in directories:
        # The summary of a finished run, or the last epoch of an unfinished one.
        summary, metrics = directory / "summary.json", directory / "metrics.jsonl"
        if summary.exists():
            costs.append(read_json_object(summary))
        elif metrics.exists():
            costs += read_metrics(metrics)[-1:]
    return sum_costs([cost for cost in costs if "joules" in cost])


def log_hparams(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> None:
    """Log each complete trial that has no folder yet for TensorBoard's HPARAMS page."""
    for trial in complete_trials(trials):
        directory = plan.directory / "hparams" / f"{trial.number:04d}"
        if directory.exists():
            continue
        run = TrackedRun(directory, directory.name, plan.space.row(trial.params), trial.number)
        with optional(directory), closing(TensorBoard(run)) as board:
            board.log_results(trial_scores(trial))


def analyze(plan: StudyPlan, study: Study) -> JsonObject:
    """Analyze a study with at least one complete trial and return entries of ``summary.json``.

    The analysis also writes ``analysis.json`` and the figures.
    """
    trials = study.get_trials(deepcopy=False)
    best = best_trial(plan, trials)
    assert best is not None
    summary = _true_scores(plan, trials, best)
    details: JsonObject = {}
    importances, complete = None, complete_trials(trials)
    if len(complete) >= MIN_TRIALS:
        importances = ParameterImportances(plan.space.parameters, complete, plan.config.seed)
        details["importances"] = importances.by_name
        for group, names in plan.space.groups().items():
            summary[f"share_{group}"] = sum(importances.by_name[name] for name in names)
    if plan.config.analysis.retrain_best and plan.config.judge.name != "table":
        summary |= _retrain_best(plan, best)
    write_json(plan.directory / "analysis.json", details)
    if plan.config.tracking.figures:
        save_study_figures(
            plan.directory, study, plan.objectives, importances=importances, title=plan.config.name
        )
    return summary


def _true_scores(plan: StudyPlan, trials: Sequence[FrozenTrial], best: FrozenTrial) -> JsonObject:
    """Return the best trial's scores in the benchmark table, and two rank correlations.

    The correlations compare the scores of all complete trials with the true test accuracies. They
    are left out if the scores or the accuracies are all equal. Without a table, return {}.
    """
    if plan.space.architecture is None:
        return {}
    benchmark = Benchmark.from_config(plan.config.benchmark, plan.space.architecture)
    if benchmark is None:
        return {}

    def true_scores(trial: FrozenTrial) -> dict[str, float]:
        genotype = plan.space.genotype(trial.params)
        assert genotype is not None
        return benchmark.scores(genotype)

    summary: JsonObject = {**true_scores(best), "architectures": len(benchmark.table)}
    complete = complete_trials(trials)
    scores = [trial.values[0] for trial in complete]
    accuracies = [true_scores(trial)["true_accuracy"] for trial in complete]
    if len(set(scores)) > 1 and len(set(accuracies)) > 1:
        sign = 1 if plan.higher_is_better else -1
        found = agreement(sign * np.array(scores), np.array(accuracies))
        summary["rank_correlation_spearman"] = found.spearman
        summary["rank_correlation_kendall"] = found.kendall
    return summary


def _retrain_best(plan: StudyPlan, best: FrozenTrial) -> JsonObject:
    """Train the best point once more and return its scores on the test split.

    This is the only use of the test split in a study.
    """
    overrides = best_overrides(plan, best)
    # A study that is resumed with a larger budget may find a better point, and then needs another
    # directory.
    names = itertools.chain(["final"], (f"final_{number}" for number in itertools.count(2)))
    for directory in (plan.directory / name for name in names):
        record = directory / "overrides.json"
        if not record.exists() or read_json_object(record).get("overrides") == overrides:
            break
    summary_file = directory / "summary.json"
    if not summary_file.exists():
        print_lines("", f"training the best point for its test scores, in {directory}")
        if (directory / "config.yaml").exists():  # this run was interrupted
            resume_command(plan.config.target, directory)
        else:
            run_command(plan.config.target, overrides, directory)
    summary = read_json_object(summary_file)
    return {name: value for name, value in summary.items() if name.startswith("test_")}
