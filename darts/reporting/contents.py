"""The declared content of files of a run directory: types, and functions that check them.

All functions raise ``ValueError`` for other content, with a message that names the value.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from darts.config.overrides import is_plain_override
from darts.escaping import for_terminal
from darts.judging.edge_importance import EdgeDrop, EdgeImportances
from darts.reporting.checks import (
    Scalar,
    integer_of,
    list_of,
    number_of,
    object_of,
    scalar_of,
    text_of,
)
from darts.searching.alphas import GroupHistory
from darts.spaces import AnyGenotype
from darts.tracking.ledger import PhaseCost

_MAX_GROUPS = 8  # of alphas
_MAX_ENTRIES = 2048  # alphas of all groups together
_MAX_LABEL = 60  # characters of the name of a group, an edge or an operation
_MAX_COST = 1e18  # seconds, joules and grams, whose sums stay finite
_MAX_PHASES = 100
_MAX_DEVICES = 1000
_TUNED_COMMANDS = ("search", "retrain")


class ImportanceFile(EdgeImportances):
    """Content of ``importance.json``: the importances, their metric and the number of samples."""

    metric: str
    samples: int


@dataclass(frozen=True)
class Environment:
    """Content of ``env.json``."""

    git_revision: str | None = None
    git_dirty: bool = False
    started: str | None = None  # time of day in UTC
    properties: Mapping[str, str] = field(default_factory=dict)  # software and hardware by name


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a study."""

    parameters: Mapping[str, Scalar]
    command: str | None  # that trains it again, for a shell; None if the file names none


def environment_of(content: object) -> Environment:
    """Return the environment from the content of ``env.json``."""
    env = object_of(content, "it")
    texts = {name: _optional_text(env, name) for name in ("git_revision", "started")}
    values: dict[str, object] = {name: _optional_text(env, name) for name in ("python", "platform")}
    for name, version in object_of(env.get("versions") or {}, "versions").items():
        values[name] = scalar_of(version, name)
    if env.get("cpu") is not None:
        cpu = object_of(env["cpu"], "cpu")
        counts = [f"{scalar_of(cpu.get(name), name)} {name}" for name in ("cores", "threads")]
        # "1 cores" becomes "1 core".
        counts = [text.removesuffix("s") if text.startswith("1 ") else text for text in counts]
        values["processor"] = ", ".join([str(scalar_of(cpu.get("model"), "model")), *counts])
    if env.get("cuda") is not None:
        cuda = object_of(env["cuda"], "cuda")
        devices = list_of(cuda.get("devices") or [], "devices", _MAX_DEVICES)
        names = ", ".join(text_of(name, "a device") for name in devices)
        values["CUDA"] = f"{scalar_of(cuda.get('version'), 'version')}, {names}"
    return Environment(
        **texts,
        git_dirty=env.get("git_dirty") is True,
        properties={name: str(value) for name, value in values.items() if value is not None},
    )


def _optional_text(content: Mapping[str, object], name: str) -> str | None:
    return None if content.get(name) is None else text_of(content[name], name)


def phases_of(content: object) -> tuple[list[PhaseCost], float | None]:
    """Return the cost by phase and source, and grams of CO2 per kilowatt-hour, of energy.json."""
    energy = object_of(content, "it")
    grams = energy.get("gco2_per_kwh")
    if grams is not None:
        number_of(grams, "gco2_per_kwh", low=0, high=_MAX_COST)
    phases: list[PhaseCost] = []
    for entry in list_of(energy.get("phases", []), "phases", _MAX_PHASES):
        cost = object_of(entry, "a phase")
        numbers = {
            name: number_of(cost.get(name), name, low=0, high=_MAX_COST)
            for name in ("seconds", "joules", "gco2e")
        }
        phases.append(
            {
                "phase": text_of(cost.get("phase"), "phase"),
                "source": text_of(cost.get("source"), "source"),
                "seconds": numbers["seconds"],
                "joules": numbers["joules"],
                "gco2e": numbers["gco2e"],
            }
        )
    return phases, grams


def alphas_of(content: object) -> dict[str, GroupHistory]:
    """Return the probabilities over the epochs by group, of alphas.json."""
    groups = object_of(content, "it", _MAX_GROUPS)
    alphas = {name: _history_of(value, name) for name, value in groups.items()}
    entries = sum(len(row) for history in alphas.values() for row in history["operations"])
    if entries > _MAX_ENTRIES:
        raise ValueError(f"it must have at most {_MAX_ENTRIES:,} alphas, not {entries:,}")
    if len({len(history["epochs"]) for history in alphas.values()}) > 1:
        raise ValueError("all groups must have the same number of epochs")
    return alphas


def _history_of(content: object, group: str) -> GroupHistory:
    text_of(group, "the name of a group", _MAX_LABEL)
    history = object_of(content, group)
    edges = list_of(history.get("edges"), "edges", _MAX_ENTRIES)
    operations = list_of(history.get("operations"), "operations", _MAX_ENTRIES)
    epochs = list_of(history.get("epochs"), "epochs", 10**6)
    if not edges or not epochs or len(operations) != len(edges):
        raise ValueError(f"{group} must have edges, epochs, and operations for each edge")
    for edge, row in zip(edges, operations, strict=True):
        text_of(edge, "the name of an edge", _MAX_LABEL)
        for operation in list_of(row, "operations", _MAX_ENTRIES):
            text_of(operation, "the name of an operation", _MAX_LABEL)
    widths = [len(row) for row in operations]
    if len(set(widths)) > 1 or not widths[0]:
        raise ValueError(f"{group} must have the same number of operations for each edge")
    for matrix in epochs:
        rows = list_of(matrix, "epochs", len(edges))
        if [len(list_of(row, "epochs", widths[0])) for row in rows] != widths:
            raise ValueError(f"{group} must have a probability for each edge and operation")
        for row in rows:
            for probability in row:
                number_of(probability, "a probability", low=0, high=1.0001)
    return {"edges": edges, "operations": operations, "epochs": epochs}


def importance_of(content: object, genotype: AnyGenotype) -> ImportanceFile:
    """Return the edge importances of a network with this genotype, of importance.json."""
    importance = object_of(content, "it")
    edges: dict[str, list[EdgeDrop]] = {}
    cells = object_of(importance.get("edges"), "edges")
    for cell, entries in cells.items():
        edges[cell] = [
            _edge_drop_of(entry) for entry in list_of(entries, f"the edges of {cell}", 10**4)
        ]
    actual = {
        cell: [(edge["source"], edge["target"], edge["operation"]) for edge in drops]
        for cell, drops in edges.items()
    }
    if actual != {cell: genotype.edges(cell) for cell in genotype.cells}:
        raise ValueError("its edges are not those of genotype.json")
    operations = object_of(importance.get("operations"), "operations")
    return {
        "score": number_of(importance.get("score"), "score"),
        "edges": edges,
        "operations": {name: number_of(drop, name) for name, drop in operations.items()},
        "metric": text_of(importance.get("metric"), "metric"),
        "samples": integer_of(importance.get("samples"), "samples", low=1),
    }


def _edge_drop_of(content: object) -> EdgeDrop:
    edge = object_of(content, "an edge")
    drop = edge.get("score_drop")
    return {
        "source": integer_of(edge.get("source"), "source"),
        "target": integer_of(edge.get("target"), "target"),
        "operation": text_of(edge.get("operation"), "operation"),
        "score_drop": None if drop is None else number_of(drop, "score_drop"),
    }


def best_of(content: object) -> BestTrial:
    """Return the best trial of a study, of best.json."""
    best = object_of(content, "it")
    parameters = object_of(best.get("parameters") or {}, "parameters")
    command = best.get("command")
    return BestTrial(
        {name: scalar_of(value, name) for name, value in parameters.items()},
        None if command is None else _command_of(command),
    )


def _command_of(content: object) -> str:
    """Return a command that only trains, quoted for a shell: a reader will copy it."""
    text = text_of(content, "command", 200_000)
    words = shlex.split(text)
    program, overrides = words[:3], words[3:]
    target = program[-1].removeprefix("darts.") if program else ""
    if target not in _TUNED_COMMANDS or program != ["python", "-m", f"darts.{target}"]:
        raise ValueError("command must be one of darts.search and darts.retrain")
    plain = all(is_plain_override(override) for override in overrides)
    if not plain or for_terminal(text) != text:
        raise ValueError("command must only set keys of the configuration")
    return shlex.join(words)
