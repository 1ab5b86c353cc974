"""Templates of pages and model cards, and the functions that the templates of a page call."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from darts.escaping import for_html
from darts.plotting.style import render_figure
from darts.tracking import format_value
from darts.tracking.optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def template_environment(escape: Callable[[object], str]) -> Environment:
    """Return the environment of the templates in which ``escape`` escapes every value.

    ``Markup``, for example the result of a macro, stays as it is.
    """

    def finalize(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(value))

    return Environment(
        loader=PackageLoader("darts.reporting"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Cell(NamedTuple):
    """Cell of a table."""

    text: str
    number: float | None = None  # the number to sort by; None if the text is not a number


def table_cell(name: str, value: object) -> Cell:
    """Return the table cell of a value of the quantity ``name``; an empty one for None."""
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return Cell(format_value(name, value), number)


def table_cells(rows: Iterable[Mapping[str, object]], names: Iterable[str]) -> list[list[Cell]]:
    """Return the cells of a table whose columns have these names."""
    return [[table_cell(name, row.get(name)) for name in names] for row in rows]


def part(name: str, caller: Callable[[], Markup]) -> Markup:
    """Return a part of a page; if it cannot be made, warn and return a note with the reason.

    Args:
        name: Name of the part.
        caller: Makes the part; Jinja calls the body of a ``call`` block so.
    """
    with optional(f"the part {name!r} of the page") as failures, warnings.catch_warnings():
        # Of a figure that is too small for its labels, for example.
        warnings.simplefilter("ignore")
        return caller()
    return Markup(f'<p class="warn">This part is left out: {for_html(failures[0])}.</p>')


def embedded_svg(file: bytes) -> Markup:
    """Return the address of an image, for an ``img`` element.

    There, an SVG can neither run scripts nor load anything.
    """
    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(file).decode('ascii')}")


def inline_svg(figure: Figure, prefix: str) -> Markup:
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
