"""Curves of one or several runs, as panels of a page. What has no points is left out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TypeAlias

from darts.plotting.figures import Points, points_of
from darts.reading import JsonObject
from darts.reporting.labels import column_names, label
from darts.reporting.record import RunRecord

Panels: TypeAlias = dict[str, dict[str, Points]]
"""By title of a panel, the points of each line by name."""

_MAX_PANELS = 30  # of a section; each takes about a tenth of a second


def learning_curves(record: RunRecord) -> tuple[Panels, Panels]:
    """Return the curves of the loss and of the steering metric, and all other curves."""
    rows = record.rows
    names = [name for name in column_names(rows) if name.startswith(("train_", "valid_"))]
    panels = {
        metric: {split: points_of(rows, f"{split}_{metric}") for split in ("train", "valid")}
        for metric in dict.fromkeys(name.partition("_")[2] for name in names)
    }
    first = {metric: panels.pop(metric) for metric in ("loss", record.metric) if metric in panels}
    panels["gradient norm"] = {
        label(name): points_of(rows, name) for name in ("grad_norm", "arch_grad_norm")
    }
    panels["learning rate"] = {"lr": points_of(rows, "lr")}
    return _drawable(first), _drawable(panels)


def collapse_curves(record: RunRecord) -> Panels:
    """Return the curves of the collapse checks of a search."""
    curves = {
        name.removeprefix("collapse/"): points_of(record.rows, name)
        for name in column_names(record.rows)
        if name.startswith("collapse/")
    }
    scores = f"{label(record.metric)} of the supernet, and of the genotype's path in it"
    skips = "skip connections in the genotype"
    panels: Panels = {scores: {}, skips: {}}
    for name, points in curves.items():
        if name.startswith(("supernet_", "path_")):
            panels[scores][label(name)] = points
        elif name.endswith("/skips"):
            panels[skips][name.removesuffix("/skips")] = points
    for name, title in (
        ("eigenvalue", "largest eigenvalue of the alphas' Hessian"),
        ("gap", "fraction of the supernet's score that the path loses"),
    ):
        panels[title] = {name: curves.get(name, [])}
    return _drawable(panels)


def collapse_checks(record: RunRecord) -> list[JsonObject]:
    """Return the collapse checks of a search, with the labels of their numbers."""
    return [
        {"epoch": row["epoch"], "verdict": row["collapse_verdict"]}
        | {
            label(name.removeprefix("collapse/")): value
            for name, value in row.items()
            if name.startswith("collapse/")
        }
        for row in record.rows
        if "collapse_verdict" in row
    ]


def trial_scores(record: RunRecord) -> Panels:
    """Return the scores of the trials of a study."""
    names = (record.metric, f"valid_{record.metric}")
    return _drawable({name: {"score": points_of(record.trials, name, "trial")} for name in names})


def common_curves(runs: Mapping[str, RunRecord]) -> Panels:
    """Return the curves of losses and steering metrics that at least two runs have."""
    metrics = ["valid_loss", "train_loss", *(f"valid_{run.metric}" for run in runs.values())]
    panels = {
        metric: {name: points_of(run.rows, metric) for name, run in runs.items()}
        for metric in metrics
    }
    return {title: lines for title, lines in _drawable(panels).items() if len(lines) > 1}


def _drawable(panels: Panels) -> Panels:
    """Return the panels that have points, with labels as titles, but not too many."""
    filled = {
        label(title): {name: points for name, points in lines.items() if points}
        for title, lines in panels.items()
    }
    return dict(itertools.islice(((t, lines) for t, lines in filled.items() if lines), _MAX_PANELS))
