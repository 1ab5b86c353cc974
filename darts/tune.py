"""Black-box search over architectures, hyperparameters or both: ``python -m darts.tune``.

Trials are runs of another command, evaluated by workers that share one study; the best point, and
an account of what mattered, are in the run directory.

References:
    Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework",
    arXiv:1907.10902: storage, workers and several of the samplers.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from darts.config import ConfigError, Invocation, TuneConfig, as_yaml, launch
from darts.hpo.account import account_of
from darts.hpo.checks import check_study, try_out
from darts.hpo.results import (
    joules_of,
    point_of,
    rows_of,
    show_hparams,
    state_of,
    write_best,
    write_trials,
)
from darts.hpo.study import Plan, best_of, failure_of, finished, plan_of, scores_of
from darts.hpo.supervisor import Supervisor
from darts.hpo.worker import needed
from darts.tracking import Console, closing_table, environment
from darts.tracking.files import read_json, write_atomically, write_json
from darts.tracking.formats import display, duration
from darts.training.distributed import rank_and_size
from darts.training.interrupt import Interrupted
from darts.training.run_directory import differences

# What may differ between a study and its continuation.
FREE = (
    *("name", "resume", "budget.", "account.", "benchmark.", "tracking."),
    *("workers", "heartbeat", "retries"),
)
TOLD = 5.0  # seconds between writings of the files that show how far a study is
SHORT = 80  # characters of a genotype that a line about a trial has room for


def check(config: TuneConfig) -> None:
    """Refuse, before the first trial, whatever a trial would be refused for."""
    if rank_and_size()[1] > 1:
        raise ConfigError("darts.tune starts its own workers: set workers=N and leave torchrun out")
    check_study(config)


def tune(config: TuneConfig, call: Invocation) -> dict[str, Any]:
    """Run a study; the returned summary is also in the run directory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan = plan_of(config, Path(call.directory))
    trials = plan.trials
    _refuse_another(config, call)
    try_out(plan)
    study = plan.open()
    if not config.resume:
        _write_what_is_known(config, call)
    earlier = float(study.user_attrs.get("seconds", 0.0))
    began = time.monotonic()

    def spent() -> float:
        return earlier + time.monotonic() - began

    before = study.get_trials(deepcopy=False)
    if config.resume and needed(plan, before) == "no more" and _summary(call).exists():
        raise ConfigError(f"the study in {call.directory} is complete; raise budget.trials")
    ended = [trial.number for trial in finished(before)]
    deadline = None
    if config.budget.hours is not None:
        deadline = time.time() + 3600 * config.budget.hours - earlier
    # Steps are trials, or seconds where only they are limited.
    total = trials if trials is not None else int(3600 * (config.budget.hours or 0))
    done = len(ended) if trials is not None else int(earlier)
    console = Console(total_steps=max(total, done), name="tune", done=done)
    shown_steps = done
    shown: set[int] = set()
    last = 0.0

    def save(trials: list[FrozenTrial], *, force: bool = False) -> None:
        nonlocal last
        if force or time.monotonic() - last >= TOLD:
            write_trials(plan.directory / "trials.csv", rows_of(plan, trials))
            write_best(plan, trials)
            if config.tracking.tensorboard:
                show_hparams(plan, trials, shown)
            study.set_user_attr("seconds", spent())
            last = time.monotonic()

    def say(trial: FrozenTrial) -> None:
        nonlocal shown_steps
        best = best_of(plan, study.get_trials(deepcopy=False))
        if plan.config.evaluation.trains:  # others are too fast to be told one by one
            console.say(line_of(plan, trial, best))
        now = shown_steps + 1 if trials is not None else int(spent())
        fields = {} if best is None else {f"best {plan.score}": best.values[0]}
        console.step(now - shown_steps, **fields)
        shown_steps = now

    supervisor = Supervisor(plan, study, say, deadline=deadline, told=ended)
    with console:
        what = "resuming" if config.resume else "tuning"
        console.say(f"{what} in {call.directory} with {len(plan.space.parameters)} parameters")
        signal = supervisor.run(save)
    trials_now = study.get_trials(deepcopy=False)
    save(trials_now, force=True)
    if signal:
        word = shlex.quote(f"resume={call.directory}")
        print(f"stopped and saved; go on with: python -m darts.tune {word}", flush=True)
        raise Interrupted(128 + signal)
    best = write_best(plan, trials_now)
    if best is None:
        raise ConfigError(
            f"no trial was completed; budget.hours={config.budget.hours} may be too short"
        )
    account = account_of(plan, trials_now)
    states = [state_of(trial) for trial in finished(trials_now)]
    summary = {
        "command": "tune",
        "name": config.name,
        "metric": config.metric,
        "strategy": config.strategy.name,
        **{name: best[name] for name in plan.objectives},
        **account,
        "trial": best["trial"],
        "trials": len(states),
        **{state: states.count(state) for state in ("complete", "pruned", "failed")},
        "genotype": best["genotype"],
        "seconds": spent(),
        **joules_of(plan, trials_now),
        "seed": config.seed,
        "git_revision": read_json(call.directory / "env.json").get("git_revision"),
    }
    write_json(_summary(call), summary)
    keys = (
        *plan.objectives,
        f"test_{config.metric}",
        *("true_rank", "rank_correlation_spearman"),
        *(f"gain_{name}" for name in ("architecture", "hyperparameters", "both", "interaction")),
        *("trials", "complete", "pruned", "failed", "seconds"),
        *("joules", "joules_source", "gco2e"),
    )
    nothing = ("joules", "joules_source", "gco2e") if summary["joules"] is None else ()
    closing_table("tune", {k: summary[k] for k in keys if k in summary and k not in nothing})
    print(f"\nTrain the best again:\n  {best['command']}")
    return summary


def line_of(plan: Plan, trial: FrozenTrial, best: FrozenTrial | None) -> str:
    """One line about a trial that has ended."""
    words = [f"trial {trial.number}"]
    if trial.state == TrialState.FAIL:
        words.append(f"failed: {failure_of(trial)}")
    elif trial.state == TrialState.PRUNED:
        words.append("pruned")
    scores = scores_of(trial)
    words += [f"{n} {display(n, scores[n])}" for n in plan.objectives if n in scores]
    if best is not None and best.number == trial.number:
        words.append("(best)")
    for name, value in plan.space.settings(point_of(trial)).items():
        words.append(f"{name}={display('', value)}")
    if plan.space.parameters.contains(trial.params):
        genotype = plan.space.genotype(point_of(trial))
        short = "" if genotype is None else display("genotype", genotype)
        words += [short] if 0 < len(short) <= SHORT else []  # of longer ones trials.csv tells
    begin, end = trial.datetime_start, trial.datetime_complete
    if begin and end:
        words.append(duration((end - begin).total_seconds()))
    return " ".join(words)


def _refuse_another(config: TuneConfig, call: Invocation) -> None:
    """See that the directory is free, or that the study resumed is the same."""
    directory = Path(call.directory)
    file = directory / "study.json"
    if config.resume:
        saved = json.loads(file.read_text(encoding="utf-8"))
        plain = json.loads(json.dumps(dataclasses.asdict(config)))
        differing = list(differences(saved, plain, free=FREE))
        if differing:
            key, old, new = differing[0]
            raise ConfigError(
                f"cannot resume {directory}: {key} is {old!r} in the study and {new!r} here"
            )
    elif file.exists():
        raise ConfigError(
            f"{directory} already holds a study; choose another hydra.run.dir, or go on with it by "
            f"resume={directory}"
        )


def _write_what_is_known(config: TuneConfig, call: Invocation) -> None:
    """Write what is known before the first trial."""
    directory = Path(call.directory)
    write_json(directory / "env.json", environment())
    overrides = [o for o in call.overrides if not o.startswith("resume=")]
    write_json(directory / "overrides.json", {"command": "tune", "overrides": overrides})
    write_atomically(directory / "config.yaml", as_yaml(config))
    write_json(directory / "study.json", dataclasses.asdict(config))


def _summary(call: Invocation) -> Path:
    return Path(call.directory) / "summary.json"


def main() -> None:
    """Entry point of ``darts-tune``."""
    launch("tune", check, tune)


if __name__ == "__main__":
    main()
