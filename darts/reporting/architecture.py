"""The cells of a run's genotype: drawn, written, and by what its network relies on."""

from __future__ import annotations

import re
from typing import Any

from darts.plotting.figures import render
from darts.plotting.genotype import draw_genotype, draw_edge_importances
from darts.reporting.markup import Cell, code_block, element, collapsible, paragraph, table
from darts.reporting.labels import is_percentage, label
from darts.reporting.run_record import RunRecord
from darts.tracking import format_genotype


def architecture(record: RunRecord, anchor: str) -> str:
    """The genotype, drawn and written; ``anchor`` makes the drawing's ids its own."""
    if record.genotype is None:
        return ""
    drawing = inlined(render(draw_genotype(record.genotype), "svg"), f"{anchor}-")
    text = paragraph(format_genotype(record.genotype), "quiet")
    return drawing + text + collapsible("Genotype to copy", code_block(str(record.genotype)))


def inlined(svg: bytes, prefix: str) -> str:
    """A drawing of our own as part of a page, with ids that are no other drawing's."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}", text)
    # What the style said of all elements, they now inherit.
    text = text.replace("<svg", '<svg stroke-linejoin="round" stroke-linecap="butt"', 1)
    return element("div", text, class_="paper", tabindex="0")


def states(genotype: Any) -> str:
    """How the drawing calls the states that edges are named by, where it calls them otherwise."""
    if getattr(genotype, "inputs", None) != 2:
        return ""
    return (
        "Edges go from state to state: 0 and 1 are the cell's inputs, c(k-2) and c(k-1) in the "
        "drawing, and state 2 is its node 0."
    )


def reliance(record: RunRecord, anchor: str) -> str:
    """What an evaluation found the score to lose without each edge, drawn and in numbers."""
    told = record.importance
    if not told or record.genotype is None:
        return ""
    metric, edges = f"valid_{told['metric']}", told["edges"]
    percent = is_percentage(metric)
    drawing = render(draw_edge_importances(record.genotype, edges, percent=percent), "svg")
    head = f"lost{', points' if percent else ''}"

    def lost(value: float) -> Cell:
        # Adding zero makes +0.00 of what rounds to -0.00.
        return Cell(f"{round(100 * value, 2) + 0.0:+.2f}" if percent else f"{value:+.4g}", value)

    rows = [
        (own["score_drop"], (f"{cell} {own['source']}→{own['target']}", own["operation"]))
        for cell, found in edges.items()
        for own in found
        if own["score_drop"] is not None
    ]
    rows.sort(key=lambda row: -row[0])
    carriers = [where[-1] for _, where in rows]
    together = sorted(told["operations"].items(), key=lambda pair: -pair[1])
    tables = table(
        ("edge", "operation", head), [(*where, lost(value)) for value, where in rows]
    ) + table(
        ("all edges with", "edges", head),
        [
            (name, Cell(str(carriers.count(name)), carriers.count(name)), lost(value))
            for name, value in together
        ],
    )
    return (
        paragraph(_reading(told, metric, percent))
        + inlined(drawing, f"{anchor}-lost-")
        + element("div", tables, class_="beside")
        + paragraph(
            f"{states(record.genotype)} This tells what this network relies on, not which "
            "architecture would be better; edges that stand in for each other may each look "
            "unimportant.".lstrip(),
            "quiet",
        )
    )


def _reading(told: dict[str, Any], metric: str, percent: bool) -> str:
    """What the numbers are, and how fine they can be."""
    text = (
        f"How much worse the {label(metric)} gets when an operation puts out zeros and all else "
        "stays as it was trained: the wider and stronger, the more."
    )
    if any(own["score_drop"] is None for found in told["edges"].values() for own in found):
        text += " Left out are operations that nothing goes around."
    samples = told.get("samples")
    if not samples:
        return text
    text += f" Scored on {samples:,} samples"
    if told["metric"] == "accuracy" and percent:
        text += f": one of them is {100 / samples:.2g} points, and a few may be chance"
    return text + "."
