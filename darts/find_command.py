"""The run of ``darts find``: the best network for a data set within a time budget.

Baselines, which are networks that need no search, take part in the run. A found network is the
result only if its validation score is better than the score of the best baseline. The summary
reports the difference of the two on the test split.

References:
    Yang, Esperança and Carlucci, "NAS evaluation is frustratingly hard", arXiv:1912.12522.
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", arXiv:1502.07943: successive halving.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from darts.config import ConfigError, ExportConfig, FindConfig, Invocation, compose, quoted
from darts.config.many_runs import ProcessesConfig
from darts.data_modules.data_module import keep_data
from darts.find_output import (
    outlook,
    print_data,
    print_leaders,
    print_results,
    write_card,
    write_predictions,
)
from darts.finding.answer import write_answer
from darts.finding.candidates import Candidate, Networks
from darts.finding.conclusion import Conclusion
from darts.finding.decisions import FILE, Decisions
from darts.finding.ending import run_to_the_end
from darts.finding.execution import Execution, Stopwatch
from darts.finding.folds import choose_folds, fold_data
from darts.finding.pretrained import share_features, worth_of_weights
from darts.finding.proposals import Pool
from darts.finding.race import EXPLORED, Race
from darts.finding.setup import check_config, make_networks
from darts.finding.winner import answer_so_far
from darts.judging.benchmark import Benchmark
from darts.plotting.race import save_race
from darts.process import rank_and_size
from darts.reading import FileError, JsonObject
from darts.recipes.exporting.export import export
from darts.recipes.exporting.formats import split_export
from darts.recipes.rules import DataFacts
from darts.recipes.timing import faster_precision
from darts.recipes.tree_answer import compare_trees
from darts.recipes.trees import TreeScores, boost_trees, can_boost
from darts.running.executors import check_executor, make_executor
from darts.running.jobs import is_complete, read_summary
from darts.running.processes import start_server
from darts.searching.flaws import at_chance, chance_level
from darts.tracking import Console, format_duration, print_lines
from darts.tracking.ledger import sum_costs
from darts.tracking.metrics import read_metrics, write_table
from darts.tracking.optional import optional
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import RunDirectory

# Share of the budget in which trees are tuned on a table: to compare the answer with them, and if
# they can be the answer or part of it.
TREES = {"network": 0.05, "any": 0.2}


def check(config: FindConfig) -> None:
    """Raise ``ConfigError`` if the settings do not fit together; no data is read."""
    if rank_and_size()[1] > 1:
        raise ConfigError("darts find starts its own processes: set workers=N, not torchrun")
    _ = config.budget.seconds  # raises ConfigError if two units are set
    check_executor(config.executor, config.workers)
    check_config(config)


def find(config: FindConfig, invocation: Invocation, begin: float | None = None) -> JsonObject:
    """Find, train and score a network; write the summary to the run directory and return it.

    The time since ``begin``, by ``time.monotonic``, counts as time of the run; None for now.
    """
    begin = time.monotonic() if begin is None else begin
    if isinstance(config.executor, ProcessesConfig):
        start_server()
    with keep_data():
        facts, networks = make_networks(config)  # a problem of the data leaves no run behind
        folds = choose_folds(next(iter(networks.values())), config.plan.folds)
        _check_budget(config, time.monotonic() - begin)
        print_data(next(iter(networks.values())).data, folds, config.metric)
        with RunDirectory(invocation.directory.resolve(), "find") as run:
            continues = has_larger_budget(config, run)
            if run.is_complete and config.resume is not None and not continues:
                raise ConfigError(
                    f"the run in {run.path} is complete; to continue it, set a larger budget"
                )
            run.start_or_resume(config, invocation, can_continue=continues)
            summary = run_race(config, run, facts, networks, folds, begin)
    print_results(summary, run, facts.kind)
    if config.export != "none":
        write_export(config, run.path)
    return summary


def _check_budget(config: FindConfig, used: float) -> None:
    """Raise ConfigError if reading the data has used the budget; ``used`` is in seconds."""
    budget = config.budget
    if config.resume is None and config.plan.equal == "time" and used >= budget.seconds:
        key, unit = ("minutes", 60) if budget.hours is None else ("hours", 3600)
        raise ConfigError(
            f"budget.{key}={getattr(budget, key)}: the start and reading the data took {used:.1f} "
            f"s; set at least budget.{key}={used / EXPLORED / unit:.2g}"
        )


def write_export(config: FindConfig, directory: Path) -> JsonObject:
    """Export the network of a complete run to its folder ``export``; return that summary.

    The run stays complete if the export fails, for example because int8 loses too much.
    """
    name, int8 = split_export(config.export)
    words = [f"checkpoint={directory}", f"format={name}", *(["quantize=int8"] if int8 else [])]
    print_lines("", "Exporting it:", f"  darts export {shlex.join(words)}")
    words[0] = f"checkpoint={quoted(str(directory))}"
    export_config: ExportConfig = compose("export", words)
    try:
        return export(export_config, Invocation(directory / "export", tuple(words), numbered=True))
    except ConfigError as error:
        raise ConfigError(f"the run is complete, but export={config.export}: {error}") from None


def run_race(
    config: FindConfig,
    run: RunDirectory,
    facts: DataFacts,
    networks: dict[str, Networks],
    folds: int,
    begin: float,
) -> JsonObject:
    """Run the race, or continue it; return the summary.

    Each network is trained ``folds`` times, see ``darts.finding.folds``.
    """
    if (run.path / "runs").exists() and not (run.path / FILE).exists():
        raise FileError(f"{run.path / FILE} is missing; start a new run")
    decisions = Decisions(run.path / FILE)
    stopwatch = Stopwatch(total_seconds(config, run, decisions), decisions, begin=begin)
    first = next(iter(networks.values()))
    metric = (first.config.metric, first.config.task.metrics[first.config.metric])
    benchmark = Benchmark.from_config(config.benchmark, first.space)
    total = max(int(stopwatch.total), 1)
    done = min(int(stopwatch.seconds), total)
    console = Console(total_steps=total, name="find", done=done)
    notice = "stopping the runs; Ctrl-C again to abort"
    executor = make_executor(config.executor, config.workers, run.path)
    with console, Interrupt(notice) as interrupt, executor:
        action = "resuming" if config.resume else "searching"
        console.info(
            f"{action} in {run.path}: {facts.samples:,} training samples, budget "
            f"{format_duration(stopwatch.total)}, {executor.workers} workers"
        )
        for line in first.data.notes():
            console.info(line)
        if config.plan.equal == "time":  # a measured speed would differ between equal runs
            choose_precision(networks, facts.kind, decisions)
        share_features(networks, run.path)
        race = Race(
            run.path,
            Pool(config, networks, facts),
            metric,
            Execution(executor, console, interrupt, stopwatch, shown=done),
            decisions,
            folds,
        )
        try:
            trees = boost(race, first)
            race.restore()
            conclusion = run_to_the_end(race)
        except Interrupted:
            stopwatch.save()
            print_interrupted(race)
            raise Interrupted(128 + (interrupt.received or 0)) from None
    winner = conclusion.winner.candidate
    write_results(race, winner)
    print_leaders(race)
    values = conclusion.summary()
    if conclusion.ensemble is None:
        source = (conclusion.final or conclusion.winner).directory
        test = {name: score for name, score in values.items() if name.startswith("test_")}
        write_card(run.path, source, networks[winner.family], test)
    if trees is not None:
        can_win = config.result == "any"
        values = compare_trees(run.path, trees, values, metric[1], can_win=can_win)
    predicted = write_predictions(run.path, networks[winner.family])
    stopwatch.save()
    costs = networks[winner.family].costs(winner.architecture)
    runs = [path for path in sorted((run.path / "runs").iterdir()) if is_complete(path)]
    return run.finish(
        {
            "name": config.name,
            **{name: costs[name] for name in config.limit.values()},
            **values,
            **benchmark_scores(benchmark, conclusion),
            **worth_of_weights(race),
            **predicted,
            "worthless": chance_result(values, networks[winner.family]),
            "candidates": len(race.standings),
            "seconds": stopwatch.seconds,
            "outlook": outlook(race, conclusion),
            **sum_costs([read_summary(path) for path in runs]),
            "seed": config.seed,
        }
    )


def chance_result(summary: JsonObject, networks: Networks) -> str | None:
    """Return why a result is not better than chance, by its test scores if there are some."""
    split = "test" if any(name.startswith("test_") for name in summary) else "valid"
    prefix = f"{split}_"
    scores = {k.removeprefix(prefix): v for k, v in summary.items() if k.startswith(prefix)}
    chance = chance_level(networks.data, networks.data.objective(), split)
    return at_chance(scores, chance, split, "a larger budget or more data")


def boost(race: Race, networks: Networks) -> TreeScores | None:
    """Train trees on a table before the race, once per run; return None for other data."""
    own, total = networks.config, race.stopwatch.total
    folds = [data for data in fold_data(networks, race.folds) if can_boost(data, own.metric)]
    if len(folds) < race.folds:
        return None
    seconds = TREES[race.config.result] * total if race.config.plan.equal == "time" else None

    def train() -> TreeScores:
        race.console.info("training trees")
        return boost_trees(own, folds, seconds, race.directory, race.execution.stopping)

    return race.decisions.decide("trees", TreeScores, train)


def benchmark_scores(benchmark: Benchmark | None, conclusion: Conclusion) -> JsonObject:
    """Return the true scores of winner and baseline from a table that no decision uses."""
    if benchmark is None:
        return {}
    found = benchmark.scores(conclusion.winner.candidate.architecture)
    baseline = benchmark.scores(conclusion.baseline.candidate.architecture)
    return {**found, "baseline_true_accuracy": baseline["true_accuracy"]}


def has_larger_budget(config: FindConfig, run: RunDirectory) -> bool:
    """Return whether a run is resumed with a larger budget than before."""
    if config.resume is None or not (run.path / FILE).exists():
        return False
    before = Decisions(run.path / FILE).decide("budget", float, lambda: 0.0)
    return config.budget.seconds > before


def total_seconds(config: FindConfig, run: RunDirectory, decisions: Decisions) -> float:
    """Return the budget from the command line, or else the last budget of the run."""
    seconds = config.budget.seconds
    if config.resume is None or dataclasses.asdict(config.budget) == run.saved_config()["budget"]:
        return decisions.decide("budget", float, lambda: seconds)
    decisions.record("budget", seconds)
    return seconds


def choose_precision(networks: Mapping[str, Networks], kind: str, decisions: Decisions) -> None:
    """Use bfloat16 in networks for images and recordings if it is faster on this machine."""
    first = next(iter(networks.values()))
    if kind not in ("images", "audio") or "precision" in first.user:
        return
    genotype = next(iter(first.baselines.values()))
    precision = decisions.decide(
        "precision", str, lambda: faster_precision(genotype, first.config, first.data)
    )
    for own in networks.values():
        own.values["precision"] = precision


def write_results(race: Race, winner: Candidate) -> None:
    """Write the table of candidates, and the picture of the race."""
    rows = [result.row(race.metric[0]) for result in race.results.values()]
    write_table(race.directory / "candidates.csv", rows)
    baselines = {name for name, candidate in race.candidates.items() if candidate.is_baseline}
    with optional(race.directory / "race.svg"):
        save_race(race.directory, race.metric[0], winner=winner.name, baselines=baselines)


def print_interrupted(race: Race) -> None:
    """Write the best network so far to the run directory, and print what can be done with it."""
    if (best := best_so_far(race)) is not None:
        candidate, directory = best
        write_answer(race.directory, directory, candidate.architecture)
        if race.results:
            write_results(race, candidate)
        checkpoint = shlex.quote(f"checkpoint={race.directory}")
        shown = race.describe(race.results[candidate.name]) if race.results else candidate.name
        print_lines(
            f"the best network so far is {shown}; score it with: darts evaluate {checkpoint}"
        )
    argument = shlex.quote(f"resume={race.directory}")
    print_lines(f"stopped and saved; continue with: darts find {argument}")


def best_so_far(race: Race) -> tuple[Candidate, Path] | None:
    """Return the best network so far and its run directory; None if none has completed an epoch.

    Before the first round is complete, it is the best one of the baselines that train in it.
    """
    if race.results:
        result = answer_so_far(race)
        return result.candidate, result.directory
    name, metric = race.metric
    best: float | None = None
    found = None
    for candidate in race.pool.baselines():
        directory = race.slices.jobs(candidate)[0].directory
        file = directory / "metrics.jsonl"
        for row in read_metrics(file) if file.exists() else ():
            score = row.get(f"valid_{name}")
            if isinstance(score, int | float) and metric.prefers(score, best):
                best, found = score, (candidate, directory)
    return found
