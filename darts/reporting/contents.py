"""The declared content of files of a run directory: types, and functions that check them.

The files may be damaged or untrusted. What these functions return has the declared types
and a bounded size, so that a page about it can be computed and drawn. They raise ``Misfit`` or
another ``ValueError`` for other content, with a message that names the value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypedDict

from msgspec import Meta

from darts.config.overrides import is_plain_override
from darts.escaping import for_terminal
from darts.judging.edge_importance import ImportanceFile
from darts.reading import JsonObject
from darts.searching.alphas import GroupHistory, Label
from darts.spaces import AnyGenotype
from darts.tracking.ledger import Cost, PhaseCost
from darts.typed_values import Count, Misfit, Name, Number, typed

MAX_COLUMNS = 1000  # of a table
_MAX_ENTRIES = 2048  # alphas of all groups together
_TUNED_COMMANDS = ("search", "retrain")
_Text: TypeAlias = Annotated[str, Meta(max_length=20_000)]  # the text of a genotype is the longest
_Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Row: TypeAlias = Annotated[
    dict[Name, _Text | bool | _Integer | Number | None], Meta(max_length=1000)
]
_Epoch: TypeAlias = Annotated[int, Meta(ge=0, le=10**7)]
_Alphas: TypeAlias = Annotated[dict[Label, GroupHistory], Meta(max_length=8)]

# Columns of metrics.jsonl and keys of summary.json with a declared type. All others are plain
# values.
_TEXTS = re.compile(
    "command|name|metric|genotype|device|joules_source|git_revision|strategy|collapse_verdict|"
    "checkpoint"
)
_NUMBERS = re.compile(
    "(train|valid|test|true|expected)_.*|(winner_|baseline_)?seconds|joules|gco2e|parameters|macs|"
    "flops|samples|lr|peak_memory_mb|trials|trial|complete|pruned|failed|ranks|(final_)?epochs|"
    "candidates|seed|step|genotype_epoch|"
    "collapse_healthy_epoch|grad_norm|arch_grad_norm",
    re.DOTALL,
)


class _ConfigFile(TypedDict, total=False):
    """The values of ``config.yaml`` that a page computes with."""

    name: Name
    metric: Name | None
    split: Name
    seed: Count | None
    epochs: Count | None


class _EnergyFile(TypedDict):
    """Content of ``energy.json``."""

    gco2_per_kwh: Cost | None
    phases: Annotated[list[PhaseCost], Meta(max_length=100)]


class _BestFile(TypedDict, total=False):
    """Content of ``best.json``."""

    parameters: _Row | None
    command: Annotated[str, Meta(max_length=200_000)] | None


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a study."""

    parameters: Mapping[str, object]  # plain values
    command: str | None  # that trains it again, for a shell; None if the file names none


def row_of(content: object, name: str) -> JsonObject:
    """Return an object of plain values, with the declared types of metrics and summaries."""
    row = typed(_Row, content, name)
    for key, value in row.items():
        if value is None:
            continue
        if key == "epoch":
            typed(_Epoch, value, key)
        elif _TEXTS.fullmatch(key):
            typed(str, value, key)
        elif _NUMBERS.fullmatch(key):
            typed(float, value, key)
    return row


def config_of(content: object) -> JsonObject:
    """Return the configuration of a run, the content of ``config.yaml``."""
    config = typed(JsonObject, content, "config")
    typed(_ConfigFile, config)
    return config


def environment_of(content: JsonObject) -> JsonObject:
    """Return the environment of a run, the content of ``env.json``, by dotted name.

    The command is left out: ``overrides.json`` has it.
    """
    env = dict(flatten(content))
    return {name: value for name, value in env.items() if value is not None and name != "command"}


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted keys of nested dictionaries, with their values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def phases_of(content: JsonObject) -> tuple[list[PhaseCost], float | None]:
    """Return the cost by phase and source, and grams of CO2 per kilowatt-hour, of energy.json."""
    energy = typed(_EnergyFile, content)
    return energy["phases"], energy["gco2_per_kwh"]


def alphas_of(content: object) -> dict[str, GroupHistory]:
    """Return the probabilities over the epochs by group, of alphas.json."""
    alphas = typed(_Alphas, content, "alphas")
    for group, history in alphas.items():
        _check_shape(history, group)
    entries = sum(len(row) for history in alphas.values() for row in history["operations"])
    if entries > _MAX_ENTRIES:
        raise ValueError(f"it must have at most {_MAX_ENTRIES:,} alphas, not {entries:,}")
    if len({len(history["epochs"]) for history in alphas.values()}) > 1:
        raise ValueError("all groups must have the same number of epochs")
    return alphas


def _check_shape(history: GroupHistory, group: str) -> None:
    """Raise ValueError if an epoch, edge or operation has no probability."""
    edges, operations, epochs = history["edges"], history["operations"], history["epochs"]
    if not edges or not epochs or len(operations) != len(edges):
        raise ValueError(f"{group} must have edges, epochs, and operations for each edge")
    widths = [len(row) for row in operations]
    if len(set(widths)) > 1 or not widths[0]:
        raise ValueError(f"{group} must have the same number of operations for each edge")
    for matrix in epochs:
        if [len(row) for row in matrix] != widths:
            raise ValueError(f"{group} must have a probability for each edge and operation")


def importance_of(content: JsonObject, genotype: AnyGenotype) -> ImportanceFile:
    """Return the edge importances of a network with this genotype, of importance.json."""
    importance = typed(ImportanceFile, content)
    actual = {
        cell: [(edge["source"], edge["target"], edge["operation"]) for edge in drops]
        for cell, drops in importance["edges"].items()
    }
    if actual != {cell: genotype.edges(cell) for cell in genotype.cells}:
        raise ValueError("its edges are not those of genotype.json")
    return importance


def best_of(content: JsonObject) -> BestTrial:
    """Return the best trial of a study, of best.json."""
    best = typed(_BestFile, content)
    command = best.get("command")
    return BestTrial(best.get("parameters") or {}, None if command is None else _quoted(command))


def _quoted(command: str) -> str:
    """Return a command that only trains, quoted for a shell: a reader will copy it."""
    words = shlex.split(command)
    program, overrides = words[:3], words[3:]
    target = program[-1].removeprefix("darts.") if program else ""
    if target not in _TUNED_COMMANDS or program != ["python", "-m", f"darts.{target}"]:
        raise Misfit("command must be one of darts.search and darts.retrain")
    plain = all(is_plain_override(override) for override in overrides)
    if not plain or for_terminal(command) != command:
        raise Misfit("command must only set keys of the configuration")
    return shlex.join(words)
