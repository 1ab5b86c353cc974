"""Black-box search over architectures, hyperparameters or both: ``darts tune``.

A trial runs another command at one point. Workers evaluate the trials of a shared study. The run
directory contains the best point and an analysis of the parameters.

References:
    Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework",
    arXiv:1907.10902: storage, workers and several of the samplers.

Keys that people use first::

    What is varied, and how: parameters.optimizer.lr={low:1e-3,high:0.1,log:true}
        parameters.genotype={space:cnn} strategy=NAME budget.trials=50 budget.hours=1
        experiment=NAME
    Run: workers=2 seed=0 hydra.run.dir=DIR resume=DIR
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.config import ConfigError, Invocation, TuneConfig, launch
from darts.hpo.analysis import analyze, log_hparams, total_energy, trial_rows, write_best
from darts.hpo.config_checks import check_config as check
from darts.hpo.config_checks import check_judge
from darts.hpo.queue import is_over
from darts.hpo.store import storage_errors
from darts.hpo.study import StudyPlan, best_trial, make_plan, read_trials
from darts.hpo.supervisor import StudyClock, Supervisor
from darts.hpo.trials import BEYOND, WALL_SECONDS, failure_reason, finished_trials, trial_scores
from darts.judging.limits.costs import describe_limits
from darts.reading import JsonObject, one_line
from darts.running.jobs import ExecutorError
from darts.tracking import Console, format_duration, format_value, print_lines, print_summary
from darts.tracking.metrics import write_table
from darts.training.interrupt import Interrupted
from darts.training.run_directory import RunDirectory
from darts.writing import WriteError, is_machine_failure

SAVE_INTERVAL = 5.0  # seconds between updates of the result files while the study runs
MAX_GENOTYPE_LENGTH = 80  # characters; longer genotypes are not printed


def tune(config: TuneConfig, invocation: Invocation) -> JsonObject:
    """Run a study and return its summary, which is also in the run directory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with RunDirectory(invocation.directory, "tune") as run:
        if config.resume:
            run.claim()
            run.require_same_config(run.saved_config(), config)
        else:
            run.claim_unused(numbered=invocation.numbered)
        plan = make_plan(config, run.path)
        check_judge(plan)
        with _how_to_continue(run), storage_errors(plan.storage):
            study = open_study(plan, run, invocation)
            return run_study(plan, study, run)


@contextmanager
def _how_to_continue(run: RunDirectory) -> Iterator[None]:
    """Print the command that continues the study after a signal.

    Add it to errors that the study did not cause.
    """
    advice = f"; the study keeps all finished trials, continue with: {run.resume_command}"
    try:
        yield
    except Interrupted:
        print_lines(f"stopped and saved; continue with: {run.resume_command}")
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"aborted by Ctrl-C{advice}") from None
    except ExecutorError as error:
        raise ExecutorError(f"{error}{advice}") from None
    except OSError as error:
        if not is_machine_failure(error) or not (run.path / "config.yaml").exists():
            raise
        # The error of a trial says how to continue that trial, and has the original as its cause.
        origin = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise WriteError(error.errno, f"{one_line(origin)}{advice}") from error


def open_study(plan: StudyPlan, run: RunDirectory, invocation: Invocation) -> Study:
    """Open the study of a run directory, and begin or continue the run."""
    resume = plan.config.resume is not None
    study = plan.open(existing=resume)
    trials = read_trials(plan, study)
    if resume:
        if run.is_complete and is_over(plan, trials):
            raise ConfigError(f"the study in {run.path} is complete; raise budget.trials")
        run.reopen()
    else:
        run.begin(plan.config, invocation.overrides)
    return study


def run_study(plan: StudyPlan, study: Study, run: RunDirectory) -> JsonObject:
    """Run the trials that are left, analyze the study and write the summary, the last file.

    A study that is killed before the summary is written continues where it stopped when resumed.
    """
    config = plan.config
    clock = StudyClock(study, config.budget.hours or math.inf)
    progress = Progress(plan, study, clock)
    supervisor = Supervisor(plan, study, progress.report, deadline=clock.deadline)
    with progress.console:
        action = "resuming" if config.resume else "tuning"
        count = len(plan.space.parameters)
        progress.console.info(f"{action} in {run.path} with {count} parameters")

        signal = supervisor.run(lambda trials: progress.show(supervisor.executor.fields(), trials))
    trials = study.get_trials(deepcopy=False)
    progress.save(trials)
    if signal:
        raise Interrupted(128 + signal)

    best = write_best(plan, trials)
    if best is None:
        reason = f"budget.hours={config.budget.hours} may be too short"
        if failed := [trial for trial in trials if trial.state == TrialState.FAIL]:
            reason = f"trial {failed[0].number}: {failure_reason(failed[0])}"
        elif any(BEYOND in trial.user_attrs for trial in trials):
            limits = describe_limits(config.limit.values())
            reason = f"{limits}: the networks of all {len(trials)} trials exceed the limits"
        raise ConfigError(f"no trial was completed; {reason}")
    analysis = analyze(plan, study)
    states = [row["state"] for row in trial_rows(plan, trials)]
    summary = run.finish(
        {
            "name": config.name,
            "metric": config.metric,
            "strategy": config.strategy.name,
            **{name: best[name] for name in plan.objectives},
            **analysis,
            "trial": best["trial"],
            "trials": len(states),
            **{state: states.count(state) for state in ("complete", "pruned", "failed")},
            "genotype": best["genotype"],
            "seconds": clock.seconds,
            **total_energy(plan, trials),
            "seed": config.seed,
        }
    )
    _print_results(plan, summary, best["command"])
    return summary


class Progress:
    """Console output and result files of a study.

    The progress bar counts trials, or seconds if only time limits the study.
    """

    def __init__(self, plan: StudyPlan, study: Study, clock: StudyClock) -> None:
        self._plan, self._study, self._clock = plan, study, clock
        if plan.max_trials is not None:
            total = plan.max_trials
            self._steps = len(finished_trials(study.get_trials(deepcopy=False)))
        else:
            total = int(3600 * (plan.config.budget.hours or 0))
            self._steps = int(clock.seconds)
        self.console = Console(total_steps=max(total, self._steps), name="tune", done=self._steps)
        self._last_save = 0.0

    def report(self, trial: FrozenTrial) -> None:
        """Print a finished trial and advance the progress bar."""
        plan = self._plan
        best = best_trial(plan, self._study.get_trials(deepcopy=False))
        if plan.config.judge.trains:  # other judges are too fast for a line per trial
            self.console.info(format_trial(plan, trial, best))
        steps = self._steps + 1 if plan.max_trials is not None else int(self._clock.seconds)
        fields = {} if best is None else {f"best {plan.score}": best.values[0]}
        self.console.step(steps - self._steps, **fields)
        self._steps = steps

    def show(self, fields: Mapping[str, object], trials: list[FrozenTrial]) -> None:
        """Show the fields of the executor, and save the result files regularly.

        The executor only knows the joules of runs since the study was resumed.
        """
        if "joules" in fields:
            joules = (trial_scores(trial).get("joules", 0.0) for trial in finished_trials(trials))
            fields = {**fields, "joules": sum(joules)}
        self.console.step(0, **fields)
        if time.monotonic() - self._last_save >= SAVE_INTERVAL:
            self.save(trials)

    def save(self, trials: list[FrozenTrial]) -> None:
        """Write the result files, and save the running time."""
        self._clock.save()
        write_table(self._plan.directory / "trials.csv", trial_rows(self._plan, trials))
        write_best(self._plan, trials)
        if self._plan.config.tracking.tensorboard:
            log_hparams(self._plan, trials)
        self._last_save = time.monotonic()


def format_trial(plan: StudyPlan, trial: FrozenTrial, best: FrozenTrial | None) -> str:
    """Return one line about a finished trial, with ``(best)`` if it is the best so far."""
    words = [f"trial {trial.number}"]
    if trial.state == TrialState.FAIL:
        words.append(f"failed: {failure_reason(trial)}")
    elif trial.state == TrialState.PRUNED:
        beyond = trial.user_attrs.get(BEYOND)
        words.append("pruned" if beyond is None else f"pruned: {beyond}")
    scores, point = trial_scores(trial), trial.params
    words += [
        f"{name} {format_value(name, scores[name])}" for name in plan.objectives if name in scores
    ]
    if best is not None and best.number == trial.number:
        words.append("(best)")
    words += [f"{name}={format_value('', v)}" for name, v in plan.space.settings(point).items()]
    genotype = plan.space.genotype(point)
    text = "" if genotype is None else format_value("genotype", genotype)
    if 0 < len(text) <= MAX_GENOTYPE_LENGTH:  # trials.csv contains all genotypes
        words.append(text)
    if WALL_SECONDS in trial.user_attrs:
        words.append(format_duration(trial.user_attrs[WALL_SECONDS]))
    return " ".join(words)


def _print_results(plan: StudyPlan, summary: JsonObject, command: str) -> None:
    """Print the most important numbers and the command that trains the best point."""
    scores = [*plan.objectives, f"test_{plan.config.metric}"]
    table = ["true_rank", "rank_correlation_spearman"]
    gains = [f"gain_{name}" for name in ("architecture", "hyperparameters", "both", "interaction")]
    counts = ["trials", "complete", "pruned", "failed"]
    names = [*scores, *table, *gains, *counts, "seconds", "joules", "joules_source", "gco2e"]
    print_summary("tune", {n: summary[n] for n in names if summary.get(n) is not None})
    print_lines("", "Train the best point again:", f"  {command}")


def main() -> None:
    """Entry point of ``darts-tune``."""
    launch("tune", check, tune)


if __name__ == "__main__":
    main()
