"""The files that a study writes (``trials.csv``, ``best.json``, TensorBoard), and its energy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing

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
from darts.reading import JsonObject, read_json
from darts.recipes.commands import merge_overrides
from darts.strategies.history import first_attempt
from darts.tracking import TensorBoard, read_metrics
from darts.tracking.ledger import sum_costs
from darts.tracking.optional import optional
from darts.tracking.trackers import TrackedRun
from darts.writing import write_atomically, write_json


def trial_rows(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> list[dict[str, object]]:
    """Return a row of ``trials.csv`` per finished trial.

    A row has number, state, scores, costs, wall time in seconds, parameters, genotype and failure.
    """
    rows: list[dict[str, object]] = []
    for trial in finished_trials(trials):
        point = trial.params
        if plan.space.parameters.contains(point):
            point = plan.space.row(point)
        failure = failure_reason(trial) if trial.state == TrialState.FAIL else None
        own = {"trial": trial.number, "state": trial_state(trial), **trial_results(trial)}
        seconds = {WALL_SECONDS: trial.user_attrs.get(WALL_SECONDS)}
        rows.append({**own, **seconds, **point, "failure": failure})
    return rows


def best_overrides(plan: StudyPlan, trial: FrozenTrial) -> list[str]:
    """Return the overrides that repeat a trial as an ordinary run, with the test split."""
    trials_only = ("evaluate_test=", "tracking.", "metric=")
    overrides = [o for o in plan.fixed_overrides if not o.startswith(trials_only)]
    overrides.append(f"metric={plan.config.metric}")
    return merge_overrides([*overrides, *plan.space.overrides(trial.params)])


def write_best(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> JsonObject | None:
    """Write ``best.json``, and ``genotype.json`` if the study varies the architecture.

    Return the content of ``best.json``, or None without a complete trial.
    """
    best = best_trial(plan, trials)
    if best is None:
        return None
    overrides = best_overrides(plan, best)
    genotype = plan.space.genotype(best.params)
    arguments = overrides
    if genotype is not None:
        # The printed command names the run directory instead of the long text of the genotype.
        from_directory = f"genotype={plan.directory}"
        arguments = [from_directory if o.startswith("genotype=") else o for o in overrides]
        write_atomically(plan.directory / "genotype.json", genotype.to_json())
    content = {
        "trial": best.number,
        **{name: trial_results(best)[name] for name in plan.objectives},
        "parameters": plan.space.settings(best.params),
        "genotype": None if genotype is None else str(genotype),
        "overrides": overrides,
        "command": f"python -m darts.{plan.config.target} {shlex.join(arguments)}",
    }
    write_json(plan.directory / "best.json", content)
    return content


def total_energy(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> JsonObject:
    """Return ``joules``, ``joules_source`` and ``gco2e`` of all runs, including the analysis.

    The energy of an unfinished trial is read from its run directory and therefore included only if
    it ran on this machine.
    """
    measured = [trial for trial in trials if "joules" in trial_results(trial)]
    names = {f"{first_attempt(trial):04d}" for trial in measured}
    directories = [d for d in plan.directory.glob("trials/*") if d.name not in names]
    directories += [*plan.directory.glob("factorial-of-*/trials/*"), *plan.directory.glob("final*")]
    costs: list[JsonObject] = [dict(trial_results(trial)) for trial in measured]
    for directory in directories:
        # The summary of a finished run, or the last epoch of an unfinished one.
        summary, metrics = directory / "summary.json", directory / "metrics.jsonl"
        if summary.exists():
            costs.append(read_json(summary))
        elif metrics.exists():
            costs += read_metrics(metrics)[-1:]
    return sum_costs([cost for cost in costs if "joules" in cost])


def log_hparams(plan: StudyPlan, trials: Sequence[FrozenTrial], logged: set[int]) -> None:
    """Log each complete trial for TensorBoard's HPARAMS page, and add its number to ``logged``."""
    for trial in complete_trials(trials):
        if trial.number in logged:
            continue
        logged.add(trial.number)
        directory = plan.directory / "hparams" / f"{trial.number:04d}"
        run = TrackedRun(directory, directory.name, plan.space.row(trial.params), trial.number)
        scores = {f"hparam/{name}": value for name, value in trial_scores(trial).items()}
        with optional(directory), closing(TensorBoard(run)) as board:
            board.log_results(scores)
