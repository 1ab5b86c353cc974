"""Hook of MkDocs: links from the pages to files outside of docs lead to the repository."""

from __future__ import annotations

import re

REPOSITORY = "https://github.com/darts-nas/darts-nas/blob/main"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the page with links such as ``../README.md`` as addresses."""
    return re.sub(r"\]\(\.\./([^)\s]+)\)", rf"]({REPOSITORY}/\1)", markdown)
