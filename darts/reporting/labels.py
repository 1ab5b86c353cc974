"""Labels of the numbers of a run, and the numbers that a page shows first."""

from __future__ import annotations

from collections.abc import Iterable

from darts.reading import JsonObject
from darts.reporting.record import RunRecord

_LABELS = {"macs": "MACs", "seconds": "time", "lr": "learning rate", "gco2e": "g CO2e"}
_RESULTS = ("true_accuracy", "true_rank", "parameters", "macs", "seconds")
_COUNTS = ("epoch", "genotype_epoch", "trials", "trial", "samples")
_WORDS = {"f1": "F1", "wer": "WER", "cer": "CER", "bleu": "BLEU"}


def label(name: str) -> str:
    """Return the label of a number, for example "valid accuracy" for ``valid_accuracy``."""
    words = name.replace("_", " ").replace("/", ", ").split(" ")
    return _LABELS.get(name, " ".join(_WORDS.get(word, word) for word in words))


def column_names(rows: Iterable[JsonObject]) -> list[str]:
    """Return the names of all columns of a table."""
    return list(dict.fromkeys(name for row in rows for name in row))


def column_labels(rows: Iterable[JsonObject]) -> dict[str, str]:
    """Return the labels of all columns of a table by name."""
    return {name: label(name) for name in column_names(rows)}


def headline_metrics(record: RunRecord) -> list[str]:
    """Return the names of the most important numbers that the run has, scores first."""
    scores = (f"test_{record.metric}", f"valid_{record.metric}", record.metric)
    baseline = f"baseline_test_{record.metric}"
    candidates = dict.fromkeys((*scores[:1], baseline, *scores[1:], *_RESULTS, *_COUNTS))
    return [name for name in candidates if record.numbers.get(name) is not None]
