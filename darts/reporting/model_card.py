"""Model cards of retrained networks: what a network is, how it was trained, how good it is.

References:
    Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darts.escaping import for_markdown, for_markdown_code
from darts.reading import JsonObject
from darts.reporting.labels import label
from darts.reporting.record import RunRecord
from darts.tracking import format_genotype, format_value
from darts.tracking.ledger import sum_phases

# Keys of the configuration that a card shows if the run has them.
_SETTINGS = (
    "epochs",
    "precision",
    "optimizer.algorithm",
    "optimizer.lr",
    "optimizer.lr_min",
    "optimizer.momentum",
    "optimizer.nesterov",
    "optimizer.weight_decay",
    "optimizer.clip",
    "loader.batch_size",
    "auxiliary",
    "drop_path",
    "cutout",
    "label_smoothing",
    "ema_decay",
    "averaging_patience",
    "space.channels",
    "space.cells",
)


def render_model_card(record: RunRecord, *, exports: bool = True) -> str:
    """Return a model card in Markdown for a finished retraining.

    Args:
        record: Run directory of the retraining.
        exports: Whether ``darts.export`` supports networks of this task.

    Raises:
        ValueError: If the run is not a finished retraining.
    """
    if record.command != "retrain" or not record.finished or record.genotype is None:
        raise ValueError(f"{str(record.directory)!r} is not a finished retraining")
    summary, config = record.summary, record.config
    commands = ["evaluate checkpoint=RUN", *(["export checkpoint=RUN"] * exports), "report RUN"]
    parts = [
        f"# {for_markdown(record.name)}",
        f"A network for {for_markdown(_group_name(config, 'task'))}, trained from scratch on the "
        f"data set {for_markdown(_group_name(config, 'dataset'))}. Its architecture was found by "
        "architecture search or taken from the literature.",
        "## Scores",
        _table(("score", "validation", "test"), _score_rows(summary)),
        _describe_epoch(record),
        "## Architecture",
        _table(
            ("", ""),
            [
                ("space", _group_name(config, "space")),
                ("parameters", format_value("parameters", summary["parameters"])),
                ("multiply-accumulates per sample", format_value("macs", summary["macs"])),
                ("abbreviated genotype", format_genotype(record.genotype)),
            ],
        ),
        _fence(str(record.genotype)),
        "## Data",
        _table(("", "samples"), [(name, f"{count:,}") for name, count in record.samples.items()]),
        "`split.npz` contains the indices of the samples.",
        "## Training",
        _table(("key", "value"), _setting_rows(config)),
        "`config.yaml` contains the complete configuration.",
        "## Cost",
        _table(("source of the joules", "time", "joules", "g CO2e"), _cost_rows(record)),
        _describe_cost(record),
        "## Use",
        "Replace RUN with the directory of this file:",
        _fence("\n".join(f"python -m darts.{command}" for command in commands)),
        _describe_origin(summary),
        "## Limitations",
        "\n".join(f"* {line}" for line in _limitations(record)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_epoch(record: RunRecord) -> str:
    """Return a sentence about the epoch whose weights the network has."""
    summary = record.summary
    selection = (
        f"the one with the best validation score ({for_markdown(record.metric)})"
        if record.config.get("selection") == "best"
        else "the last one"
    )
    return f"The weights are from epoch {summary['epoch']} of {summary['epochs']}, {selection}."


def _describe_cost(record: RunRecord) -> str:
    """Return sentences about what the costs include; nothing if the costs are unknown."""
    if record.gco2_per_kwh is None:
        return ""
    return (
        f"CO2-equivalent at {record.gco2_per_kwh:g} g per kilowatt-hour. These are the costs of "
        "training this network, without the search that found its architecture."
    )


def _describe_origin(summary: JsonObject) -> str:
    """Return a sentence about the version, seed and device."""
    revision = summary.get("git_revision")
    version = f"darts-nas at revision {for_markdown_code(revision)}" if revision else "darts-nas"
    return f"Created with {version}, seed {summary['seed']}, on {for_markdown(summary['device'])}."


def _limitations(record: RunRecord) -> list[str]:
    """Return what the scores of a run do not show."""
    summary, config = record.summary, record.config
    tested = any(name.startswith("test_") for name in summary)
    validated = any(name.startswith("valid_") for name in summary)
    selected = validated and config.get("selection") == "best"
    lines = {
        "The epoch was selected on the validation data, so the validation score is "
        "optimistic.": selected,
        "The test split was scored once, after all choices of this run. Choosing among several "
        "runs by their test scores makes the test score optimistic too.": tested,
        "There is no test score.": not tested,
        "No data was held out for validation.": not validated,
        f"The network was trained once, with seed {summary['seed']}. This does not show how much "
        "the score varies between seeds.": True,
        "Performance on data from other sources, with shifted distributions or with adversarial "
        "inputs is unknown.": True,
    }
    return [line for line, holds in lines.items() if holds]


def _group_name(config: JsonObject, key: str) -> str:
    """Return the name of the option that the configuration chooses in a group such as ``task``."""
    group = config.get(key)
    return str(group.get("name", "")) if isinstance(group, Mapping) else str(group)


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


def _setting_rows(config: JsonObject) -> list[tuple[str, str]]:
    """Return key and value of each setting of ``_SETTINGS`` that the run has."""
    rows = []
    for key in _SETTINGS:
        value: object = config
        for word in key.split("."):
            value = value.get(word) if isinstance(value, Mapping) else None
        if value is not None:
            rows.append((key, str(value)))
    return rows


def _cost_rows(record: RunRecord) -> list[tuple[str, ...]]:
    """Return the costs of all phases together, one row per source."""
    return [
        (cost["source"], *(format_value(key, cost[key]) for key in ("seconds", "joules", "gco2e")))
        for cost in sum_phases(record.phases)
    ]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; an empty string without rows."""
    lines = [list(head), *(list(row) for row in rows)]
    if len(lines) == 1:
        return ""
    text = [f"| {' | '.join(map(for_markdown, line))} |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]])


def _fence(text: str) -> str:
    """Return a Markdown code block. The text is not escaped, so it must not be untrusted."""
    return f"```\n{text}\n```"
