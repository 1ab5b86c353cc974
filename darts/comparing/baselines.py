"""Searches of the baselines. Each costs as much as the method's search with the same seed."""

from __future__ import annotations

from pathlib import Path

from darts.comparing.pilot import CostModel
from darts.comparing.plan import RANDOM, RANDOM_SEARCH, ComparisonPlan, search_config
from darts.comparing.runs import RunFailed, RunLauncher, read_divergence, read_summary
from darts.reading import JsonObject, read_json
from darts.recipes.commands import merge_overrides
from darts.spaces import AnyGenotype
from darts.tracking import format_duration, format_value, read_metrics
from darts.tracking.ledger import common_source
from darts.writing import write_atomically, write_json

MAX_DIVERGED = 3
"""``random_search`` fails if this many short trainings at its start have all diverged.

The cause is then more likely in the settings than in the architectures.
"""


def draw_random(plan: ComparisonPlan, index: int) -> str:
    """Write a random genotype for search ``index`` of the baseline ``random``; return a message."""
    genotype = next(plan.random_genotypes(index))
    write_atomically(plan.genotype_path(RANDOM, index), genotype.to_json())
    return "drawn"


def search_at_equal_cost(plan: ComparisonPlan, launcher: RunLauncher, name: str, index: int) -> str:
    """Run search ``index`` of a baseline at the cost of the method's search; return a message.

    The search has the number of epochs whose predicted cost is closest to that of the method's
    search with the same seed. The message has validation score, time, epochs and relative cost.
    """
    budget, pilot = _method_summary(plan, index), plan.pilot_directory(name)
    require_common_source(read_summary(pilot), budget)
    overrides = plan.search_overrides(name, index)
    model = read_cost_model(pilot)
    epochs = model.epochs_within(search_config(overrides), budget["joules"])
    directory = plan.search_folder(name, index) / "search"
    summary = launcher("search", directory, merge_overrides([*overrides, f"epochs={epochs}"]))
    ratio = summary["joules"] / budget["joules"]
    return (
        f"{describe_run(plan, summary)}, {epochs} epochs, {ratio:.2f} times the cost of the method"
    )


def random_search(plan: ComparisonPlan, launcher: RunLauncher, index: int) -> str:
    """Run search ``index`` of the baseline ``random_search``; return a message.

    Random architectures get a short training one after the other, until their joules reach those
    of the method's search with the same seed. The one with the best validation score is written to
    ``genotype.json``. The cost of diverged trainings counts. The message has score and time.
    """
    budget, folder = _method_summary(plan, index), plan.search_folder(RANDOM_SEARCH, index)
    score = f"valid_{plan.metric.name}"
    joules = seconds = 0.0
    trained = 0
    reasons: list[str] = []  # of divergence
    best: tuple[float, AnyGenotype] | None = None
    for genotype in plan.random_genotypes(index):
        if joules >= budget["joules"]:
            break
        directory = folder / f"short-{trained:03d}"
        overrides = plan.short_training_overrides(genotype.to_json(), index)
        summary = _train_briefly(launcher, directory, overrides)
        trained += 1
        require_common_source(summary, budget)
        joules, seconds = joules + summary["joules"], seconds + summary["seconds"]
        if score not in summary:
            reasons.append(summary["reason"])
            if len(reasons) == trained == MAX_DIVERGED:
                raise RunFailed(f"the first {MAX_DIVERGED} short trainings diverged: {reasons[0]}")
        elif plan.metric.prefers(summary[score], None if best is None else best[0]):
            best = (summary[score], genotype)
    if best is None:
        raise RunFailed(f"none of the {trained} short trainings has a finite {score}")
    write_atomically(plan.genotype_path(RANDOM_SEARCH, index), best[1].to_json())
    cost = {"joules": joules, "seconds": seconds, "joules_source": budget["joules_source"]}
    write_json(folder / "chosen.json", {**cost, "trained": trained, score: best[0]})
    count = f"{trained} ({len(reasons)} diverged)" if reasons else str(trained)
    result = f"{score} {format_value(score, best[0])} in {format_duration(seconds)}"
    return f"best of {count}: {result}"


def _method_summary(plan: ComparisonPlan, index: int) -> JsonObject:
    """Return the summary of search ``index`` of the method; its joules are the budget."""
    summary = read_summary(plan.search_folder(plan.method, index) / "search")
    if not summary["joules"] > 0:
        raise RunFailed(f"the energy of the search of {plan.method} was not measured")
    return summary


def _train_briefly(launcher: RunLauncher, directory: Path, overrides: list[str]) -> JsonObject:
    """Return the summary of a short training, or the reason and cost of its divergence."""
    divergence = read_divergence(directory)
    if divergence is not None:
        return divergence
    try:
        return launcher("retrain", directory, overrides)
    except RunFailed:
        divergence = read_divergence(directory)
        if divergence is None:
            raise
        return divergence


def read_cost_model(pilot: Path) -> CostModel:
    """Return the cost model of a baseline from the directory of its complete pilot."""
    overrides = read_json(pilot / "overrides.json")["overrides"]
    config = search_config([o for o in overrides if not o.startswith("hydra.")])
    joules = [row["joules"] for row in read_metrics(pilot / "metrics.jsonl") if "epoch" in row]
    phases = read_json(pilot / "energy.json")["phases"]
    checks = sum(phase["joules"] for phase in phases if phase["phase"] == "collapse")
    return CostModel(config, joules, read_summary(pilot)["joules"], checks)


def require_common_source(ours: JsonObject, theirs: JsonObject) -> None:
    """Raise ``RunFailed`` unless the joules of two summaries have a common source."""
    sources = [ours["joules_source"], theirs["joules_source"]]
    if common_source(sources) is None:
        raise RunFailed(f"joules from {sources[0]} and from {sources[1]} cannot be compared")


def describe_run(plan: ComparisonPlan, summary: JsonObject) -> str:
    """Return the validation score and the time of a run as text.

    The test score is hidden, so that nobody can stop a comparison when its scores look good.
    """
    name = f"valid_{plan.metric.name}"
    score = f"{name} {format_value(name, summary[name])} " if name in summary else ""
    return f"{score}in {format_duration(summary['seconds'])}"
