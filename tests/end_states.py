"""What two equal runs of a search or a retraining must have in common, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darts.reading import FileError
from darts.tracking import read_metrics
from darts.training.checkpoint import load_checkpoint

COSTS = {"seconds", "joules", "joules_source", "gco2e", "collapse_seconds", "peak_memory_mb"}
MEASURED = COSTS | {"git_revision"}
NOT_REPRODUCIBLE = {"energy", "config", "metrics_offset", "event_offset"}


def training_end(command: str, directory: Path) -> dict[str, object]:
    """Return files, genotype, metrics and checkpoint of a run, without measured costs."""
    try:
        rows = read_metrics(directory / "metrics.jsonl")
    except FileError:  # its rows before the checkpoint were damaged
        rows = []
    return {
        "files": sorted(path.name for path in directory.iterdir()),
        "genotype.json": (directory / "genotype.json").read_text(),
        "metrics.jsonl": [without(COSTS, row) for row in rows],
        **checkpoint_end(directory, command),
    }


def checkpoint_end(directory: Path, command: str) -> dict[str, object]:
    """Return the entries of a checkpoint that equal runs have in common."""
    saved: Mapping[str, Any] = load_checkpoint(directory / "checkpoint.safetensors", command)
    return {f"checkpoint {k}": plain(v) for k, v in saved.items() if k not in NOT_REPRODUCIBLE}


def without(names: set[str], row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}


def identical(left: Any, right: Any) -> bool:
    """Return whether nested values are equal, with keys in the same order, bit for bit."""
    return str(plain(left)) == str(plain(right))


def plain(value: Any) -> Any:
    """Return nested values as a checkpoint has them, tensors as text of equal bits only."""
    if isinstance(value, Tensor):
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(data).hexdigest()}"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value)
