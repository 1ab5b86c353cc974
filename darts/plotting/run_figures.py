"""Figures of a run: logged to its trackers while it runs, written to its directory at its end.

A figure that cannot be made causes one warning and prevents no other figure. A run never fails
because of a figure. ``darts report`` draws the curves of scores and alphas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from darts.plotting.figures import draw_alpha_heatmap, draw_confusion
from darts.plotting.genotype import draw_genotype
from darts.plotting.style import save_figure
from darts.searching.alphas import named_history
from darts.spaces import AnyGenotype, SearchContext
from darts.tasks import Objective
from darts.tracking.optional import optional
from darts.tracking.trackers import Board


def log_alphas(
    board: Board,
    probabilities: Mapping[str, Tensor],
    genotype: AnyGenotype,
    context: SearchContext,
    *,
    epoch: int,
    step: int,
) -> None:
    """Log heatmaps of the probabilities, and the genotype as figure and text.

    The probabilities are ``(edges, operations)`` by group. ``epoch`` is the number in the titles,
    ``step`` the position on the horizontal axis.
    """
    if not board.enabled:
        return
    for group, history in named_history([probabilities], context).items():
        with optional(f"the logged figure of alphas/{group}"):
            chosen = _chosen(genotype, group, context)
            figure = draw_alpha_heatmap(history, chosen=chosen, title=f"{group}, epoch {epoch}")
            board.log_figure(f"alphas/{group}", figure, step)
    with optional("the logged figure of the genotype"):
        board.log_figure("genotype", draw_genotype(genotype, title=f"epoch {epoch}"), step)
    board.log_text("genotype", f"`{genotype}`", step)


def _chosen(genotype: AnyGenotype, group: str, context: SearchContext) -> list[tuple[int, int]]:
    """Return edge and operation of the candidates of a group that the genotype keeps."""
    mask = context.space.mask(genotype, context.candidates)[group]
    return [(edge, operation) for edge, operation in mask.nonzero().tolist()]


def log_confusion(
    board: Board, objective: Objective, names: Sequence[str], *, epoch: int, step: int
) -> None:
    """Log the confusion matrix of the last evaluation, if there is one; ``names`` of classes."""
    with optional("the logged confusion matrix"):
        counts = objective.confusion_matrix()
        if board.enabled and counts is not None:
            figure = draw_confusion(counts, names, title=f"validation, epoch {epoch}")
            board.log_figure("confusion", figure, step)


def save_confusion(path: Path, objective: Objective, names: Sequence[str]) -> None:
    """Write the confusion matrix of the last evaluation, if there is one; ``names`` of classes."""
    with optional(path):
        counts = objective.confusion_matrix()
        if counts is not None:
            save_figure(draw_confusion(counts, names, title="confusion matrix"), path)
