"""Escape text that may be untrusted: one function for each kind of output.

Names of classes, columns, runs and files, saved command lines and error messages may come from
anyone. Wherever such text is written, exactly one of these functions turns it into plain text of
that output: the text cannot control a terminal, run a script or a formula, or break the file that
holds it. Control characters, lone surrogates (bytes of a file name that are not UTF-8) and
characters that reverse the order of the text become visible escapes such as ``\\x1b``.
"""

from __future__ import annotations

import html
import re

# C0 and C1 controls, DEL, marks and overrides of the text direction, separators of lines and
# paragraphs, annotations, surrogates, and two characters that XML does not allow.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff]"
)
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|#~$&]")
# The character of a web address without which Markdown does not make it a link.
_MARKDOWN_LINK = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
# A spreadsheet reads a cell that begins with one of these characters as a formula; the last four
# are full-width forms.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def for_terminal(text: object, *, encoding: str = "utf-8") -> str:
    """Return text as one line for a terminal, a log file or a message.

    Characters that the encoding of the output lacks become escapes as well.
    """
    return _visible(text).encode(encoding, errors="backslashreplace").decode(encoding)


def for_figure(text: object) -> str:
    """Return text as one line for matplotlib, which reads text between dollar signs as a formula.

    The result is also legal in an SVG file.
    """
    return _visible(text).replace("$", r"\$")


def for_html(text: object, *, keep_lines: bool = False) -> str:
    """Return text as HTML or XML markup, safe in elements and in quoted attributes.

    With ``keep_lines``, line feeds and tabs stay, for preformatted text.
    """
    return html.escape(_visible(text, keep="\n\t" if keep_lines else ""), quote=True)


def for_markdown(text: object) -> str:
    """Return text as one line of Markdown without markup, links or HTML; also for table cells."""
    line = _visible(" ".join(str(text).split()))
    return _MARKDOWN_LINK.sub(r"\\\g<0>", _MARKDOWN.sub(r"\\\g<0>", line))


def for_markdown_code(text: object) -> str:
    """Return text as one line of Markdown code, also for table cells; ``|`` becomes ``¦``."""
    line = _visible(" ".join(str(text).split())).replace("|", "¦")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if "`" in line or not line else ""
    return f"{fence}{space}{line}{space}{fence}"


def for_csv(value: object) -> object:
    """Return a cell for ``csv.writer``, which quotes it.

    Text that a spreadsheet would run as a formula gets a leading apostrophe. Numbers stay as they
    are.
    """
    if not isinstance(value, str):
        return value
    text = _visible(value, keep="\n\t")
    return f"'{text}" if value.startswith(_FORMULA) and not _is_number(value) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _visible(text: object, *, keep: str = "") -> str:
    """Return text in which unsafe characters, except those in ``keep``, are visible escapes."""

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else match[0].encode("unicode_escape").decode("ascii")

    return _UNSAFE.sub(escape, str(text))
