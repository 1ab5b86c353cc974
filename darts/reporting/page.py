"""The HTML page about one or more runs. Its text is in the folder ``templates``."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment
from markupsafe import Markup

import darts
from darts.escaping import for_html
from darts.plotting.figures import draw_curves
from darts.plotting.genotype import draw_edge_importances, draw_genotype
from darts.reporting import comparison, curves, finding, labels, probabilities, rendering, verdict
from darts.reporting.importance import importance_tables
from darts.reporting.record import RunRecord, group_evaluations, short_run_names
from darts.tracking import format_genotype, format_value
from darts.tracking.ledger import common_source, sum_phases

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Article(NamedTuple):
    """A run on a page, with the evaluations of its network."""

    anchor: str
    name: str
    run: RunRecord
    evaluations: dict[str, RunRecord]  # by their names on the page


def render_page(records: Sequence[RunRecord]) -> str:
    """Return an HTML page about one or more runs, which loads nothing from elsewhere.

    Raises:
        ValueError: If there are no runs.
    """
    if not records:
        raise ValueError("there is no run to report")
    names = short_run_names(records)
    articles = [
        _Article(
            f"run-{number}",
            names[index],
            records[index],
            {names[evaluation]: records[evaluation] for evaluation in evaluations},
        )
        for number, (index, evaluations) in enumerate(group_evaluations(records), start=1)
    ]
    templates = _environment()
    script = templates.get_template("sort.js").render()
    return templates.get_template("page.html").render(
        articles=articles,
        runs={article.name: article.run for article in articles},
        count=len(records),
        script=Markup(script),
        # The content security policy of the page allows only the script with this digest.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        version=darts.__version__,
    )


def _environment() -> Environment:
    """Return the environment of the templates of one page."""
    templates = rendering.template_environment(for_html)
    numbers = itertools.count(1)

    def figure(drawing: Figure) -> Markup:
        return rendering.inline_svg(drawing, f"figure-{next(numbers)}-")

    templates.globals |= {
        "common_source": common_source,
        "comparison": comparison,
        "curves": curves,
        "draw_curves": draw_curves,
        "draw_edge_importances": draw_edge_importances,
        "draw_genotype": draw_genotype,
        "embedded_svg": rendering.embedded_svg,
        "figure": figure,
        "finding": finding,
        "format_genotype": format_genotype,
        "format_value": format_value,
        "importance_tables": importance_tables,
        "labels": labels,
        "lines": lambda text: Markup(for_html(text, keep_lines=True)),
        "part": rendering.part,
        "probabilities": probabilities,
        "sum_phases": sum_phases,
        "table_cells": rendering.table_cells,
        "verdict": verdict,
    }
    return templates
