"""Lines of the packages of darts, of tests and of experiments.

    python experiments/code_size.py
    python experiments/code_size.py --table

A line of code has a token that is not part of a comment or docstring. Docstrings are all strings
that are statements of their own, also those below attributes; blank lines inside them count. A
comment line has nothing else. With ``--table``, the table is also written to README.md.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from records import HERE, parser_of, put_table, table

ROOT = HERE.parent
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


class Lines(NamedTuple):
    """Numbers of files and lines."""

    files: int
    lines: int
    code: int
    docstrings: int
    comments: int


def count_lines(source: str) -> Lines:
    """Count the lines of one Python file."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                docstrings.update(range(first, last + 1))
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    number = len(source.splitlines())
    return Lines(1, number, len(code - docstrings), len(docstrings), len(comments - code))


def total(counts: Iterable[Lines]) -> Lines:
    return Lines(*map(sum, zip(*counts, strict=True)))


def count_folder(folder: Path) -> dict[str, Lines]:
    """Count the lines of each package in a folder; its own modules are one group."""
    groups: dict[str, list[Lines]] = {}
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder).parts
        name = folder.name if len(inside) == 1 else f"{folder.name}/{inside[0]}"
        groups.setdefault(name, []).append(count_lines(path.read_text(encoding="utf-8")))
    return {name: total(counts) for name, counts in groups.items()}


def main() -> None:
    """Print the table, and write it to README.md with ``--table``."""
    parser = parser_of(__doc__)
    parser.add_argument("--table", action="store_true", help="write the table to README.md")
    args = parser.parse_args()
    packages = count_folder(ROOT / "darts")
    packages["modules of `darts`"] = packages.pop("darts")
    rows = sorted(packages.items(), key=lambda item: -item[1].code)
    rows += [
        (f"all of `{name}`", total(count_folder(ROOT / name).values()))
        for name in ("darts", "tests", "experiments")
    ]
    columns = ("package", *Lines._fields)
    cells = [(name, *(f"{number:,}" for number in counts)) for name, counts in rows]
    text = table(columns, cells)
    if args.table:
        put_table("code_size", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
