"""Labels of metrics, and the metrics that a page shows first."""

from __future__ import annotations

from darts.reporting.record import RunRecord
from darts.tracking import format_value

_LABELS = {"macs": "MACs", "seconds": "time", "lr": "learning rate", "gco2e": "g CO2e"}
_WORDS = {"f1": "F1", "wer": "WER", "cer": "CER", "bleu": "BLEU"}


def label(name: str) -> str:
    """Return the label of a metric, for example "valid accuracy" for ``valid_accuracy``."""
    words = name.replace("_", " ").replace("/", ", ").split(" ")
    return _LABELS.get(name, " ".join(_WORDS.get(word, word) for word in words))


def is_percentage(name: str) -> bool:
    """Return whether fractions of this name are shown in percent."""
    return format_value(name, 0.5).endswith("%")


def headline_metrics(record: RunRecord) -> list[str]:
    """Return the names of the most important metrics that the run has."""
    metric, numbers = record.metric, record.numbers
    candidates = (
        f"test_{metric}",
        f"valid_{metric}",
        metric,
        "true_accuracy",
        "true_rank",
        "parameters",
        "macs",
        "seconds",
        "epoch",
        "genotype_epoch",
        "trials",
        "trial",
        "samples",
    )
    return [name for name in dict.fromkeys(candidates) if numbers.get(name) is not None]
