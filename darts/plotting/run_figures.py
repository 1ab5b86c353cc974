"""Figures of a run: logged to its trackers while it runs, written to its directory at its end.

A figure that cannot be made causes one warning and prevents no other figure. A run never fails
because of a figure, and ``darts report`` draws most of them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from darts.plotting.figures import (
    draw_alpha_heatmap,
    draw_alpha_history,
    draw_confusion,
    draw_curves,
    points_of,
)
from darts.plotting.genotype import draw_genotype, save_genotype
from darts.plotting.style import save_figure
from darts.reading import JsonObject
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


def save_search_figures(
    directory: Path,
    history: Sequence[Mapping[str, Tensor]],
    genotype: AnyGenotype,
    context: SearchContext,
    rows: Sequence[JsonObject],
    *,
    title: str,
) -> None:
    """Write the figures of a finished search.

    They are ``genotype.svg``, ``alphas_<group>.png`` (the last epoch),
    ``alphas_<group>_history.png`` and ``curves.png``. The history has the probabilities
    ``(edges, operations)`` by group at the end of each epoch; the rows come from metrics.jsonl.
    """
    with optional(directory / "genotype.svg"):
        save_genotype(genotype, directory / "genotype.svg", title=title)
    for group, alphas in named_history(history, context).items():
        for draw, suffix in ((draw_alpha_heatmap, ""), (draw_alpha_history, "_history")):
            with optional(path := directory / f"alphas_{group}{suffix}.png"):
                chosen = _chosen(genotype, group, context)
                save_figure(draw(alphas, chosen=chosen, title=f"{group}: {title}"), path)
    save_training_figures(directory, rows, title=title)


def save_training_figures(directory: Path, rows: Sequence[JsonObject], *, title: str) -> None:
    """Write ``curves.png``: losses and accuracies over the epochs.

    ``rows`` come from metrics.jsonl; at least one must have a loss or an accuracy.
    """
    with optional(path := directory / "curves.png"):
        panels = {
            quantity: {
                split: points
                for split in ("train", "valid")
                if (points := points_of(rows, f"{split}_{quantity}"))
            }
            for quantity in ("loss", "accuracy")
        }
        shown = {quantity: lines for quantity, lines in panels.items() if lines}
        save_figure(draw_curves(shown, title=title), path)


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
