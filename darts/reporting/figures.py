"""Figures of a page: curves, the race, and the alphas of a search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import torch

from darts.plotting.figures import Points, draw_alpha_heatmap, draw_alpha_history, points_of
from darts.plotting.race import draw_race
from darts.reading import JsonObject
from darts.reporting.record import RunRecord
from darts.reporting.tables import column_names, label, race_winner
from darts.searching import alphas
from darts.spaces import space_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By title of a panel, the points of each line by name.
Panels: TypeAlias = dict[str, dict[str, Points]]

_MAX_PANELS = 30  # of a section; each takes about a tenth of a second
_MAX_EDGES, _MAX_OPERATIONS = 60, 40  # of a group that is drawn


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
    """Return the curves of the collapse checks: a panel per quantity, with a line per cell."""
    panels: Panels = {}
    for name in column_names(record.rows):
        if name.startswith("collapse/"):
            *cell, quantity = name.split("/")[1:]
            line = cell[0] if cell else label(quantity)
            panels.setdefault(quantity, {})[line] = points_of(record.rows, name)
    return _drawable(panels)


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


def race_figure(record: RunRecord) -> Figure:
    """Draw the race, which must have a slice."""
    baselines = {
        row.get("candidate", "") for row in record.candidates if row.get("origin") == "baseline"
    }
    return draw_race(record.race, record.metric, winner=race_winner(record), baselines=baselines)


def probabilities(record: RunRecord, group: str) -> Iterator[Figure]:
    """Yield the figures of a group: the last epoch, and all epochs; none if it is too large.

    The operations of the genotype are outlined or thick.
    """
    history = record.alphas[group]
    count = len(history["epochs"])
    if len(history["edges"]) > _MAX_EDGES or len(history["operations"][0]) > _MAX_OPERATIONS:
        return
    chosen = _chosen_operations(record, group)
    yield draw_alpha_heatmap(history, chosen=chosen, title=f"epoch {count}")
    yield draw_alpha_history(history, chosen=chosen)


def differing_candidates(record: RunRecord, group: str) -> list[JsonObject]:
    """Return the candidates of each edge of a group, or nothing if they do not differ.

    The figures number candidates that differ.
    """
    history = record.alphas[group]
    names = alphas.column_names(history["operations"])
    return [
        {"edge": edge, **dict(zip(names, candidates, strict=True))}
        for edge, candidates in zip(history["edges"], history["operations"], strict=True)
        if names != history["operations"][0]
    ]


def mean_entropies(record: RunRecord) -> dict[str, Points]:
    """Return the mean entropy of the edges of each group over the epochs, in nats."""
    return {
        group: [
            (epoch, float(alphas.entropy(torch.tensor(matrix)).mean()))
            for epoch, matrix in enumerate(history["epochs"], start=1)
        ]
        for group, history in record.alphas.items()
    }


def _chosen_operations(record: RunRecord, group: str) -> list[tuple[int, int]]:
    """Return the operations that the genotype keeps, or none if it does not match the alphas."""
    if record.genotype is None:
        return []
    candidates = {
        name: tuple(tuple(row) for row in history["operations"])
        for name, history in record.alphas.items()
    }
    try:
        mask = space_of(record.genotype).mask(record.genotype, candidates)[group]
    except (ValueError, LookupError):  # the files come from different epochs or searches
        return []
    return [(row, column) for row, column in mask.nonzero().tolist()]
