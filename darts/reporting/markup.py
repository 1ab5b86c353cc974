"""HTML elements.

Arguments named ``content`` and ``body`` are markup, which these functions insert as it is. They
escape everything else: titles, names, texts, and the cells of tables.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darts.escaping import for_html
from darts.reporting.style import SCRIPT, STYLE
from darts.tracking import format_value


@dataclass(frozen=True)
class TableCell:
    """Cell of a table."""

    text: str
    value: float | None = None  # the number to sort by; None if the text is not a number


Row = Sequence["TableCell | str"]


def table_cell(name: str, value: object) -> TableCell:
    """Return the table cell of a value of the quantity ``name``; an empty one for None."""
    if value is None:
        return TableCell("")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return TableCell(format_value(name, value), number)


def element(tag: str, content: str, **attributes: str) -> str:
    """Return an element around markup.

    Values of attributes are escaped. In their names, an underscore at the end is dropped
    (``class_``) and the others become hyphens (``aria_label``).
    """
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{for_html(value)}"'
        for key, value in attributes.items()
    )
    return f"<{tag}{text}>{content}</{tag}>"


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of text."""
    return element("p", for_html(text), **({"class_": css_class} if css_class else {}))


def code_block(text: str, *, keep_lines: bool = False) -> str:
    """Return preformatted text, for copying: one line, or several with ``keep_lines``."""
    return element("pre", element("code", for_html(text, keep_lines=keep_lines)))


def table(head: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table. A click on the head of a column sorts it, see ``SCRIPT``."""
    lines = [list(row) for row in rows]
    heads = "".join(
        element(
            "th", element("button", for_html(name), type="button"), scope="col", class_=css_class
        )
        for name, css_class in zip(head, _column_classes(len(head), lines), strict=True)
    )
    body = "".join(element("tr", "".join(map(_render_cell, line))) for line in lines)
    content = element("thead", element("tr", heads)) + element("tbody", body)
    return element("div", element("table", content, class_="sortable"), class_="wide", tabindex="0")


def definition_table(rows: Iterable[tuple[str, TableCell | str]]) -> str:
    """Return a table of names and values in the given order; an empty string without rows."""
    lines = [
        element(
            "tr", element("th", for_html(name), scope="row") + _render_cell(value, aligned=False)
        )
        for name, value in rows
    ]
    body = element("table", element("tbody", "".join(lines)), class_="pairs")
    return element("div", body, class_="wide", tabindex="0") if lines else ""


def _column_classes(columns: int, lines: Sequence[Row]) -> list[str]:
    """Return the CSS class of each column: "number" if all filled cells are numbers, or "text"."""
    classes = []
    for column in range(columns):
        cells = [line[column] for line in lines]
        filled = [c for c in cells if (c if isinstance(c, str) else c.text)]
        numbers = all(isinstance(c, TableCell) and c.value is not None for c in filled)
        classes.append("number" if filled and numbers else "text")
    return classes


def _render_cell(cell: TableCell | str, *, aligned: bool = True) -> str:
    if isinstance(cell, str):
        return element("td", for_html(cell))
    if cell.value is None or not aligned:
        return element("td", for_html(cell.text))
    return element("td", for_html(cell.text), class_="number", data_v=f"{cell.value:.9g}")


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Return prominent boxes, each with a name and a value."""
    items = (element("dt", for_html(name)) + element("dd", for_html(text)) for name, text in pairs)
    return element("dl", "".join(element("div", item) for item in items), class_="tiles")


def collapsible(title: str, content: str) -> str:
    """Return content that a click on its title shows; an empty string without content."""
    return element("details", element("summary", for_html(title)) + content) if content else ""


def section(title: str, content: str, **attributes: str) -> str:
    """Return a section with a heading; an empty string without content."""
    head = element("h3", for_html(title))
    return element("section", head + content, **attributes) if content else ""


def image(file: bytes, description: str, *, subtype: str = "svg+xml") -> str:
    """Return an embedded image from the bytes of its file.

    An SVG in an ``img`` element can neither run scripts nor load anything.
    """
    data = base64.b64encode(file).decode("ascii")
    tag = f'<img alt="{for_html(description)}" src="data:image/{subtype};base64,{data}">'
    return element("div", tag, class_="paper", tabindex="0")


def document(title: str, body: str) -> str:
    """Return a page.

    Its content security policy forbids network access and all scripts except the one that sorts
    tables.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{for_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
