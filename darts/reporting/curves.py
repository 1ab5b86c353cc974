"""Learning curves and collapse checks of a run on its page."""

from __future__ import annotations

from collections.abc import Sequence

from darts.reporting.charts import Line, chart, charts
from darts.reporting.labels import is_percentage, label
from darts.reporting.markup import Cell, cell, collapsible, paragraph, table
from darts.reporting.record import RunRecord
from darts.tracking import JsonObject


def render_curves(record: RunRecord) -> str:
    """Return losses and scores over the epochs; training and validation share a panel."""
    rows = record.rows
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if _has_numbers(rows, n)]
    metrics = dict.fromkeys(
        n.partition("_")[2] for n in names if n.startswith(("train_", "valid_"))
    )
    panels = {
        metric: chart(
            [
                Line(split, column_over_epochs(rows, f"{split}_{metric}"), number)
                for number, split in enumerate(("train", "valid"))
                if f"{split}_{metric}" in names
            ],
            label(metric),
            percent=is_percentage(metric),
        )
        for metric in metrics
    }
    first = [metric for metric in dict.fromkeys(("loss", record.metric)) if metric in metrics]
    others = [panel for metric, panel in panels.items() if metric not in first]
    norms = [name for name in ("grad_norm", "arch_grad_norm") if name in names]
    lines = [Line(label(name), column_over_epochs(rows, name), i) for i, name in enumerate(norms)]
    others.append(chart(lines, "gradient norm"))
    others.append(chart([Line("lr", column_over_epochs(rows, "lr"))], "learning rate"))
    shown = charts(panels[metric] for metric in first)
    return shown + collapsible("Other curves", charts(others))


def column_over_epochs(rows: Sequence[JsonObject], name: str) -> list[tuple[float, float | None]]:
    """Return (epoch, value) of a column of the metrics."""
    return [(row["epoch"], row.get(name)) for row in rows]


def _has_numbers(rows: Sequence[JsonObject], name: str) -> bool:
    return any(isinstance(row.get(name), (int, float)) for row in rows)


def render_collapse_checks(record: RunRecord) -> str:
    """Return the results of the collapse checks of a search."""
    checks = [row for row in record.rows if "collapse_verdict" in row]
    if not checks:
        return ""
    verdict = str(record.numbers.get("collapse_verdict", checks[-1]["collapse_verdict"]))
    healthy = record.numbers.get("collapse_healthy_epoch", checks[-1].get("collapse_healthy_epoch"))
    text = "No check was healthy." if healthy is None else f"Last healthy check: epoch {healthy}."
    parts = [paragraph(verdict, "" if verdict == "healthy" else "warn"), paragraph(text)]
    names = [
        n for n in dict.fromkeys(n for row in checks for n in row) if n.startswith("collapse/")
    ]
    scores = [n for n in names if n.startswith(("collapse/supernet_", "collapse/path_"))]
    panels = [
        chart(
            [
                Line(label(n.removeprefix("collapse/")), column_over_epochs(checks, n), i)
                for i, n in enumerate(scores)
            ],
            "score of the supernet, and of the genotype's path in it",
            percent=all(map(is_percentage, scores)),
        )
    ]
    skips = [n for n in names if n.endswith("/skips")]
    lines = [Line(n.split("/")[1], column_over_epochs(checks, n), i) for i, n in enumerate(skips)]
    panels.append(chart(lines, "skip connections in the genotype", counts=True))
    for name, title, percent in (
        ("collapse/eigenvalue", "largest eigenvalue of the alphas' Hessian", False),
        ("collapse/gap", "fraction of the supernet's score that the path loses", True),
    ):
        line = Line(title, column_over_epochs(checks, name))
        panels.append(chart([line], title, percent=percent))
    head = ("epoch", "verdict", *(label(n.removeprefix("collapse/")) for n in names))
    body: list[list[Cell | str]] = [
        [
            cell("epoch", row["epoch"]),
            str(row["collapse_verdict"]),
            *(cell(n, row.get(n)) for n in names),
        ]
        for row in checks
    ]
    return "".join(parts) + charts(panels) + collapsible("All checks", table(head, body))
