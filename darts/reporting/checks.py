"""Checks of values that were read from the files of a run directory.

The files may be damaged or come from a stranger. A value that passes these checks has the declared
type and a bounded size, so that a page about it can be computed and drawn.

A function returns its value if the value fits. Otherwise it raises ``ValueError`` with a message
that begins with ``name``, the name of the value.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

from darts.reading import JsonObject

Scalar: TypeAlias = "str | int | float | bool | None"

MAX_COLUMNS = 1000  # of a row of metrics, of a table, and keys of any other object
MAX_INTEGER = 2**63
MAX_NUMBER = 1e100
MAX_EPOCH = 10**7
_MAX_TEXT = 20_000  # characters; the text of a genotype is the longest
_MAX_NAME = 1000
_MAX_DEPTH = 12  # of the objects in a configuration

# Columns of metrics.jsonl and keys of summary.json with a declared type. All others are plain
# values.
_TEXTS = re.compile(
    "command|name|metric|genotype|device|joules_source|git_revision|strategy|collapse_verdict|"
    "checkpoint"
)
_NUMBERS = re.compile(
    "(train|valid|test|true|expected)_.*|seconds|joules|gco2e|parameters|macs|flops|samples|lr|"
    "peak_memory_mb|trials|trial|complete|pruned|failed|ranks|epochs|seed|step|genotype_epoch|"
    "collapse_healthy_epoch|grad_norm|arch_grad_norm",
    re.DOTALL,
)


def text_of(value: object, name: str, limit: int = _MAX_NAME) -> str:
    """Return a text of at most ``limit`` characters."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    if len(value) > limit:
        raise ValueError(f"{name} must have at most {limit:,} characters, not {len(value):,}")
    return value


def number_of(
    value: object, name: str, *, low: float = -MAX_NUMBER, high: float = MAX_NUMBER
) -> float:
    """Return a number from ``low`` to ``high``; it keeps its type."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, not {type(value).__name__}")
    if not low <= value <= high:  # false for NaN, too
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}")
    return value


def integer_of(value: object, name: str, *, low: int = 0, high: int = MAX_INTEGER) -> int:
    """Return an integer from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low:,} to {high:,}")
    return value


def list_of(value: object, name: str, limit: int) -> list[Any]:
    """Return a list of at most ``limit`` values."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, not {type(value).__name__}")
    if len(value) > limit:
        raise ValueError(f"{name} must have at most {limit:,} entries, not {len(value):,}")
    return value


def object_of(value: object, name: str, limit: int = MAX_COLUMNS) -> JsonObject:
    """Return a JSON object with at most ``limit`` keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, not {type(value).__name__}")
    if len(value) > limit:
        raise ValueError(f"{name} must have at most {limit:,} keys, not {len(value):,}")
    for key in value:
        text_of(key, f"a key of {name}")
    return value


def scalar_of(value: object, name: str) -> Scalar:
    """Return a text, a number, a boolean or None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text_of(value, name, _MAX_TEXT)
    if isinstance(value, int):
        return integer_of(value, name, low=-MAX_INTEGER)
    return number_of(value, name)


def row_of(value: object, name: str) -> JsonObject:
    """Return an object of plain values, with the declared types of metrics and summaries."""
    row = object_of(value, name)
    for key, item in row.items():
        scalar_of(item, key)
        if item is None:
            continue
        if key == "epoch":
            integer_of(item, key, high=MAX_EPOCH)
        elif _TEXTS.fullmatch(key):
            text_of(item, key, _MAX_TEXT)
        elif _NUMBERS.fullmatch(key):
            number_of(item, key)
    return row


def config_of(value: object, name: str) -> JsonObject:
    """Return a configuration: nested objects and lists of plain values."""
    config = object_of(value, name)
    _check_nested(config, name, depth=0)
    for key in ("name", "metric", "split"):
        if key in config:
            text_of(config[key], key)
    for key in ("seed", "epochs"):
        if config.get(key) is not None:
            integer_of(config[key], key)
    return config


def _check_nested(value: object, name: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{name} is nested too deeply")
    if isinstance(value, dict):
        for key, item in object_of(value, name).items():
            _check_nested(item, key, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_nested(item, name, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number")
    else:
        scalar_of(value, name)
