"""HTML elements. Every text from outside is escaped, see ``escape``."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darts.reporting.style import SCRIPT, STYLE
from darts.tracking import format_value


@dataclass(frozen=True)
class Cell:
    """Cell of a table: its text, and the number to sort by, if it is a number."""

    text: str
    value: float | None = None


Row = Sequence["Cell | str"]


def cell(name: str, value: object) -> Cell:
    """Return the cell of a value of the quantity ``name``; an empty cell for None."""
    if value is None:
        return Cell("")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return Cell(format_value(name, value), number)


def escape(text: object) -> str:
    """Return text that is safe anywhere in a page, including attributes."""
    return html.escape(str(text), quote=True)


def element(tag: str, content: str, **attributes: str) -> str:
    """Return an element around markup. Attributes are escaped; ``class_`` is ``class``, _ is -."""
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return f"<{tag}{text}>{content}</{tag}>"


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of text."""
    return element("p", escape(text), **({"class_": css_class} if css_class else {}))


def code_block(text: str) -> str:
    """Return preformatted text, for copying."""
    return element("pre", element("code", escape(text)))


def table(head: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table that is sorted by a click on the head of a column."""
    lines = [list(row) for row in rows]
    heads = "".join(
        element("th", element("button", escape(name), type="button"), scope="col", class_=css_class)
        for name, css_class in zip(head, _column_classes(len(head), lines), strict=True)
    )
    body = "".join(element("tr", "".join(map(_table_cell, line))) for line in lines)
    content = element("thead", element("tr", heads)) + element("tbody", body)
    return element("div", element("table", content, class_="sortable"), class_="wide", tabindex="0")


def definition_table(rows: Iterable[tuple[str, Cell | str]]) -> str:
    """Return a table of names and values in the given order; empty without rows."""
    lines = [
        element("tr", element("th", escape(name), scope="row") + _table_cell(value, aligned=False))
        for name, value in rows
    ]
    body = element("table", element("tbody", "".join(lines)), class_="pairs")
    return element("div", body, class_="wide", tabindex="0") if lines else ""


def _column_classes(columns: int, lines: Sequence[Row]) -> list[str]:
    """Return "number" for columns of numbers and empty cells, "text" for others."""
    classes = []
    for column in range(columns):
        cells = [line[column] for line in lines]
        filled = [c for c in cells if (c if isinstance(c, str) else c.text)]
        numbers = all(isinstance(c, Cell) and c.value is not None for c in filled)
        classes.append("number" if filled and numbers else "text")
    return classes


def _table_cell(content: Cell | str, *, aligned: bool = True) -> str:
    if isinstance(content, str):
        return element("td", escape(content))
    if content.value is None or not aligned:
        return element("td", escape(content.text))
    return element("td", escape(content.text), class_="number", data_v=f"{content.value:.9g}")


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Return prominent values with their names."""
    items = (element("dt", escape(name)) + element("dd", escape(text)) for name, text in pairs)
    return element("dl", "".join(element("div", item) for item in items), class_="tiles")


def collapsible(title: str, content: str) -> str:
    """Return markup that a click on its title shows; empty without content."""
    return element("details", element("summary", escape(title)) + content) if content else ""


def section(title: str, content: str, **attributes: str) -> str:
    """Return a section with a heading; empty without content."""
    head = element("h3", escape(title))
    return element("section", head + content, **attributes) if content else ""


def image(content: bytes, description: str, *, subtype: str = "svg+xml") -> str:
    """Return an embedded image. An SVG in an image can neither run scripts nor load anything."""
    data = base64.b64encode(content).decode("ascii")
    tag = f'<img alt="{escape(description)}" src="data:image/{subtype};base64,{data}">'
    return element("div", tag, class_="paper", tabindex="0")


def document(title: str, body: str) -> str:
    """Return a page whose policy forbids network access and all scripts but that of the tables."""
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
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
