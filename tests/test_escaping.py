"""Hostile text stays plain text in each kind of output."""

from __future__ import annotations

import csv
import html
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.figure import Figure

from darts import escaping

HOSTILE = (
    "$\\frac$", "\x1b[2J\x1b]0;title\x07", "<script>alert(1)</script>", "a|b", "=cmd()", "\udcff",
    "\u202etxt.exe", "\x9b31m", "line\nline\r", "```\n", "[a](http://b)",
    "\x00", "\ufffe", "x" * 200,
    "WWW.x.org",
)  # fmt: skip
# Text of all characters, including lone surrogates, with many special ones.
TEXT = st.text(st.one_of(st.characters(), st.sampled_from("$\\`|<>&\"'=+-@\t\r\n\x1b\x9b\ud800")))
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def examples(function: object) -> object:
    """Add the hostile texts to a property test."""
    for text in HOSTILE:
        function = example(text)(function)  # type: ignore[arg-type]
    return function


@examples
@given(TEXT)
def test_a_terminal_gets_one_line_without_control_characters(text: str) -> None:
    line = escaping.for_terminal(text)
    assert not CONTROL.search(line)
    assert len(line.splitlines()) <= 1
    assert escaping.for_terminal(line) == line
    assert escaping.for_terminal(text, encoding="ascii").isascii()


@examples
@given(TEXT)
def test_markup_shows_the_text_and_nothing_else(text: str) -> None:
    for keep_lines in (False, True):
        markup = escaping.for_html(text, keep_lines=keep_lines)
        tree = ElementTree.fromstring(f'<p title="{markup}">{markup}</p>')
        assert len(tree) == 0
        assert tree.text == (html.unescape(markup) or None)
    assert html.unescape(escaping.for_html(text)) == escaping.for_terminal(text)


@examples
@given(TEXT)
def test_markdown_has_one_line_without_markup(text: str) -> None:
    line = escaping.for_markdown(text)
    assert not CONTROL.search(line)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>|#~$&]", line)
    assert not re.search(r"(?<!\\)://|www\.", line, re.IGNORECASE)
    code = escaping.for_markdown_code(text)
    assert "|" not in code
    assert "\n" not in code
    fence = re.match("`+", code)
    assert code.count(fence[0]) == 2
    assert code.endswith(fence[0])


@example(list(HOSTILE))
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_cells_of_a_table_are_not_formulas(cells: list[str]) -> None:
    escaped = [escaping.for_csv(cell) for cell in cells]
    file = io.StringIO(newline="")
    csv.writer(file).writerow([*escaped, "end"])
    file.getvalue().encode("utf-8")
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row == [*escaped, "end"]
    for cell in row:
        assert not cell.startswith(("=", "@", "\t", "\r"))
        if cell.startswith(("+", "-")):
            float(cell)


def test_numbers_stay_numbers_in_a_table() -> None:
    values = [-1, 0.5, None, True, "-0.25", "+1e5", "text", "a=b"]
    assert [escaping.for_csv(value) for value in values] == values
    assert escaping.for_csv("=1+1") == "'=1+1"
    assert escaping.for_csv("-1+cmd") == "'-1+cmd"
    assert escaping.for_csv("@x") == "'@x"


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(deadline=None, max_examples=40)
@examples
@given(TEXT.filter(str.strip))
def test_a_figure_shows_the_text_without_formulas(text: str) -> None:
    figure, file = Figure(), io.StringIO()
    figure.text(0.5, 0.5, escaping.for_figure(text))
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg")
    tree = ElementTree.fromstring(file.getvalue())
    (element,) = tree.iter("{http://www.w3.org/2000/svg}text")
    shown = "".join(element.itertext())
    assert "".join(shown.split()) == "".join(escaping.for_terminal(text).split())
