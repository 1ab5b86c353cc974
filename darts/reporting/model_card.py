"""Model cards of retrained networks: what a network is, how it was trained, how good it is.

References:
    Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from darts.config.fields import flatten
from darts.escaping import for_markdown, for_markdown_code
from darts.reading import JsonObject
from darts.reporting.page import template_environment
from darts.reporting.record import RunRecord
from darts.reporting.tables import label
from darts.tracking import format_genotype, format_value
from darts.tracking.ledger import sum_phases

# Beginnings of the keys of the configuration that a card shows.
_SETTINGS = (
    *("epochs", "precision", "optimizer.", "loader.batch_size", "auxiliary", "drop_path", "cutout"),
    *("label_smoothing", "ema_decay", "averaging_patience", "space.channels", "space.cells"),
)


def render_model_card(record: RunRecord, *, exports: bool = True) -> str:
    """Return a model card in Markdown for a finished retraining.

    ``exports`` says whether ``darts.export`` supports networks of this task.
    """
    if record.command != "retrain" or not record.finished or record.genotype is None:
        raise ValueError(f"{str(record.directory)!r} is not a finished retraining")
    config = dict(flatten(record.config))
    templates = template_environment(for_markdown)
    templates.globals |= {
        "code": lambda text: Markup(for_markdown_code(text)),
        "format_genotype": format_genotype,
        "format_value": format_value,
        "sum_phases": sum_phases,
    }
    text = templates.get_template("model_card.md").render(
        run=record,
        exports=exports,
        setting=lambda key: config.get(f"{key}.name"),
        settings=[
            (key, value)
            for key, value in config.items()
            if key.startswith(_SETTINGS) and value is not None
        ],
        scores=_score_rows(record.summary),
        validated=any(name.startswith("valid_") for name in record.summary),
        tested=any(name.startswith("test_") for name in record.summary),
    )
    # What is left out leaves empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _score_rows(summary: JsonObject) -> list[tuple[str, ...]]:
    """Return for each metric its label, validation score and test score."""
    scores = {
        name: format_value(name, value)
        for name, value in summary.items()
        if name.startswith(("valid_", "test_"))
    }
    return [
        (label(metric), scores.get(f"valid_{metric}", ""), scores.get(f"test_{metric}", ""))
        for metric in dict.fromkeys(name.partition("_")[2] for name in scores)
    ]
