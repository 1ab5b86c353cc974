"""How the results of the Python functions show themselves: as text, in notebooks, as a figure."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from darts.judging.rankings import has_number
from darts.plotting.figures import draw_curves
from darts.plotting.style import render_figure
from darts.reading import JsonObject
from darts.reporting import figures, verdict
from darts.reporting.page import page_environment
from darts.reporting.record import RunRecord, read_run
from darts.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def describe_run(kind: str, directory: Path) -> str:
    """Return the kind, the directory, the score and the verdict of a run in two lines.

    Without a readable run, the first two remain.
    """
    title, record = f"{kind}({str(directory)!r})", _read(directory)
    if record is None:
        return title
    html = page_environment().get_template("verdict.html").render(run=record)
    return f"{title}: {verdict.score(record)}\n{Markup(html).striptags()}"


def render_run(kind: str, directory: Path) -> str | None:
    """Return a run as HTML for a notebook: score, verdict and figures; None if it is damaged."""
    record = _read(directory)
    if record is None:
        return None
    shown = {"run": record, "rows": leaderboard(record), "draw_run": draw_run}
    svg = partial(render_figure, file_format="svg")
    return page_environment().get_template("notebook.html").render(kind=kind, svg=svg, **shown)


def draw_run(record: RunRecord) -> Figure:
    """Draw losses and scores over the epochs; of ``darts find``, the race.

    Raises:
        ValueError: If the run has neither.
    """
    panels, _ = figures.learning_curves(record)
    if not (record.race or panels):
        raise ValueError(f"{record.directory}: the run has no epochs to draw")
    figure = figures.race_figure(record) if record.race else draw_curves(panels, title=record.name)
    # Without this, a notebook shows a figure only if it has imported pyplot.
    vars(figure)["_repr_png_"] = partial(render_figure, figure, "png")
    return figure


def leaderboard(record: RunRecord) -> list[JsonObject]:
    """Return the candidates of ``darts find``, that with the best score on validation data first.

    A row has the keys name, score, parameters, seconds and epochs; milliseconds if it was measured.
    """
    score, columns = f"valid_{record.metric}", ("parameters", "milliseconds", "seconds", "epochs")
    metrics = [task.metrics.get(record.metric) for task in TASKS.values()]
    higher = all(metric is None or metric.higher_is_better for metric in metrics)
    rows = [row for row in record.candidates if has_number(row, score)]
    rows.sort(key=lambda row: row[score], reverse=higher)
    return [
        {"name": row["candidate"], "score": row[score]}
        | {name: row[name] for name in columns if has_number(row, name)}
        for row in rows
    ]


def _read(directory: Path) -> RunRecord | None:
    with warnings.catch_warnings(), suppress(ValueError, OSError):
        warnings.simplefilter("ignore")  # about damaged files
        return read_run(directory)
    return None
