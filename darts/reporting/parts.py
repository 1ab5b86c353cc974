"""Parts of a page, each of which may fail without the others."""

from __future__ import annotations

from collections.abc import Callable

from darts.reporting.markup import paragraph
from darts.tracking.optional import optional


def part(name: str, render: Callable[[], str]) -> str:
    """Return the markup of a part; if it cannot be made, warn and return a note with the reason."""
    with optional(f"the part {name!r} of the page") as failures:
        return render()
    return paragraph(f"This part is left out: {failures[0]}.", "warn")
