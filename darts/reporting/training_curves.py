"""What a run told at its epochs: losses and scores, and what the doctor found."""

from __future__ import annotations

from typing import Any

from darts.reporting.charts import Line, chart, charts
from darts.reporting.markup import Cell, cell, collapsible, paragraph, table
from darts.reporting.labels import is_percentage, label
from darts.reporting.run_record import RunRecord


def training_curves(record: RunRecord) -> str:
    """Losses and scores over the epochs, training and validation in one panel."""
    rows = record.rows
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if _is_curve(rows, n)]
    kinds = dict.fromkeys(n.partition("_")[2] for n in names if n.startswith(("train_", "valid_")))
    first = [kind for kind in ("loss", record.metric) if kind in kinds]
    panels = {
        kind: chart(
            [
                Line(part, over_epochs(rows, f"{part}_{kind}"), number)
                for number, part in enumerate(("train", "valid"))
                if f"{part}_{kind}" in names
            ],
            label(kind),
            percent=is_percentage(kind),
        )
        for kind in kinds
    }
    others = [panel for kind, panel in panels.items() if kind not in first]
    norms = [name for name in ("grad_norm", "arch_grad_norm") if name in names]
    lines = [Line(label(name), over_epochs(rows, name), i) for i, name in enumerate(norms)]
    others.append(chart(lines, "norm of the gradient"))
    others.append(chart([Line("lr", over_epochs(rows, "lr"))], "learning rate of the weights"))
    shown = charts(panels[kind] for kind in dict.fromkeys(first))
    return shown + collapsible("Other curves", charts(others))


def over_epochs(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float | None]]:
    """A column of the metrics."""
    return [(row["epoch"], row.get(name)) for row in rows]


def _is_curve(rows: list[dict[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), (int, float)) for row in rows)


def collapse_checks(record: RunRecord) -> str:
    """What was found when the search was looked at."""
    looks = [row for row in record.rows if "collapse_verdict" in row]
    if not looks:
        return ""
    verdict = str(record.numbers.get("collapse_verdict", looks[-1]["collapse_verdict"]))
    last = record.numbers.get("collapse_healthy_epoch", looks[-1].get("collapse_healthy_epoch"))
    healthy = "No look was healthy." if last is None else f"Last healthy look: epoch {last}."
    parts = [paragraph(verdict, "" if verdict == "healthy" else "warn"), paragraph(healthy)]
    names = [n for n in dict.fromkeys(n for row in looks for n in row) if n.startswith("collapse/")]
    scores = [n for n in names if n.startswith(("collapse/supernet_", "collapse/path_"))]
    panels = [
        chart(
            [
                Line(label(n.removeprefix("collapse/")), over_epochs(looks, n), i)
                for i, n in enumerate(scores)
            ],
            "supernet and the genotype's path alone",
            percent=all(map(is_percentage, scores)),
        )
    ]
    skips = [n for n in names if n.endswith("/skips")]
    lines = [Line(n.split("/")[1], over_epochs(looks, n), i) for i, n in enumerate(skips)]
    panels.append(chart(lines, "edges that are skips", counts=True))
    for name, title, share in (
        ("collapse/eigenvalue", "largest eigenvalue of the alphas' Hessian", False),
        ("collapse/gap", "share of the score lost by the path alone", True),
    ):
        panels.append(chart([Line(title, over_epochs(looks, name))], title, percent=share))
    head = ("epoch", "verdict", *(label(n.removeprefix("collapse/")) for n in names))
    body: list[list[Cell | str]] = [
        [cell("epoch", row["epoch"]), str(row["collapse_verdict"]), *(cell(n, row.get(n)) for n in names)]
        for row in looks
    ]
    return "".join(parts) + charts(panels) + collapsible("All looks", table(head, body))
