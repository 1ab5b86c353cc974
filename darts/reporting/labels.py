"""How the numbers of runs are called, and which of them are seen first."""

from __future__ import annotations

from darts.reporting.run_record import RunRecord
from darts.tracking import format_value

_NAMED = {"macs": "MACs", "seconds": "time", "lr": "learning rate", "gco2e": "g CO2e"}


def label(name: str) -> str:
    """A name as it is read: ``valid_accuracy`` is valid accuracy."""
    return _NAMED.get(name, name.replace("_", " ").replace("/", ", "))


def is_percentage(name: str) -> bool:
    """Whether numbers between 0 and 1 of this name are told in percent."""
    return format_value(name, 0.5).endswith("%")


def headline_metrics(record: RunRecord) -> list[str]:
    """The names of the numbers to be seen first, those that the run has."""
    metric, numbers = record.metric, record.numbers
    asked = (
        *(f"test_{metric}", f"valid_{metric}", metric, "true_accuracy", "true_rank"),
        *("parameters", "macs", "seconds", "epoch", "genotype_epoch", "trials", "trial"),
        "samples",
    )
    return [name for name in dict.fromkeys(asked) if numbers.get(name) is not None]
