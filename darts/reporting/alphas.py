"""The mixing weights of a search over time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from darts.plotting.alpha_animation import animate_alphas
from darts.reporting.architecture import states
from darts.reporting.charts import Line, chart, charts, legend
from darts.reporting.markup import element, escape, paragraph, image
from darts.reporting.run_record import RunRecord
from darts.spaces import space_of

Kept = Mapping[str, Collection[tuple[int, int]]]
"""By kind of cell the rows and columns of what a genotype keeps."""

_FRAMES = 30  # of a film, which makes it about 300 kB of the page


def alphas(record: RunRecord) -> str:
    """The mixing weights over time, a panel an edge, and how undecided they are."""
    parts = []
    entropies, kept = [], _kept(record)
    for number, (name, told) in enumerate(record.alphas.items()):
        epochs, chosen_here = told["epochs"], kept.get(name, set())
        top = max((p for matrix in epochs for row in matrix for p in row), default=1.0)
        panels = []
        for edge, (edge_name, operations) in enumerate(
            zip(told["edges"], told["operations"], strict=True)
        ):
            lines = [
                Line(
                    operation,
                    [(t, matrix[edge][o]) for t, matrix in enumerate(epochs, start=1)],
                    None if operation == "none" else o,
                    strong=(edge, o) in chosen_here,
                )
                for o, operation in enumerate(operations)
            ]
            chosen = ", ".join(line.label for line in lines if line.strong)
            text = escape(f"{edge_name} {chosen}")
            caption = element("span", text, class_="kept") if chosen else text
            panels.append(chart(lines, f"{name} {edge_name}", small=True, top=top, caption=caption))
        operations = told["operations"][0]
        if all(other == operations for other in told["operations"]):
            lines = [Line(o, [], None if o == "none" else i) for i, o in enumerate(operations)]
            panels_legend = legend(lines)
        else:
            panels_legend = ""
        parts.append(element("h4", escape(name)) + panels_legend + charts(panels, small=True))
        entropies.append(Line(name, list(enumerate(map(_entropy, epochs), start=1)), number))
    if not parts:
        return ""
    note = (
        "Mixing weights at the end of each epoch. Thick and outlined: what the genotype keeps. "
        f"{states(record.genotype)}"
    )
    panel = chart(entropies, "how undecided: mean entropy of the edges, nats")
    overview = element("div", filmed(record, kept) + charts([panel]), class_="beside")
    return paragraph(note, "quiet") + overview + "".join(parts)


def filmed(record: RunRecord, kept: Kept) -> str:
    """The same as a film, shown or put away by who reads it."""
    moving = image(
        animate_alphas(record.alphas, kept=kept, frames=_FRAMES),
        "mixing weights, a frame an epoch",
        kind="gif",
    )
    return element("details", element("summary", "As a film") + moving, open="")


def _kept(record: RunRecord) -> Kept:
    """What the genotype keeps, as far as it can be told."""
    if record.genotype is None or not record.alphas:
        return {}
    candidates = {
        name: tuple(tuple(row) for row in told["operations"])
        for name, told in record.alphas.items()
    }
    try:
        mask = space_of(record.genotype).mask(record.genotype, candidates)
    except ValueError:  # the files are of two moments of a search that changes its candidates
        return {}
    return {name: {(r, c) for r, c in own.nonzero().tolist()} for name, own in mask.items()}


def _entropy(matrix: list[list[float]]) -> float:
    """Mean entropy of edges in nats."""
    terms = [-p * math.log(p) for row in matrix for p in row if p and p > 0]
    return math.fsum(terms) / len(matrix)
