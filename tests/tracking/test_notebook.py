"""The progress bar in a notebook, executed by a real kernel."""

from __future__ import annotations

import pytest

PROGRAM = """
from darts.tracking import Console

with Console(total_steps=4, name="search") as console:
    console.step(loss=0.5)
    console.warn("careful")
    console.epoch(2, 4, valid_accuracy=0.75)
"""


@pytest.mark.slow
def test_a_cell_shows_the_last_bar_once_and_messages_as_lines() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cell = nbformat.v4.new_code_cell(PROGRAM)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    bars = [output for output in cell.outputs if output.output_type == "display_data"]
    texts = [output for output in cell.outputs if output.get("name") == "stdout"]
    (bar,) = bars
    assert "epoch 2/4 loss 0.5 valid_accuracy 75.00 %" in bar.data["text/plain"]
    assert "25 %" in bar.data["text/html"]
    assert "".join(output.text for output in texts).endswith("warning: careful\n")
