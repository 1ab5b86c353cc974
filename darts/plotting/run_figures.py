"""Figures of a run: in TensorBoard while it runs, in its directory at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from darts.plotting.alpha_animation import animate_alphas
from darts.plotting.figures import (
    draw_alpha_heatmap,
    draw_alpha_history,
    draw_confusion,
    draw_metrics,
)
from darts.plotting.genotype import draw_genotype, save_genotype
from darts.plotting.style import save_figure
from darts.searching.alphas import column_names, edge_names, named_history
from darts.spaces import AnyGenotype, SearchContext
from darts.tracking.files import JsonObject, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.tracking import TensorBoard


class HasConfusionMatrix(Protocol):
    """An objective that may count which classes its last evaluation predicted."""

    def confusion_matrix(self) -> Tensor | None:
        """Return sample counts ``(true classes, predicted classes)``, or None."""
        ...


def log_alphas(
    board: TensorBoard,
    weights: Mapping[str, Tensor],
    genotype: AnyGenotype,
    context: SearchContext,
    *,
    epoch: int,
    step: int,
) -> None:
    """Log heatmaps of the alphas, and the genotype as figure and text, to TensorBoard.

    Nothing is drawn if the board is disabled. The mixing weights by group have the shape
    ``(edges, operations)``; ``genotype`` is what they give. The epoch counts from 1.
    """
    if not board.enabled:
        return
    for group in weights:
        title = f"{group}, epoch {epoch}"
        figure = draw_group_heatmap(weights[group], genotype, group, context, title)
        board.log_figure(f"alphas/{group}", figure, step)
    board.log_figure("genotype", draw_genotype(genotype, title=f"epoch {epoch}"), step)
    board.log_text("genotype", f"`{genotype}`", step)


def draw_group_heatmap(
    weights: Tensor, genotype: AnyGenotype, group: str, context: SearchContext, title: str
) -> Figure:
    """Draw the mixing weights of a group; the operations that the genotype keeps are outlined."""
    mask = context.space.mask(genotype, context.candidates)[group]
    return draw_alpha_heatmap(
        weights,
        operations=column_names(context.candidates[group]),
        edges=edge_names(context.edges[group]),
        title=title,
        chosen=_positions(mask),
    )


def _positions(mask: Tensor) -> list[tuple[int, int]]:
    return [(row, column) for row, column in mask.nonzero().tolist()]


def save_search_figures(
    directory: Path,
    history: Sequence[Mapping[str, Tensor]],
    genotype: AnyGenotype,
    context: SearchContext,
    rows: Sequence[JsonObject],
    *,
    title: str,
) -> None:
    """Write the figures of a search: genotype, final alphas, their history and animation, curves.

    ``history`` has the mixing weights of each epoch by group, ``rows`` are those of metrics.jsonl.
    """
    save_genotype(genotype, directory / "genotype.svg", title=title)
    for group in history[-1]:
        heading = f"{group}: {title}"
        operations = column_names(context.candidates[group])
        figure = draw_group_heatmap(history[-1][group], genotype, group, context, heading)
        save_figure(figure, directory / f"alphas_{group}.png")
        past = [weights[group] for weights in history]
        edges = edge_names(context.edges[group])
        figure = draw_alpha_history(past, operations=operations, edges=edges, title=heading)
        save_figure(figure, directory / f"alphas_{group}_history.png")
    masks = context.space.mask(genotype, context.candidates)
    chosen = {group: _positions(mask) for group, mask in masks.items()}
    animation = animate_alphas(named_history(history, context), chosen=chosen)
    write_atomically(directory / "alphas.gif", animation)
    save_training_figures(directory, rows, title=title)


def save_training_figures(directory: Path, rows: Sequence[JsonObject], *, title: str) -> None:
    """Write ``curves.png``: losses and accuracies over the epochs, from rows of metrics.jsonl."""
    keys = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")
    known = [key for key in keys if any(key in row for row in rows)]
    save_figure(draw_metrics(rows, known, title=title), directory / "curves.png")


def log_confusion(
    board: TensorBoard,
    objective: HasConfusionMatrix,
    names: Sequence[str],
    *,
    epoch: int,
    step: int,
) -> None:
    """Log the confusion matrix of the last evaluation to TensorBoard, if there is one."""
    counts = objective.confusion_matrix()
    if board.enabled and counts is not None:
        figure = draw_confusion(counts, names, title=f"validation, epoch {epoch}")
        board.log_figure("confusion", figure, step)


def save_confusion(path: Path, objective: HasConfusionMatrix, names: Sequence[str]) -> None:
    """Write the confusion matrix of the last evaluation to a file, if there is one."""
    counts = objective.confusion_matrix()
    if counts is not None:
        save_figure(draw_confusion(counts, names, title="confusion matrix"), path)
