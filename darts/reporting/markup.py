"""HTML from plain values: everything that comes from outside goes through ``escaped``."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from darts.reporting.style import SCRIPT, STYLE
from darts.tracking import format_value


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, and the number to sort by, if it is one."""

    text: str
    value: float | None = None


def cell(name: str, value: Any) -> Cell:
    """The value of the quantity ``name``; nothing for one that is not known."""
    if value is None:
        return Cell("")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return Cell(format_value(name, value), number)


def escape(text: Any) -> str:
    """Text as it may stand anywhere in a page, attributes included."""
    return html.escape(str(text), quote=True)


def element(tag: str, content: str, **attributes: str) -> str:
    """An element around markup; attributes are escaped, ``class_`` is ``class``, _ is -."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return f"<{tag}{given}>{content}</{tag}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return element("p", escape(text), **({"class_": kind} if kind else {}))


def code_block(text: str) -> str:
    """Text to be copied, as it is."""
    return element("pre", element("code", escape(text)))


def table(head: Sequence[str], rows: Iterable[Sequence[Cell | str]]) -> str:
    """A table that a click on a column's head sorts."""
    lines = [list(row) for row in rows]
    heads = "".join(
        element("th", element("button", escape(name), type="button"), scope="col", class_=kind)
        for name, kind in zip(head, _kinds(len(head), lines), strict=True)
    )
    body = "".join(element("tr", "".join(map(_cell, line))) for line in lines)
    whole = element("thead", element("tr", heads)) + element("tbody", body)
    return element("div", element("table", whole, class_="sortable"), class_="wide", tabindex="0")


def definition_table(rows: Iterable[tuple[str, Cell | str]]) -> str:
    """Names with what each of them is, as they come."""
    lines = [
        element("tr", element("th", escape(name), scope="row") + _cell(given, aligned=False))
        for name, given in rows
    ]
    body = element("table", element("tbody", "".join(lines)), class_="pairs")
    return element("div", body, class_="wide", tabindex="0") if lines else ""


def _kinds(columns: int, lines: Sequence[Sequence[Cell | str]]) -> list[str]:
    """Of each column, whether it holds numbers; what is not known may be missing."""
    kinds = []
    for column in range(columns):
        cells = [line[column] for line in lines]
        known = [c for c in cells if (c if isinstance(c, str) else c.text)]
        numbers = all(isinstance(c, Cell) and c.value is not None for c in known)
        kinds.append("number" if known and numbers else "text")
    return kinds


def _cell(given: Cell | str, *, aligned: bool = True) -> str:
    if isinstance(given, str) or given.value is None or not aligned:
        return element("td", escape(given if isinstance(given, str) else given.text))
    return element("td", escape(given.text), class_="number", data_v=f"{given.value:.9g}")


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Numbers to be seen first, each with its name."""
    return element(
        "dl",
        "".join(
            element("div", element("dt", escape(name)) + element("dd", escape(text)))
            for name, text in pairs
        ),
        class_="tiles",
    )


def collapsible(title: str, content: str) -> str:
    """Markup that is shown when asked for; nothing without content."""
    return element("details", element("summary", escape(title)) + content) if content else ""


def section(title: str, content: str, **attributes: str) -> str:
    """A part of a run's page; nothing without content."""
    head = element("h3", escape(title))
    return element("section", head + content, **attributes) if content else ""


def image(content: bytes, description: str, *, kind: str = "svg+xml") -> str:
    """A drawing from a file. As an image, it can neither run scripts nor load anything."""
    data = base64.b64encode(content).decode("ascii")
    image = f'<img alt="{escape(description)}" src="data:image/{kind};base64,{data}">'
    return element("div", image, class_="paper", tabindex="0")


def document(title: str, body: str) -> str:
    """A whole page. Its own policy forbids the network, and every script but the one for tables."""
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
