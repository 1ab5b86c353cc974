"""Find the best network for a data set within a time budget: ``python -m darts.find``.

Baselines, which are networks that need no search, take part in the run. A found network is the
result only if its validation score is better than that of the best baseline. The summary reports
the difference of the two on the test split.

References:
    Yang, Esperança and Carlucci, "NAS evaluation is frustratingly hard", arXiv:1912.12522.
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", arXiv:1502.07943: successive halving.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from darts.config import (
    ConfigError,
    ExportConfig,
    FindBudgetConfig,
    FindConfig,
    Invocation,
    compose,
    launch,
    quoted,
    rank_and_size,
)
from darts.config.python_call import (
    interrupts_as_keyboard_interrupt,
    make_callable,
    overrides_of,
    resume_directory,
    run_directory,
)
from darts.config.resumed_run import ResumedRun
from darts.export import export
from darts.finding.budget import Stopwatch, budget_seconds
from darts.finding.candidates import Networks
from darts.finding.conclusion import Conclusion, benchmark_scores, total_costs, write_files
from darts.finding.decisions import FILE, Decisions
from darts.finding.folds import choose_folds
from darts.finding.gain import measure_gain, validation_interval
from darts.finding.outlook import StageTimes, describe_times, outlook
from darts.finding.refit import Chosen, refit
from darts.finding.results import ranked
from darts.finding.rounds import Stopped, Trainer
from darts.finding.run_pool import RunPool
from darts.finding.setup import check_config, choose_workers, export_format, make_networks
from darts.finding.stages import FINAL_SHARES, Stages
from darts.judging.benchmark import Benchmark
from darts.reading import JsonObject
from darts.recipes.complete_run import CompleteRun
from darts.recipes.facts import DataFacts
from darts.recipes.model import Model, load
from darts.recipes.python_data import Data, data_settings, refuse_other_arguments
from darts.recipes.rules import max_epochs
from darts.tracking import Console, format_duration, print_lines, print_summary
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import RunDirectory

CHOICE_LEVEL = 0.6
"""Confidence level of the interval of the validation gain.

A found network is chosen only if its interval lies above 0.
"""

CLASSIFIED = ("images", "rows", "audio", "documents")
"""Kinds of data of which ``darts.predict`` classifies new samples."""


def check(config: FindConfig) -> None:
    """Raise ``ConfigError`` if the settings do not fit together; no data is read."""
    if rank_and_size()[1] > 1:
        raise ConfigError("darts.find starts its own processes: set workers=N, not torchrun")
    budget_seconds(config.budget)
    check_config(config)


def find(config: FindConfig, invocation: Invocation) -> JsonObject:
    """Find, train and score a network; write the summary to the run directory and return it.

    Raises:
        ConfigError: If the configuration is invalid, no network is within the limits, or all
            trainings of a stage failed.
        Interrupted: If a signal arrived; everything that is complete is saved.
    """
    begin = time.monotonic()
    facts, networks = make_networks(config)  # a problem of the data should leave no run behind
    folds = choose_folds(next(iter(networks.values())), config.plan.folds)
    with RunDirectory(invocation.directory.resolve(), "find") as run:
        run.start_or_resume(config, invocation)
        summary = run_stages(config, run, facts, networks, folds, begin)
    print_results(summary, run, facts.kind)
    if config.export != "none":
        write_export(config, run.path)
    return summary


def write_export(config: FindConfig, directory: Path) -> JsonObject:
    """Export the network of a complete run to its folder ``export``; return the summary of that.

    Raises:
        ConfigError: As ``darts.export``, for example if int8 loses too much. The run stays
            complete.
    """
    name, int8 = export_format(config)
    words = [f"checkpoint={directory}", f"format={name}", *(["quantize=int8"] if int8 else [])]
    print_lines("", "Exporting it:", f"  python -m darts.export {shlex.join(words)}")
    words[0] = f"checkpoint={quoted(str(directory))}"
    export_config: ExportConfig = compose("export", words)
    folder = Invocation(directory / "export", tuple(words), numbered=True)
    try:
        return export(export_config, folder)
    except ConfigError as error:
        raise ConfigError(f"the run is complete, but export={config.export}: {error}") from None


def run_stages(
    config: FindConfig,
    run: RunDirectory,
    facts: DataFacts,
    networks: Mapping[str, Networks],
    folds: int,
    begin: float,
) -> JsonObject:
    """Execute all stages that are not complete; return the summary.

    Each network is trained ``folds`` times, see ``darts.finding.folds``. The time since ``begin``,
    by ``time.monotonic``, counts as time of the run.

    Raises:
        ConfigError, Interrupted: As ``find``.
    """
    decisions = Decisions(run.path / FILE)
    stopwatch = Stopwatch(budget_seconds(config.budget), decisions, begin=begin)
    first = next(iter(networks.values()))
    metric = (first.config.metric, first.config.task.metrics[first.config.metric])
    benchmark = Benchmark.from_config(config.benchmark, first.space)
    workers, total = choose_workers(config), max(int(stopwatch.total), 1)
    console = Console(total_steps=total, name="find", done=min(int(stopwatch.seconds), total))
    notice = "stopping the trainings; Ctrl-C again to abort"
    with console, Interrupt(notice) as interrupt, RunPool(workers, run.path / "workers") as pool:
        action = "resuming" if config.resume else "searching"
        console.info(
            f"{action} in {run.path}: {facts.samples:,} training samples, budget "
            f"{format_duration(stopwatch.total)}, {workers} workers"
        )
        trainer = Trainer(
            run.path, networks, metric, max_epochs(facts), config.plan.equal, pool, workers,
            console, interrupt, stopwatch, decisions, StageTimes(decisions, stopwatch),
            folds=folds,
        )  # fmt: skip
        try:
            stages = Stages(config, facts, trainer)
            final = stages.run()
            chosen = choose(trainer)
            if config.plan.refit:
                trainer.times.begin("refit")
                chosen = refit(trainer, chosen)
        except (Stopped, Interrupted):
            stopwatch.save(now=True)
            argument = shlex.quote(f"resume={run.path}")
            print_lines(f"stopped and saved; continue with: python -m darts.find {argument}")
            raise Interrupted(128 + (interrupt.received or 0)) from None
        stage_seconds = trainer.times.seconds()
        conclusion = conclude(trainer, chosen)
        results = list(trainer.results.values())
        winner = conclusion.winner.candidate
        costs = trainer.networks[winner.family].costs(winner.genotype)
        write_files(run, conclusion, results)
        return run.finish(
            {
                "name": config.name,
                **{name: costs[name] for name in config.limit.values()},
                **conclusion.summary(),
                **benchmark_scores(benchmark, conclusion),
                "trainings": sum(len(result.summaries) for result in results),
                "seconds": stopwatch.seconds,
                **{f"seconds_{stage}": seconds for stage, seconds in stage_seconds.items()},
                "outlook": outlook(
                    final,
                    trainer.max_epochs,
                    skipped=stages.skipped,
                    workers=workers,
                    share=FINAL_SHARES[0],
                ),
                **total_costs(results, trainer.other_costs),
                "seed": config.seed,
            }
        )


def choose(trainer: Trainer) -> Chosen:
    """Return the best network and the best baseline by validation score.

    Both are chosen among the trainings of all stages, because a network that overfits is better
    after a short training than after the longer one of the final. A found network must be
    better than the best baseline with a probability of about four fifths; otherwise the baseline
    takes its place. The best of several networks often has the best score by chance, and the
    baseline is known to work.
    """
    metric = trainer.metric[1]
    results = list(trainer.results.values())
    best = ranked(results, metric)[0]
    baseline = ranked([result for result in results if result.candidate.is_baseline], metric)[0]
    if best.candidate.is_baseline:
        return Chosen(best, best)
    bounds = validation_interval(
        best.directories, baseline.directories, metric=trainer.metric[0], level=CHOICE_LEVEL
    )
    if bounds is None or bounds[0] > 0:
        return Chosen(best, baseline)
    return Chosen(baseline, baseline, doubtful=best)


def conclude(trainer: Trainer, chosen: Chosen) -> Conclusion:
    """Score the best network and the best baseline on the test split, once."""
    winner, baseline = chosen.winner, chosen.baseline
    data = trainer.networks[winner.candidate.family].data
    gain = None
    if data.held_out_loader("test", data.subsets) is not None:
        trainer.console.info("scoring the test split")
        gain = measure_gain(winner.directory, baseline.directory, metric=trainer.metric[0])
    return Conclusion(winner, baseline, gain, trainer.metric, chosen.doubtful is not None)


def print_results(summary: JsonObject, run: RunDirectory, kind: str) -> None:
    """Print scores, the verdict, and the commands that use the network; ``kind`` is of the data."""
    metric = summary["metric"]
    keys = (
        f"valid_{metric}", f"baseline_valid_{metric}", f"test_{metric}",
        f"baseline_test_{metric}", "true_accuracy", "baseline_true_accuracy", "family", "setting",
        "parameters", "baseline_parameters", "macs", "latency_ms", "flash_kb", "ram_kb",
        "trainings", "seconds", "joules", "genotype",
    )  # fmt: skip
    print_summary("find", {key: summary[key] for key in keys if summary.get(key) is not None})
    stage_seconds = {
        key.removeprefix("seconds_"): float(value)
        for key, value in summary.items()
        if key.startswith("seconds_")
    }
    checkpoint = shlex.quote(f"checkpoint={run.path}")
    print_lines(
        "",
        str(summary["verdict"]),
        str(summary["outlook"]),
        f"Time of the stages: {describe_times(stage_seconds)}.",
        "",
        "Score it again, use it, or export it:",
        f"  python -m darts.evaluate {checkpoint}",
        *([f"  python -m darts.predict {checkpoint} input=PATH"] if kind in CLASSIFIED else []),
        f"  python -m darts.export {checkpoint}",
    )


class FindRun(CompleteRun):
    """A complete run of ``darts.find``."""

    def model(self) -> Model:
        """Return the found network with its trained weights, see ``darts.load``."""
        return load(self.directory)


def run(
    data: Data | None = None,
    minutes: float | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | FindRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> FindRun:
    """Find the best network for a data set, as ``python -m darts.find`` does.

    The function starts worker processes. A program that calls it must therefore protect its main
    part with ``if __name__ == "__main__":``.

    Args:
        data: The name of a data set, or PyTorch datasets, as for ``darts.search``.
        minutes: The time budget; 10 minutes by default.
        out: The run directory; by default a new one in ``runs/find``.
        resume: An interrupted run to continue; leave out all other arguments but ``minutes``.
        overrides: Configuration keys as on the command line, such as ``["dataset.size=32"]``.
        **settings: Configuration keys without a dot, such as ``workers=1``.

    Raises:
        ConfigError: For a wrong key or value, with the message of the command.
        KeyboardInterrupt: After Ctrl-C; the state is saved, so the run can be resumed.
    """
    budget = {} if minutes is None else {"budget.minutes": minutes}
    if resume is None:
        found = data_settings(data, settings, overrides, chooses_space=True)
        arguments = overrides_of({**found, **budget, **settings}, overrides)
        directory = run_directory("find", out)
        config: FindConfig = compose("find", arguments)
    else:
        refuse_other_arguments(resume, data, out, overrides, settings)
        directory = run_directory("find", resume_directory(resume))
        saved = ResumedRun.load("find", str(directory))
        assert isinstance(saved.config, FindConfig)
        config = dataclasses.replace(saved.config, resume=str(saved.directory))
        if minutes is not None:
            config.budget = FindBudgetConfig(minutes=minutes)
        arguments = list(saved.recorded_overrides)
    check(config)
    with interrupts_as_keyboard_interrupt():
        find(config, Invocation(directory, tuple(arguments)))
    return FindRun(directory)


def main() -> None:
    """Entry point of ``darts-find``."""
    launch("find", check, find)


make_callable(__name__, run)

if __name__ == "__main__":
    main()
