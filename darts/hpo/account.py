"""What is found out beside the best point: the truth, what mattered, and what A and H gained."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from darts.hpo.corners import FACTORS, Corners
from darts.hpo.results import best_overrides, point_of, rows_of
from darts.hpo.store import counted
from darts.hpo.study import Plan, best_of, failure_of
from darts.hpo.supervisor import Supervisor
from darts.hpo.tools import TrialTools, knows_truth, run_command
from darts.judging.factorial import factorial
from darts.judging.surrogate import LEAST, Surrogate
from darts.plotting.trials import draw_study
from darts.strategies import STRATEGIES
from darts.tracking.files import read_json, write_json
from darts.tracking.formats import display


def account_of(plan: Plan, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Numbers for summary.json; account.json and the pictures are written on the way."""
    complete = [t for t in counted(trials) if t.state == TrialState.COMPLETE]
    best = best_of(plan, trials)
    assert best is not None
    found: dict[str, Any] = {}
    found |= _truth(plan, complete, best)
    surrogate = _surrogate(plan, complete)
    whole: dict[str, Any] = {}
    if surrogate is not None:
        error = dataclasses.asdict(surrogate.error)
        whole["surrogate"] = {"kind": plan.config.account.surrogate, **error}
        whole["importances"] = surrogate.importances()
        whole["shares"] = surrogate.shares(plan.space.groups())
        found |= {f"surrogate_{name}": value for name, value in error.items() if name != "points"}
        found |= {f"share_{name}": value for name, value in whole["shares"].items()}
    corners = None
    if plan.config.account.corners:
        corners = _corners(plan, best)
        whole["corners"] = dataclasses.asdict(corners)
        found |= corners.flat()
    if plan.config.account.final and plan.config.evaluation.name != "table":
        found |= _final(plan, best)
    write_json(plan.directory / "account.json", whole)
    if plan.config.tracking.pictures:
        draw_study(
            plan.directory,
            rows_of(plan, trials),
            objectives=plan.objectives,
            higher_is_better=plan.higher_is_better,
            surrogate=surrogate,
            corners=corners,
            title=plan.config.name,
        )
    return found


def _truth(plan: Plan, complete: Sequence[FrozenTrial], best: FrozenTrial) -> dict[str, Any]:
    """What a benchmark's table says of the best, and how well the scores of trials rank."""
    if not knows_truth(plan.config, plan.space.architecture):
        return {}
    from scipy.stats import kendalltau, spearmanr

    tools = TrialTools(plan.config)
    found = tools.truth(plan.space.genotype(point_of(best)))
    scores = [trial.values[0] for trial in complete]
    truths = [
        tools.truth(plan.space.genotype(point_of(trial)))["test_accuracy"] for trial in complete
    ]
    if len(set(scores)) > 1 and len(set(truths)) > 1:
        sign = 1 if plan.higher_is_better else -1
        found["rank_correlation_spearman"] = sign * float(spearmanr(scores, truths).statistic)
        found["rank_correlation_kendall"] = sign * float(kendalltau(scores, truths).statistic)
    return found


def _surrogate(plan: Plan, complete: Sequence[FrozenTrial]) -> Surrogate | None:
    kind: Any = plan.config.account.surrogate
    if kind == "none" or len(complete) < LEAST:
        return None
    points, values = [point_of(trial) for trial in complete], [t.values[0] for t in complete]
    return Surrogate(plan.space.parameters, points, values, kind=kind, seed=plan.config.seed)


def _corners(plan: Plan, best: FrozenTrial) -> Any:
    """Train the corners, workers and all, as a study of its own in the same storage."""
    seeds = range(plan.config.seed + 1, plan.config.seed + 1 + plan.config.account.corners)
    corners = Corners(plan.space, point_of(best), seeds)
    config = dataclasses.replace(
        plan.config, strategy=STRATEGIES["grid"](order="written"), costs=[], limits={}
    )
    own = dataclasses.replace(
        plan,
        config=config,
        directory=plan.directory / "corners",
        database=plan.storage,
        name=f"{plan.name}-corners-of-{best.number}",
        space=corners,
        fixed=tuple(o for o in plan.fixed if not o.startswith("seed=")),
        trials=corners.parameters.size(2),
    )
    study = own.open()
    print(f"\ncorners: {own.trials} trainings of {' and '.join(corners.factors)}", flush=True)
    done = itertools.count(1)

    def say(trial: FrozenTrial) -> None:
        words = [f"{name} {trial.params[name]}" for name in corners.factors]
        words.append(f"seed {trial.params['seed']}")
        known = trial.state == TrialState.COMPLETE
        score = display(plan.score, trial.values[0]) if known else failure_of(trial)
        print(f"{next(done)}/{own.trials} {', '.join(words)}: {plan.score} {score}", flush=True)

    Supervisor(own, study, say).run()
    scores: dict[tuple[str, ...], dict[int, float]] = {}
    for trial in counted(study.get_trials(deepcopy=False)):
        if trial.state == TrialState.COMPLETE:
            corner = tuple(str(trial.params.get(name, "default")) for name in FACTORS)
            scores.setdefault(corner, {})[trial.params["seed"]] = trial.values[0]
    return factorial(scores, higher_is_better=plan.higher_is_better)


def _final(plan: Plan, best: FrozenTrial) -> dict[str, Any]:
    """Train the best once more, and score it on the test split: the only look at it."""
    directory = plan.directory / "final"
    summary_file = directory / "summary.json"
    if not summary_file.exists():
        overrides = [*best_overrides(plan, best)]
        if (directory / "overrides.json").exists():  # killed while it ran
            overrides.append(f"resume={directory}")
        print(f"\nthe best again, and its test: {directory}", flush=True)
        run_command(plan.config.target, overrides, directory)
    summary = read_json(summary_file)
    return {name: value for name, value in summary.items() if name.startswith("test_")}
