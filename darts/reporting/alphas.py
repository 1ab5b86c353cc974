"""The section of a page about the alphas of a search: probabilities and entropy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Collection

from darts.escaping import for_html
from darts.plotting.alpha_animation import ChosenOperations, animate_alphas
from darts.reporting.architecture import state_numbers_note
from darts.reporting.charts import Line, chart, charts, legend
from darts.reporting.markup import element, image, paragraph
from darts.reporting.parts import part
from darts.reporting.record import RunRecord
from darts.searching.alphas import GroupHistory
from darts.spaces import space_of

_MAX_FRAMES = 30  # limits the animation to about 300 kB of the page


def render_alphas(record: RunRecord) -> str:
    """Return the content of the section: entropy, animation, and a panel of lines per edge."""
    if not record.alphas:
        return ""
    chosen = _chosen_operations(record)
    panels, entropies = [], []
    for number, (group, history) in enumerate(record.alphas.items()):
        panels.append(_render_group(group, history, chosen.get(group, set())))
        points = list(enumerate(map(_entropy, history["epochs"]), start=1))
        entropies.append(Line(group, points, number))
    note = (
        "Probabilities at the end of each epoch. The operations of the genotype are thick or "
        f"outlined. {state_numbers_note(record.genotype)}"
    )
    entropy = chart(entropies, "mean entropy of the edges in nats (0: decided)")

    def render_animation() -> str:
        gif = animate_alphas(record.alphas, chosen=chosen, max_frames=_MAX_FRAMES)
        return image(gif, "probabilities, one frame per epoch", subtype="gif")

    animation = part("animation", render_animation)
    details = element("details", element("summary", "Animation") + animation, open="")
    overview = element("div", details + charts([entropy]), class_="row")
    return paragraph(note, "quiet") + overview + "".join(panels)


def _render_group(group: str, history: GroupHistory, chosen: Collection[tuple[int, int]]) -> str:
    """Return a panel per edge, with one legend if all edges have the same candidates.

    ``chosen`` contains ``(edge, candidate)`` of each operation that the genotype keeps.
    """
    epochs = history["epochs"]
    largest = max((p for matrix in epochs for row in matrix for p in row), default=1.0)
    panels = []
    for edge, edge_name in enumerate(history["edges"]):
        lines = []
        for number, operation in enumerate(history["operations"][edge]):
            points = [(t, matrix[edge][number]) for t, matrix in enumerate(epochs, start=1)]
            color = None if operation == "none" else number
            lines.append(Line(operation, points, color, thick=(edge, number) in chosen))
        names = ", ".join(line.label for line in lines if line.thick)
        text = for_html(f"{edge_name} {names}")
        caption = element("span", text, class_="chosen") if names else text
        title = f"{group} {edge_name}"
        panels.append(chart(lines, title, small=True, top=largest, caption=caption))
    first, *others = history["operations"]
    common_legend = legend(lines) if all(operations == first for operations in others) else ""
    return element("h4", for_html(group)) + common_legend + charts(panels, small=True)


def _chosen_operations(record: RunRecord) -> ChosenOperations:
    """Return the operations that the genotype keeps, or none if it does not match the alphas."""
    if record.genotype is None or not record.alphas:
        return {}
    candidates = {
        group: tuple(tuple(row) for row in history["operations"])
        for group, history in record.alphas.items()
    }
    try:
        masks = space_of(record.genotype).mask(record.genotype, candidates)
    except (ValueError, LookupError):  # the files come from different epochs or searches
        return {}
    return {group: {(r, c) for r, c in mask.nonzero().tolist()} for group, mask in masks.items()}


def _entropy(matrix: list[list[float]]) -> float:
    """Return the mean entropy of the edges, in nats, from probabilities ``(edges, operations)``."""
    terms = [-p * math.log(p) for row in matrix for p in row if p > 0]
    return math.fsum(terms) / len(matrix)
