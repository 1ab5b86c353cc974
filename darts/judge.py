"""Score architectures cheaply, and check the scores against the truth: ``darts judge``.

If the true scores of the architectures are known, the summary says how well the judge's ranking
agrees with them, what it costs, and how well the numbers of parameters and MACs alone would do.

Keys that people use first::

    Keys: judge=NAME space=NAME dataset=NAME benchmark.table=FILE
    Run: seed=0 hydra.run.dir=DIR resume=DIR
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from darts.config import Invocation, JudgeConfig, launch
from darts.confirm import confirm
from darts.hpo.judge_plan import JudgePlan, check_networks, network_overrides
from darts.hpo.judge_scores import FILE, Row, ScoreAnalysis, ScoreFile
from darts.hpo.trial_tools import TrialTools
from darts.judging.training_free import BASELINES
from darts.reading import JsonObject
from darts.running.jobs import RunFailed, log_file, read_divergence, read_summary
from darts.strategies.judges import TrialSpec
from darts.tracking import Console, print_lines, print_summary
from darts.tracking.metrics import write_table
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import RunDirectory
from darts.typed_values import typed

SAVE_INTERVAL = 5.0  # seconds between two writes of the scores
_HEADER = "spearman  kendall top 10 % recall"
WORK = "scores 1,000 random architectures of the space cnn without training, which takes minutes"


def check(config: JudgeConfig) -> None:
    """Check the settings that do not depend on files."""
    check_networks(config, network_overrides(config))


def judge(config: JudgeConfig, invocation: Invocation) -> JsonObject:
    """Score all architectures; return the summary, which is also in the run directory."""
    plan, tools = JudgePlan.make(config), TrialTools("retrain", config.benchmark)
    if not config.judge.trains:  # find out before the run begins whether the judge applies
        config.judge(trial_of(plan, 0, Path()), tools)
    with RunDirectory(invocation.directory, "judge") as run:
        run.start_or_resume(config, invocation)
        scored = ScoreFile(run.path / FILE, plan.digest())
        scored.load()
        score_architectures(config, plan, tools, run, scored)
        analysis = ScoreAnalysis(config, plan, scored)
        write_table(run.path / "scores.csv", analysis.rows())
        best = plan.architectures[int(np.argmax(analysis.values))].genotype
        run.write("genotype.json", best.to_json())
        summary = run.finish(
            {
                "name": config.name,
                "judge": config.judge.name,
                **analysis.summary(),
                "genotype": str(best),
                "seed": config.seed,
            }
        )
    print_results(analysis, summary)
    return summary


def score_architectures(
    config: JudgeConfig, plan: JudgePlan, tools: TrialTools, run: RunDirectory, scored: ScoreFile
) -> None:
    """Score the architectures that have no scores yet; show progress and save regularly."""
    genotypes = plan.genotypes
    left = [(n, text) for n, text in enumerate(genotypes) if text not in scored.rows]
    console = Console(total_steps=len(genotypes), name="judge", done=len(genotypes) - len(left))
    last_save = time.monotonic()
    with console, Interrupt("stopping after this architecture; Ctrl-C again to abort") as interrupt:
        action = "resuming" if config.resume else "scoring"
        console.info(f"{action} in {run.path}: {len(genotypes)} architectures")
        try:
            for number, text in left:
                if interrupt.received:
                    break
                trial = trial_of(plan, number, run.path)
                start = time.perf_counter()
                calibration, calibration_seconds = math.nan, 0.0
                try:
                    names = config.judge.ranked_scores(plan.metric.name)
                    scores = run_scores(partial(config.judge, trial, tools), trial, names)
                    seconds = time.perf_counter() - start
                    if config.judge.trains:
                        seconds = run_seconds(trial)
                    if plan.calibrating[number] and plan.truth() is None:
                        calibration, calibration_seconds = train_shortly(plan, trial, tools)
                except Interrupted:  # raised by a run that trains
                    break
                scores |= tools.training_free_scores(trial, BASELINES, samples=2)
                scored.rows[text] = Row(
                    genotype=text,
                    seconds=seconds,
                    scores=scores,
                    calibration=calibration,
                    calibration_seconds=calibration_seconds,
                )
                console.step()
                if time.monotonic() - last_save >= SAVE_INTERVAL:
                    scored.save()
                    last_save = time.monotonic()
        finally:  # also after an error in one of the architectures
            scored.save()
    if interrupt.received and len(scored.rows) < len(genotypes):
        print_lines(f"stopped and saved; continue with: {run.resume_command}")
        raise Interrupted(128 + interrupt.received)


def trial_of(plan: JudgePlan, number: int, directory: Path) -> TrialSpec:
    """Return the trial of architecture ``number``, which may train in the run directory."""
    genotype = plan.architectures[number].genotype
    overrides = (*plan.overrides, f"genotype={genotype}")
    return TrialSpec(overrides, genotype, directory / "trials" / f"{number:04d}")


def run_scores(
    judge: Callable[[], Mapping[str, object]], trial: TrialSpec, names: Sequence[str]
) -> dict[str, float]:
    """Return scores of one architecture by name; nan after a run that diverges.

    The error of a run that fails in another way names its log.
    """
    try:
        results = judge()
    except RunFailed as error:
        if read_divergence(trial.directory) is None:
            raise RunFailed(f"{error}; see {log_file(trial.directory)}") from error
        return dict.fromkeys(names, math.nan)
    return {name: number_of(results, name) for name in names}


def train_shortly(plan: JudgePlan, trial: TrialSpec, tools: TrialTools) -> tuple[float, float]:
    """Train an architecture for the calibration; return its score and the seconds of the run."""
    name = f"valid_{plan.metric.name}"
    return run_scores(partial(tools.train, trial), trial, [name])[name], run_seconds(trial)


def run_seconds(trial: TrialSpec) -> float:
    """Return how long the run of a trial took, which an interrupted command may have executed."""
    ended = read_divergence(trial.directory) or read_summary(trial.directory)
    return typed(float, ended["seconds"], "seconds")


def number_of(results: Mapping[str, object], name: str) -> float:
    """Return a score; a summary has null for nan and infinity, which becomes nan."""
    return math.nan if results[name] is None else typed(float, results[name], name)


def print_results(analysis: ScoreAnalysis, summary: JsonObject) -> None:
    """Print how the judge, each of its scores and the baselines agree with the truth."""
    agreements = analysis.agreements()
    if agreements:
        rows = {
            name: f"{found.spearman:+8.3f} {found.kendall:+8.3f} {found.top_recall:15.0%}"
            for name, found in agreements.items()
        }
        print_summary("agreement with the truth", {"": _HEADER, **rows})
    keys = ("architectures", "seconds_per_architecture", "genotype")
    print_summary("judge", {key: summary[key] for key in keys})


def main() -> None:
    """Entry point of ``darts-judge``."""
    launch("judge", check, judge, prepare=partial(confirm, WORK))


if __name__ == "__main__":
    main()
