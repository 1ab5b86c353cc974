"""What a run leaves to look at: in TensorBoard while it runs, in its directory at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from darts.plotting.alpha_animation import animate_alphas
from darts.plotting.confusion import draw_confusion
from darts.plotting.figures import draw_alpha_heatmap, draw_alpha_history, draw_metrics, save_figure
from darts.plotting.genotype import draw_genotype, save_genotype
from darts.searching.alphas import column_names, edge_names, named_history
from darts.tracking.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.tracking import TensorBoard


def log_alphas(
    board: TensorBoard,
    weights: Mapping[str, Tensor],
    genotype: Any,
    context: Any,
    *,
    epoch: int,
    step: int,
) -> None:
    """Put the alphas as heatmaps and the genotype, drawn and written, into TensorBoard.

    Args:
        board: where to; nothing is drawn when it is not enabled.
        weights: mixing weights by kind of cell, each ``(edges, operations)``.
        genotype: what the weights stand for now.
        context: names edges and columns, see ``darts.spaces.SearchContext``.
        epoch: for the titles, counted from 1.
        step: global step.
    """
    if not board.enabled:
        return
    for cell in weights:
        figure = draw_group_heatmap(weights[cell], genotype, cell, context, f"{cell}, epoch {epoch}")
        board.figure(f"alphas/{cell}", figure, step)
    board.figure("genotype", draw_genotype(genotype, title=f"epoch {epoch}"), step)
    board.text("genotype", f"`{genotype}`", step)


def draw_group_heatmap(weights: Tensor, genotype: Any, cell: str, context: Any, title: str) -> Figure:
    """The mixing weights of one kind of cell, those that the genotype keeps outlined."""
    mask = context.space.mask(genotype, context.candidates)[cell]
    return draw_alpha_heatmap(
        weights,
        operations=column_names(context.candidates[cell]),
        edges=edge_names(context.edges[cell]),
        title=title,
        chosen=[(row, column) for row, column in mask.nonzero().tolist()],
    )


def save_search_figures(
    directory: Path,
    history: Sequence[Mapping[str, Tensor]],
    genotype: Any,
    context: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
) -> None:
    """Leave pictures in a directory: genotype, alphas at the end, over time and as a film, curves.

    Args:
        directory: where to.
        history: mixing weights by kind of cell at the end of each epoch.
        genotype: what was found.
        context: names edges and columns, see ``darts.spaces.SearchContext``.
        rows: of metrics.jsonl.
        title: heading of all pictures.
    """
    save_genotype(genotype, directory / "genotype.svg", title=title)
    for cell in history[-1]:
        heading = f"{cell}: {title}"
        operations = column_names(context.candidates[cell])
        figure = draw_group_heatmap(history[-1][cell], genotype, cell, context, heading)
        save_figure(figure, directory / f"alphas_{cell}.png")
        past = [weights[cell] for weights in history]
        edges = edge_names(context.edges[cell])
        figure = draw_alpha_history(past, operations=operations, edges=edges, title=heading)
        save_figure(figure, directory / f"alphas_{cell}_history.png")
    mask = context.space.mask(genotype, context.candidates)
    kept = {
        cell: [(row, column) for row, column in own.nonzero().tolist()]
        for cell, own in mask.items()
    }
    write_atomically(directory / "alphas.gif", animate_alphas(named_history(history, context), kept=kept))
    save_training_figures(directory, rows, title=title)


def save_training_figures(directory: Path, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Leave losses and accuracies over the epochs in a directory, from the rows of its metrics."""
    keys = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")
    known = [key for key in keys if any(key in row for row in rows)]
    save_figure(draw_metrics(rows, known, title=title), directory / "curves.png")


def log_confusion(
    board: TensorBoard, objective: Any, names: Sequence[str], *, epoch: int, step: int
) -> None:
    """Put the classes of the last scoring against the true ones into TensorBoard, if there are."""
    counts = objective.confusion_matrix()
    if board.enabled and counts is not None:
        figure = draw_confusion(counts, names, title=f"validation, epoch {epoch}")
        board.figure("confusion", figure, step)


def save_confusion(path: Path, objective: Any, names: Sequence[str]) -> None:
    """Leave the classes of the last scoring against the true ones as a picture, if there are."""
    counts = objective.confusion_matrix()
    if counts is not None:
        save_figure(draw_confusion(counts, names, title="which class for which"), path)
