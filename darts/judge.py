"""Score architectures cheaply, and check the scores against the truth: ``python -m darts.judge``.

A judge is worth as much as its ranking of architectures: the summary says how well it agrees with
the truth, what it costs, and how well the numbers of parameters and MACs alone would do.
"""

from __future__ import annotations

import math
import shlex
import shutil
import time
from pathlib import Path

import numpy as np

from darts.config import ConfigError, Invocation, JudgeConfig, launch, rank_and_size
from darts.hpo.judge_plan import JudgePlan
from darts.hpo.result_files import write_trials
from darts.hpo.score_analysis import ScoreAnalysis
from darts.hpo.score_file import FILE, ScoreFile
from darts.hpo.trial_tools import TrialTools
from darts.judging.training_free import BASELINES
from darts.reading import JsonObject
from darts.strategies.judges import TrialSpec
from darts.tracking import Console, print_lines, print_summary
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import RunDirectory
from darts.training.steps import Diverged
from darts.typed_values import typed

SAVE_INTERVAL = 5.0  # seconds between updates of the scores
_HEADER = "spearman  kendall top 10 % recall"


def check(config: JudgeConfig) -> None:
    """Raise ``ConfigError`` if the judge, the architectures and their truth do not fit together."""
    if rank_and_size()[1] > 1:
        raise ConfigError("darts.judge does not run with torchrun")
    JudgePlan.make(config)


def judge(config: JudgeConfig, invocation: Invocation) -> JsonObject:
    """Score all architectures; return the summary, which is also in the run directory.

    Raises:
        ConfigError: If a score does not apply to the networks, or no architecture was scored.
        Interrupted: If a signal arrived; the scores so far are saved.
    """
    plan = JudgePlan.make(config)
    with RunDirectory(invocation.directory, "judge") as run:
        scored = ScoreFile(run.path / FILE)
        if config.resume:
            run.claim_existing()
            run.require_same_config(run.saved_config(), config)
            run.require_incomplete()
            scored.load()
        else:
            run.claim_unused(resumable=True, numbered=invocation.numbered)
            scored.path = run.path / FILE
            run.begin(config, invocation.overrides)
        score_architectures(config, plan, run.path, scored)
        analysis = ScoreAnalysis.make(config, plan, scored)
        write_trials(run.path / "scores.csv", analysis.rows())
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
    config: JudgeConfig, plan: JudgePlan, directory: Path, scored: ScoreFile
) -> None:
    """Score the architectures that have no scores yet; show progress and save regularly."""
    tools = TrialTools("retrain", config.benchmark)
    genotypes = plan.genotypes
    left = [(n, text) for n, text in enumerate(genotypes) if text not in scored.rows]
    console = Console(total_steps=len(genotypes), name="judge", done=len(genotypes) - len(left))
    last_save = time.monotonic()
    with console, Interrupt("stopping after this architecture; Ctrl-C again to abort") as interrupt:
        action = "resuming" if config.resume else "scoring"
        console.info(f"{action} in {directory}: {len(genotypes)} architectures")
        for number, text in left:
            if interrupt.received:
                break
            trial = TrialSpec(
                (*plan.overrides, f"genotype={text}"),
                plan.architectures[number].genotype,
                directory / "trials" / f"{number:04d}",
            )
            start = time.perf_counter()
            try:
                scores = judge_scores(config, plan, trial, tools)
            except Interrupted:  # raised by a training
                break
            seconds = time.perf_counter() - start
            scores |= tools.training_free_scores(trial, BASELINES, 2)
            scored.add(text, scores, seconds)
            console.step()
            if time.monotonic() - last_save >= SAVE_INTERVAL:
                scored.save()
                last_save = time.monotonic()
        scored.save()
        signal = interrupt.received
    if signal and len(scored.rows) < len(genotypes):
        argument = shlex.quote(f"resume={directory}")
        print_lines(f"stopped and saved; continue with: python -m darts.judge {argument}")
        raise Interrupted(128 + signal)


def judge_scores(
    config: JudgeConfig, plan: JudgePlan, trial: TrialSpec, tools: TrialTools
) -> dict[str, float]:
    """Return the scores of one architecture; those of a training that diverges are infinite."""
    if trial.directory.exists():  # an interrupted training
        shutil.rmtree(trial.directory)
    names = config.judge.ranked_scores(plan.metric)
    try:
        results = config.judge(trial, tools)
    except Diverged:
        worst = -math.inf if plan.higher_is_better else math.inf
        return dict.fromkeys(names, worst)
    return {name: typed(float, results[name], name) for name in names}


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
    launch("judge", check, judge)


if __name__ == "__main__":
    main()
