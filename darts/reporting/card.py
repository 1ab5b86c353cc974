"""A model card: what a retrained network is, what it was made from, and what it is not good for.

References:
    Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from darts.reporting.run_record import RunRecord
from darts.tracking import format_value, format_genotype

_RECIPE = (
    *("epochs", "precision", "optimizer.kind", "optimizer.lr", "optimizer.lr_min"),
    *("optimizer.momentum", "optimizer.weight_decay", "optimizer.clip", "loader.batch_size"),
    *("auxiliary", "drop_path", "cutout", "label_smoothing", "averaging", "average_after"),
    *("space.channels", "space.cells"),
)


def model_card(record: RunRecord, *, exports: bool = True) -> str:
    """Markdown about the network of a finished retraining.

    Args:
        record: of the run.
        exports: whether ``darts.export`` takes networks of its task.

    Raises:
        ValueError: for a run of another command, or one that has not ended.
    """
    if record.command != "retrain" or not record.finished:
        raise ValueError(f"{str(record.directory)!r} is no finished retraining")
    summary, config = record.summary, record.config
    parts = [
        f"# {_plain(record.name)}",
        f"A network for {_plain(_named(config, 'task'))}, found by architecture search or taken "
        f"from the literature, and trained from scratch on {_plain(_named(config, 'dataset'))}.",
        "## Scores",
        _table(("score", "validation", "test"), _scores(summary)),
        f"The weights are those of epoch {summary['epoch']} of {summary['epochs']}"
        + (
            f", chosen by the validation score ({record.metric})."
            if config.get("choose") == "best"
            else ", the last."
        ),
        "## Architecture",
        _table(
            ("", ""),
            [
                ("space", _named(config, "space")),
                ("parameters", format_value("parameters", summary["parameters"])),
                ("multiply-accumulates of one sample", format_value("macs", summary["macs"])),
                ("in short", format_genotype(record.genotype)),
            ],
        ),
        _fenced(str(record.genotype)),
        "## Data",
        _table(
            ("", "samples"),
            [(name, f"{count:,}") for name, count in record.samples.items()],
        ),
        "Which sample served what is in `split.npz`.",
        "## Training",
        _table(("key", "value"), _recipe(config)),
        "The whole configuration is in `config.yaml`.",
        "## Cost",
        _table(("source of the joules", "seconds", "joules", "g CO2e"), _costs(record)),
        f"CO2-equivalent at {record.gco2_per_kwh:g} g a kilowatt-hour. This is the training of "
        "this network alone; the search that found it is not in it."
        if record.gco2_per_kwh is not None
        else "",
        "## Use",
        "With the directory of this file as RUN:",
        _fenced(
            "\n".join(
                [
                    "python -m darts.evaluate checkpoint=RUN",
                    *(["python -m darts.export checkpoint=RUN"] if exports else []),
                    "python -m darts.report RUN",
                ]
            )
        ),
        "Made with darts-nas"
        + (f" at revision `{summary['git_revision']}`" if summary.get("git_revision") else "")
        + f", seed {summary['seed']}, on {summary['device']}.",
        "## Limits",
        "\n".join(f"* {line}" for line in limits(record)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def limits(record: RunRecord) -> list[str]:
    """What the scores of a run do not say."""
    summary, config = record.summary, record.config
    tested = any(name.startswith("test_") for name in summary)
    validated = any(name.startswith("valid_") for name in summary)
    found = []
    if validated and config.get("choose") == "best":
        found.append(
            "The epoch was chosen on the validation data, so that the validation score flatters."
        )
    if tested:
        found.append(
            "The test split was scored once, after all choices of this run. Whoever compares "
            "several runs by it makes a choice on it."
        )
    else:
        found.append("There is no test score.")
    if not validated:
        found.append("No data was held out for validation.")
    found.append(
        f"One training with one seed ({summary['seed']}): how far the score varies from seed to "
        "seed is not known from it."
    )
    found.append(
        "Nothing is known of data from elsewhere: other sources, shifted distributions, or "
        "inputs made to deceive."
    )
    return found


def _named(config: Mapping[str, Any], key: str) -> str:
    part = config.get(key)
    return str(part.get("name", "")) if isinstance(part, Mapping) else str(part)


def _scores(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    names = dict.fromkeys(
        name.partition("_")[2] for name in summary if name.startswith(("valid_", "test_"))
    )
    return [
        (
            name.replace("_", " "),
            *(
                format_value(f"{part}_{name}", summary[f"{part}_{name}"])
                if f"{part}_{name}" in summary
                else ""
                for part in ("valid", "test")
            ),
        )
        for name in names
    ]


def _recipe(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key in _RECIPE:
        value: Any = config
        for word in key.split("."):
            value = value.get(word) if isinstance(value, Mapping) else None
        if value is not None:
            rows.append((key, str(value)))
    return rows


def _costs(record: RunRecord) -> list[tuple[str, ...]]:
    """Sums over the phases, by source."""
    rows = []
    for source in dict.fromkeys(str(phase["source"]) for phase in record.phases):
        own = [phase for phase in record.phases if phase["source"] == source]
        sums = {name: math.fsum(p[name] for p in own) for name in ("seconds", "joules", "gco2e")}
        rows.append((source, *(format_value(name, value) for name, value in sums.items())))
    return rows


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    if len(lines) == 1:
        return ""
    text = [f"| {' | '.join(map(_plain, line))} |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]])


def _plain(text: str) -> str:
    """Text that Markdown takes for text, in one line."""
    shown = " ".join(str(text).split())
    for mark in "\\`*_[]<>|#":
        shown = shown.replace(mark, "\\" + mark)
    return shown


def _fenced(text: str) -> str:
    return f"```\n{text}\n```"
