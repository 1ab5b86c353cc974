"""The sections of a page about the architecture of a run and the importance of its edges."""

from __future__ import annotations

import re
from collections import Counter

from darts.judging.edge_importance import ImportanceFile
from darts.plotting.genotype import draw_edge_importances, draw_genotype
from darts.plotting.style import render_figure
from darts.reporting.labels import label
from darts.reporting.markup import (
    TableCell,
    code_block,
    collapsible,
    element,
    paragraph,
    table,
    table_cell,
)
from darts.reporting.record import RunRecord
from darts.spaces import AnyGenotype
from darts.tracking import format_genotype
from darts.tracking.formats import is_fraction


def render_architecture(record: RunRecord, anchor: str) -> str:
    """Return the genotype as figure and text. ``anchor`` starts all ids of the figure."""
    if record.genotype is None:
        return ""
    drawing = inline_svg(render_figure(draw_genotype(record.genotype), "svg"), f"{anchor}-")
    text = paragraph(format_genotype(record.genotype), "quiet")
    return drawing + text + collapsible("Genotype", code_block(str(record.genotype)))


def inline_svg(svg: bytes, prefix: str) -> str:
    """Return a figure of ``render_figure`` as an element of a page.

    The SVG is not escaped, so it must not come from elsewhere. ``prefix`` makes its ids unique in
    the page.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}", text)
    # The removed style had these two properties for all elements, which now inherit them.
    text = text.replace("<svg", '<svg stroke-linejoin="round" stroke-linecap="butt"', 1)
    return element("div", text, class_="paper", tabindex="0")


def state_numbers_note(genotype: AnyGenotype | None) -> str:
    """Return an explanation of state numbers if the figure names the states differently."""
    if getattr(genotype, "inputs", None) != 2:
        return ""
    return (
        "Edges connect states. States 0 and 1 are the inputs of the cell, c(k-2) and c(k-1) in the "
        "figure. State 2 is node 0."
    )


def render_edge_importance(record: RunRecord, anchor: str) -> str:
    """Return how much the score drops without each edge, as figure and tables.

    ``anchor`` starts all ids of the figure.
    """
    importance = record.importance
    if not importance or record.genotype is None:
        return ""
    metric, edges = f"valid_{importance['metric']}", importance["edges"]
    percent = is_fraction(metric)
    drawing = render_figure(draw_edge_importances(record.genotype, edges, percent=percent), "svg")

    def drop_cell(drop: float) -> TableCell:
        # Adding 0.0 turns -0.00 into +0.00.
        text = f"{round(100 * drop, 2) + 0.0:+.2f}" if percent else f"{drop:+.4g}"
        return TableCell(text, drop)

    drops = [
        (edge["score_drop"], f"{name} {edge['source']}→{edge['target']}", edge["operation"])
        for name, cell_edges in edges.items()
        for edge in cell_edges
        if edge["score_drop"] is not None
    ]
    drops.sort(key=lambda row: -row[0])
    counts = Counter(operation for _, _, operation in drops)
    operations = sorted(importance["operations"].items(), key=lambda pair: -pair[1])
    drop_head = f"drop{', points' if percent else ''}"
    by_edge = [(edge, operation, drop_cell(drop)) for drop, edge, operation in drops]
    by_operation = [(n, table_cell("edges", counts[n]), drop_cell(drop)) for n, drop in operations]
    tables = table(("edge", "operation", drop_head), by_edge)
    tables += table(("all edges with", "edges", drop_head), by_operation)
    note = (
        f"{state_numbers_note(record.genotype)} Importances describe this network, not which "
        "architecture would be better. If two edges can replace each other, both may have a low "
        "importance."
    )
    return (
        paragraph(_explain_drops(importance, metric, percent))
        + inline_svg(drawing, f"{anchor}-drop-")
        + element("div", tables, class_="row")
        + paragraph(note.lstrip(), "quiet")
    )


def _explain_drops(importance: ImportanceFile, metric: str, percent: bool) -> str:
    """Return an explanation of the numbers and of their resolution."""
    text = (
        f"How much worse the {label(metric)} is if the operation of an edge outputs zeros and "
        "everything else stays as trained. Wider and darker edges are more important."
    )
    drops = [edge["score_drop"] for edges in importance["edges"].values() for edge in edges]
    if None in drops:
        text += " Operations that no other path bypasses cannot be removed and are left out."
    samples = importance.get("samples")
    if not samples:
        return text
    text += f" Scored on {samples:,} samples"
    if importance["metric"] == "accuracy" and percent:
        text += (
            f"; one sample is {100 / samples:.2g} percentage points, so small drops may be chance"
        )
    return text + "."
