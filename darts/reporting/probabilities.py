"""The alphas of a search on its page: probabilities and entropy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from darts.plotting.figures import Points, draw_alpha_heatmap, draw_alpha_history
from darts.reading import JsonObject
from darts.reporting.record import RunRecord
from darts.searching.alphas import column_names
from darts.spaces import space_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_EDGES, _MAX_OPERATIONS = 60, 40  # of a group that is drawn
_MAX_EPOCHS = 200  # that are drawn; a panel is about as many pixels wide


def draw_probabilities(record: RunRecord, group: str) -> Iterator[Figure]:
    """Yield the figures of a group: the last epoch, and all epochs; none if it is too large.

    The operations of the genotype are outlined or thick.
    """
    history = record.alphas[group]
    operations, count = column_names(history["operations"]), len(history["epochs"])
    if len(history["edges"]) > _MAX_EDGES or len(operations) > _MAX_OPERATIONS:
        return
    # The last epoch is always among them.
    epochs = range(count, 0, -math.ceil(count / _MAX_EPOCHS))[::-1]
    matrices = [torch.tensor(history["epochs"][epoch - 1]) for epoch in epochs]
    chosen = _chosen_operations(record, group)
    edges = history["edges"]
    yield draw_alpha_heatmap(
        matrices[-1], operations=operations, edges=edges, chosen=chosen, title=f"epoch {count}"
    )
    yield draw_alpha_history(
        matrices, operations=operations, edges=edges, chosen=chosen, epochs=epochs
    )


def differing_candidates(record: RunRecord, group: str) -> list[JsonObject]:
    """Return the candidates of each edge of a group, or nothing if they do not differ.

    The figures number candidates that differ.
    """
    history = record.alphas[group]
    names = column_names(history["operations"])
    return [
        {"edge": edge, **dict(zip(names, candidates, strict=True))}
        for edge, candidates in zip(history["edges"], history["operations"], strict=True)
        if names != history["operations"][0]
    ]


def mean_entropies(record: RunRecord) -> dict[str, Points]:
    """Return the mean entropy of the edges of each group over the epochs, in nats."""
    return {
        group: list(enumerate(map(_entropy, history["epochs"]), start=1))
        for group, history in record.alphas.items()
    }


def _entropy(matrix: list[list[float]]) -> float:
    """Return the mean entropy of the edges from probabilities ``(edges, operations)``."""
    terms = [-p * math.log(p) for row in matrix for p in row if p > 0]
    return math.fsum(terms) / len(matrix)


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
