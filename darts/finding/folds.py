"""Scores on small data: each network has several runs, each with another part held out.

With 60 held-out samples, the standard error of an accuracy of 90 % is 4 points, more than most
networks differ. Five trainings, each with another fifth of the samples held out, score a network on
all samples.

References:
    Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", 1974.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from darts.config import ConfigError
from darts.data import count_folds
from darts.data_modules import DataModule, make_data_module
from darts.finding.candidates import Candidate, Networks
from darts.finding.results import FoldRun, Result, signed
from darts.tasks.metrics import Metric
from darts.tracking.metrics import mean_curve
from darts.training.distributed import Ranks

# Samples on which a network is scored, at least, if there are enough held-out parts.
ENOUGH_SAMPLES = 200


def choose_folds(networks: Networks, chosen: int | None) -> int:
    """Return the number of held-out parts on which each network is scored.

    Args:
        networks: A family of networks on the data.
        chosen: The number that the user has set; None if it follows from the data.
    """
    networks.data.retrain_loaders()  # sets the subsets
    config, subsets = networks.config, networks.data.subsets
    most = count_folds(config.validation)
    reason = f"validation={config.validation:g} gives at most {most} disjoint parts"
    if config.validation_fold is not None:
        most, reason = 1, f"validation_fold={config.validation_fold} chooses one part"
    if (groups := networks.data.groups) is not None:
        # Each part needs a group, and so does the training.
        most = 1 if groups.is_ordered else min(most, max(groups.count - 1, 1))
        reason = "dataset.time or dataset.group is set"
    if networks.data.held_out_loader("valid", {}) is not None:
        most, reason = 1, f"dataset={config.dataset.name} has a validation split of its own"
    if chosen is not None:
        if chosen > most:
            raise ConfigError(f"plan.folds={chosen}: {reason}; leave plan.folds out")
        return chosen
    held_out = max(len(subsets["valid"]), 1) if most > 1 else ENOUGH_SAMPLES
    return min(math.ceil(ENOUGH_SAMPLES / held_out), most)


def fold_data(networks: Networks, folds: int) -> list[DataModule]:
    """Return the data of a family, once for each held-out part, with its subsets."""
    numbers = range(folds) if folds > 1 else [networks.config.validation_fold]
    configs = [replace(networks.config, validation_fold=number) for number in numbers]
    modules = [make_data_module(config, Ranks(config.device)) for config in configs]
    for data in modules:
        data.retrain_loaders()  # sets the subsets
    return modules


def combine(
    candidate: Candidate, runs: Sequence[FoldRun], metric: tuple[str, Metric], *, selection: str
) -> Result:
    """Return the result of the runs of a candidate: their mean scores at one common epoch.

    This is the epoch with the best mean, or the last one if ``selection`` is "last". If each run
    had a best epoch of its own, the few samples of one part would choose it, and the scores would
    be too optimistic. A single run has chosen its epoch in the same way.

    Args:
        candidate: The candidate.
        runs: The runs.
        metric: Name of the steering metric and its direction.
        selection: ``selection`` of the runs: "best" or "last".
    """
    name, summary = f"valid_{metric[0]}", runs[0].summary
    if len(runs) > 1:
        means = mean_curve([run.directory for run in runs])
        epochs = [*means][-1:] if selection == "last" else [*means]
        scored = [epoch for epoch in epochs if math.isfinite(means[epoch].get(name, math.nan))]
        best = max(scored, key=lambda epoch: signed(means[epoch][name], metric[1]), default=None)
        summary = {
            **{key: v for key, v in summary.items() if not key.startswith("valid_")},
            "epochs": max(means, default=0),
            "seconds": statistics.fmean(float(run.summary["seconds"]) for run in runs),
            **({} if best is None else {**means[best], "epoch": best}),
        }
    known = summary.get(name)
    score = float(known) if isinstance(known, int | float) else math.nan
    return Result(candidate, tuple(runs), summary, score)
