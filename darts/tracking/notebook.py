"""The progress bar in the output of a notebook cell."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 100  # characters
_FORMAT = '<pre style="line-height: 1.2">{code}</pre>'


def is_notebook() -> bool:
    """Return whether standard output is shown by a Jupyter kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


class CellOutput:
    """Draws a bar in the output of the running cell, with the methods of rich's ``Live``.

    ``Live`` itself needs the package ipywidgets in a notebook.
    """

    def __init__(self, draw: Callable[[], RenderableType]) -> None:
        self._draw = draw
        self._handle: Any = None

    def start(self, *, refresh: bool) -> None:
        """Begin a new output; ``refresh`` says whether the bar is drawn at once."""
        from IPython.display import display

        self._handle = display(  # type: ignore[no-untyped-call]
            {"text/plain": ""}, raw=True, display_id=True
        )
        if refresh:
            self.refresh()

    def refresh(self) -> None:
        """Draw the bar in place of the last one."""
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=_WIDTH, force_jupyter=False)
        console.print(self._draw())
        html = console.export_html(inline_styles=True, code_format=_FORMAT, clear=False)
        data = {"text/plain": console.export_text(), "text/html": html}
        self._handle.update(data, raw=True)

    def stop(self) -> None:
        """Leave the last bar in the notebook."""
