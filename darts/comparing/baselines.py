"""Runs of a comparison, and the searches of its baselines, which cost as much as the method's.

The cost of a search follows from a pilot, a short search. The cost of an epoch depends on its kind:
its stage, and whether it updates the alphas. A pilot has epochs of each kind. The cost of a longer
search follows from its number of epochs of each kind.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TypeAlias

from darts.comparing.plan import RANDOM, RANDOM_SEARCH, ComparisonPlan
from darts.config import SearchConfig
from darts.methods.stages import stage_position
from darts.reading import JsonObject, read_json
from darts.recipes.commands import merge_overrides, search_config
from darts.running.jobs import Job, Outcome, RunFailed, log_file, read_divergence, read_summary
from darts.searching.searcher import epoch_kind
from darts.spaces import AnyGenotype
from darts.tracking import format_duration, format_value, read_metrics
from darts.tracking.ledger import common_source
from darts.writing import write_atomically, write_json

# `random_search` fails if this many short runs at its start have all diverged. The cause is then
# more likely in the settings than in the architectures.
MAX_DIVERGED = 3

# Epochs of a pilot per stage: the first one, one with frozen alphas, one with updated alphas.
EPOCHS_PER_STAGE = 3

# Kind of an epoch: the index of its stage, and whether it updates the alphas.
EpochKind = tuple[int, bool]


# Work that yields jobs, receives their outcomes, and returns a short message about the result.
Work: TypeAlias = Generator[Job, Outcome, str]


def execute_run(
    command: str, directory: Path, overrides: Sequence[str]
) -> Generator[Job, Outcome, JsonObject]:
    """Yield the job of a run, and return its summary.

    A resumed run keeps its own overrides. Raise RunFailed if the run ended with an error.
    """
    outcome = yield Job(str(directory), command, directory, (*overrides,))
    if outcome.summary is None:
        raise RunFailed(f"{outcome.problem} (see {log_file(directory)})")
    return outcome.summary


def draw_random(plan: ComparisonPlan, index: int) -> Work:
    """Write a random genotype for search ``index`` of the baseline ``random``; return a message."""
    yield from ()  # this needs no job
    genotype = next(plan.random_genotypes(index))
    write_atomically(plan.genotype_path(RANDOM, index), genotype.to_json())
    return "drawn"


def search_at_equal_cost(plan: ComparisonPlan, name: str, index: int) -> Work:
    """Run search ``index`` of a baseline at the cost of the method's search; return a message.

    The search has the number of epochs whose predicted cost is closest to the cost of the method's
    search with the same seed.
    """
    budget, pilot = _method_summary(plan, index), plan.pilot_directory(name)
    require_common_source(read_summary(pilot), budget)
    overrides = plan.search_overrides(name, index)
    model = read_cost_model(pilot)
    epochs = model.epochs_within(search_config(overrides), budget["joules"])
    directory = plan.search_folder(name, index) / "search"
    overrides = merge_overrides([*overrides, f"epochs={epochs}"])
    summary = yield from execute_run("search", directory, overrides)
    ratio = summary["joules"] / budget["joules"]
    return (
        f"{describe_run(plan, summary)}, {epochs} epochs, {ratio:.2f} times the cost of the method"
    )


def random_search(plan: ComparisonPlan, index: int) -> Work:
    """Run search ``index`` of the baseline ``random_search``; return a message.

    Random architectures get a short run one after the other, until they have used as many joules as
    the method's search with the same seed. The one with the best validation score is written to
    ``genotype.json``. The cost of diverged runs counts.
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
        overrides = plan.short_run_overrides(genotype.to_json(), index)
        try:
            summary = yield from execute_run("retrain", directory, overrides)
        except RunFailed:
            divergence = read_divergence(directory)
            if divergence is None:
                raise
            summary = divergence
        trained += 1
        require_common_source(summary, budget)
        joules, seconds = joules + summary["joules"], seconds + summary["seconds"]
        if score not in summary:
            reasons.append(summary["reason"])
            if len(reasons) == trained == MAX_DIVERGED:
                raise RunFailed(f"the first {MAX_DIVERGED} short runs diverged: {reasons[0]}")
        elif plan.metric.prefers(summary[score], None if best is None else best[0]):
            best = (summary[score], genotype)
    if best is None:
        raise RunFailed(f"none of the {trained} short runs has a finite {score}")
    write_atomically(plan.genotype_path(RANDOM_SEARCH, index), best[1].to_json())
    cost = {"joules": joules, "seconds": seconds, "joules_source": budget["joules_source"]}
    write_json(folder / "chosen.json", {**cost, "trained": trained, score: best[0]})
    count = f"{trained} ({len(reasons)} diverged)" if reasons else str(trained)
    result = f"{score} {format_value(score, best[0])} in {format_duration(seconds)}"
    return f"best of {count}: {result}"


def _method_summary(plan: ComparisonPlan, index: int) -> JsonObject:
    summary = read_summary(plan.search_folder(plan.method, index) / "search")
    if not summary["joules"] > 0:
        raise RunFailed(f"the energy of the search of {plan.method} was not measured")
    return summary


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


def pilot_overrides(config: SearchConfig) -> list[str]:
    """Return the overrides that turn a search into its pilot.

    The pilot has at least ``EPOCHS_PER_STAGE`` epochs of each stage. If the alphas have a warm-up,
    it takes half of each stage. If the search has collapse checks, the pilot has one after its last
    epoch.
    """
    stages, epochs, shortest = config.all_stages, EPOCHS_PER_STAGE - 1, 0
    while shortest < EPOCHS_PER_STAGE:
        epochs += 1
        lengths = Counter(stage_position(epoch, epochs, stages).stage for epoch in range(epochs))
        shortest = min(lengths.values())
    overrides = [f"epochs={epochs}"]
    if config.bilevel.updates_alphas and config.arch_optimizer.warmup > 0:
        overrides.append("arch_optimizer.warmup=0.5")
    if config.relaxation.uses_alphas and config.collapse.every > 0:
        overrides += [f"collapse.every={epochs}", "collapse.action=warn"]
    return overrides


class CostModel:
    """Predicted energy of the searches of a method as a function of their number of epochs.

    Args:
        config: Configuration of the pilot.
        joules_after_epochs: Joules from the start of the pilot to the end of each epoch.
        total_joules: Joules of the whole pilot.
        check_joules: Joules of all its collapse checks.
    """

    def __init__(
        self,
        config: SearchConfig,
        joules_after_epochs: Sequence[float],
        total_joules: float,
        check_joules: float = 0.0,
    ) -> None:
        checks = _count_checks(config, len(joules_after_epochs))
        self._check = check_joules / checks if checks else 0.0
        measured: dict[EpochKind, list[float]] = defaultdict(list)
        for epoch, (before, after) in enumerate(itertools.pairwise(joules_after_epochs), 1):
            position = stage_position(epoch, config.epochs, config.all_stages)
            if epoch > position.first:  # the first epoch of a stage includes the stage's setup
                check = self._check if _is_checked(config, epoch) else 0.0
                measured[epoch_kind(config, epoch, config.epochs)].append(after - before - check)
        self._epochs = {kind: sum(costs) / len(costs) for kind, costs in measured.items()}
        if not self._epochs or not min(self._epochs.values()) > 0:
            raise RunFailed("the energy of the pilot's epochs was not measured")
        # Work that is done once: whatever the costs of epochs and checks do not explain.
        self._constant = 0.0
        self._constant = total_joules - self.joules(config, len(joules_after_epochs))

    def joules(self, config: SearchConfig, epochs: int) -> float:
        """Return the predicted joules of a search with ``epochs`` instead of ``config.epochs``."""
        joules = self._constant + self._check * _count_checks(config, epochs)
        for kind, count in Counter(epoch_kind(config, e, epochs) for e in range(epochs)).items():
            if kind not in self._epochs:
                stage, updated = kind
                state = "updated" if updated else "frozen"
                raise RunFailed(
                    f"the pilot has no epoch of stage {stage + 1} with {state} alphas; "
                    "remove its directory to run it again"
                )
            joules += count * self._epochs[kind]
        return joules

    def epochs_within(self, config: SearchConfig, budget: float) -> int:
        """Return the number of epochs whose predicted cost is closest to a budget in joules."""
        min_epochs = len(config.all_stages)
        min_joules = self.joules(config, min_epochs)
        if min_joules > budget:
            raise RunFailed(
                f"a budget of {budget:.4g} J does not suffice for {min_epochs} "
                f"epoch{'s' * (min_epochs > 1)} and the work done once ({min_joules:.4g} J); "
                "start a new comparison with more epochs for the method, or without this baseline"
            )
        over = next(n for n in itertools.count(min_epochs) if self.joules(config, n) > budget)
        return min((over, over - 1), key=lambda n: abs(self.joules(config, n) - budget))


def _is_checked(config: SearchConfig, epoch: int) -> bool:
    return config.collapse.is_due(epoch) and config.relaxation.uses_alphas


def _count_checks(config: SearchConfig, epochs: int) -> int:
    return sum(_is_checked(config, epoch) for epoch in range(epochs))
