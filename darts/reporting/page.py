"""The HTML page about one or more runs, and model cards. Their text is in the folder ``templates``.

References:
    Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import darts
from darts.config.fields import flatten
from darts.escaping import for_html, for_markdown, for_markdown_code
from darts.plotting.figures import draw_curves
from darts.plotting.genotype import draw_genotype
from darts.plotting.style import render_figure
from darts.reading import JsonObject
from darts.reporting import comparison, figures, tables, verdict
from darts.reporting.record import RunRecord, group_evaluations, short_run_names
from darts.tracking import format_genotype, format_value
from darts.tracking.ledger import common_source, sum_phases
from darts.tracking.optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Article(NamedTuple):
    """A run on a page, with the evaluations of its network."""

    anchor: str
    name: str
    run: RunRecord
    evaluations: dict[str, RunRecord]  # by their names on the page


def render_page(records: Sequence[RunRecord]) -> str:
    """Return an HTML page about one or more runs, which loads nothing from elsewhere."""
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
    templates = page_environment()
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


def template_environment(escape: Callable[[object], str]) -> Environment:
    """Return the environment of the templates in which ``escape`` escapes every value.

    ``Markup``, for example the result of a macro, stays as it is.
    """

    def finalize(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(value))

    templates = Environment(
        loader=PackageLoader("darts.reporting"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {"format_genotype": format_genotype, "format_value": format_value}
    templates.globals |= {**own, "sum_phases": sum_phases}
    return templates


def page_environment() -> Environment:
    """Return the environment of the templates of one page."""
    templates = template_environment(for_html)
    numbers = itertools.count(1)

    def figure(drawing: Figure) -> Markup:
        return _inline_svg(drawing, f"figure-{next(numbers)}-")

    templates.globals |= {
        "common_source": common_source,
        "comparison": comparison,
        "draw_curves": draw_curves,
        "draw_genotype": draw_genotype,
        "embedded_svg": _embedded_svg,
        "figure": figure,
        "figures": figures,
        "lines": lambda text: Markup(for_html(text, keep_lines=True)),
        "part": _part,
        "tables": tables,
        "verdict": verdict,
    }
    return templates


def _part(name: str, caller: Callable[[], Markup]) -> Markup:
    """Return a part of a page; if it cannot be made, warn and return a note with the reason.

    Jinja calls the body of a ``call`` block as ``caller``.
    """
    with optional(f"the part {name!r} of the page") as failures, warnings.catch_warnings():
        # Of a figure that is too small for its labels, for example.
        warnings.simplefilter("ignore")
        return caller()
    return Markup(f'<p class="warn">This part is left out: {for_html(failures[0])}.</p>')


def _embedded_svg(file: bytes) -> Markup:
    """Return the address of an image, for an ``img`` element.

    There, an SVG can neither run scripts nor load anything.
    """
    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(file).decode('ascii')}")


def _inline_svg(figure: Figure, prefix: str) -> Markup:
    """Return a figure as an SVG element, whose ids start with ``prefix``.

    Figures have equal ids, but the ids of a page must differ.
    """
    text = render_figure(figure, "svg").decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}", text)
    # The removed style had these two properties for all elements, which now inherit them.
    return Markup(text.replace("<svg", '<svg stroke-linejoin="round" stroke-linecap="butt"', 1))


# Beginnings of the keys of the configuration that a card shows.
_SETTINGS = (
    *("epochs", "precision", "optimizer.", "loader.batch_size", "auxiliary", "drop_path", "cutout"),
    *("label_smoothing", "average_power", "averaging_patience", "space.channels", "space.cells"),
)


def render_model_card(record: RunRecord, *, exports: bool = True, weights: str = "") -> str:
    """Return a model card in Markdown for a finished retraining.

    ``exports`` says whether ``darts export`` supports networks of this task, and ``weights`` where
    the weights come from with which the training began, see ``Space.weights_source``.
    """
    config = dict(flatten(record.config))
    templates = template_environment(for_markdown)
    templates.globals["code"] = lambda text: Markup(for_markdown_code(text))
    text = templates.get_template("model_card.md").render(
        run=record,
        exports=exports,
        weights=weights,
        setting=lambda key: config.get(f"{key}.name"),
        settings=[
            (key, value)
            for key, value in config.items()
            if key.startswith(_SETTINGS) and value is not None
        ],
        scores=_score_rows(record.summary),
        validated=any(name.startswith("valid_") for name in record.summary),
        tested=any(name.startswith("test_") for name in record.summary),
    )
    # What is left out leaves empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _score_rows(summary: JsonObject) -> list[tuple[str, ...]]:
    """Return for each metric its label, validation score and test score."""
    scores = {
        name: format_value(name, value)
        for name, value in summary.items()
        if name.startswith(("valid_", "test_"))
    }
    return [
        (tables.label(metric), scores.get(f"valid_{metric}", ""), scores.get(f"test_{metric}", ""))
        for metric in dict.fromkeys(name.partition("_")[2] for name in scores)
    ]
