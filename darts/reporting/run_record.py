"""What a run has left in its directory, read without changing anything there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darts.spaces import parse_genotype
from darts.tracking import read_json, read_metrics

COMMANDS = ("search", "retrain", "evaluate", "tune")
"""Whose runs can be told about."""


@dataclass(frozen=True)
class RunRecord:
    """One run; what it has not written (yet) is empty.

    Attributes:
        directory: where it lies.
        command: that made it, one of ``COMMANDS``.
        config: nested plain values, and
        config_text: the same as it was written.
        overrides: of the command line; None if it is not known.
        env: software, hardware and revision.
        summary: scores and costs; empty until the run has ended.
        rows: of ``metrics.jsonl``, those that end an epoch.
        phases: of ``energy.json``: phase, source, seconds, joules and grams of CO2-equivalent.
        gco2_per_kwh: by which these grams were computed.
        genotype: what was found or trained.
        alphas: of a search, see ``darts.searching.alphas.named_history``.
        samples: how many served what, by name.
        confusion: the picture of the classes told from the true ones, SVG.
        importance: of an evaluation, see ``darts.judging.edge_importance.importances``.
        trials: of a study, by the columns of ``trials.csv``.
        best: of a study.
    """

    directory: Path
    command: str
    config: dict[str, Any]
    config_text: str
    overrides: list[str] | None
    env: dict[str, Any]
    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    gco2_per_kwh: float | None
    genotype: Any
    alphas: dict[str, Any]
    samples: dict[str, int]
    confusion: bytes | None
    importance: dict[str, Any]
    trials: list[dict[str, str]]
    best: dict[str, Any]

    @property
    def name(self) -> str:
        """What the configuration calls the run; of an evaluation that of the retraining."""
        named = self.summary if self.command == "evaluate" else self.config
        return str(named.get("name", self.directory.name))

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.summary)

    @property
    def metric(self) -> str:
        """The score that steered."""
        return str(self.config.get("metric", self.summary.get("metric", "accuracy")))

    @property
    def part(self) -> str:
        """The data whose confusions are drawn."""
        return str(self.config.get("part", "test"))

    @property
    def progress(self) -> str:
        """How far the run has come, in words."""
        if self.finished:
            return "finished"
        if self.command == "tune":
            return f"not finished: {len(self.trials)} trials"
        done = self.rows[-1]["epoch"] if self.rows else 0
        return f"not finished: epoch {done} of {self.config.get('epochs', '?')}"

    @property
    def numbers(self) -> dict[str, Any]:
        """Scores and costs: those of the end, else those of the last epoch so far."""
        return self.summary or (self.rows[-1] if self.rows else {})


def read_run(directory: Path) -> RunRecord:
    """Read a run directory.

    Raises:
        ValueError: in one line, when it is of none of ``COMMANDS``, or one of its files is damaged.
    """
    if not directory.is_dir():
        raise ValueError(f"{str(directory)!r} is no directory; name one of a run")
    if not (directory / "config.yaml").is_file():
        raise ValueError(f"{str(directory)!r} is no run directory: it has no config.yaml")
    summary = _json(directory / "summary.json")
    began = _json(directory / "overrides.json")
    command = began.get("command", summary.get("command"))
    if command not in COMMANDS:
        raise ValueError(
            f"{str(directory)!r} is a run of {command}; a report takes those of "
            f"{', '.join(COMMANDS)}"
        )
    text = (directory / "config.yaml").read_text(encoding="utf-8")
    energy = _json(directory / "energy.json")
    metrics = directory / "metrics.jsonl"
    drawn = "confusion.svg" if command == "evaluate" else "confusion_test.svg"
    confusion = directory / drawn
    rows = read_metrics(metrics) if metrics.is_file() else []
    return RunRecord(
        directory=directory,
        command=command,
        config=_yaml(directory / "config.yaml", text),
        config_text=text,
        overrides=[str(o) for o in began["overrides"]] if "overrides" in began else None,
        env=_json(directory / "env.json"),
        summary=summary,
        rows=[row for row in rows if isinstance(row.get("epoch"), int)],
        phases=list(energy.get("phases", [])),
        gco2_per_kwh=energy.get("gco2_per_kwh"),
        genotype=_genotype(directory / "genotype.json"),
        alphas=_json(directory / "alphas.json"),
        samples=_samples(directory / "split.npz"),
        confusion=confusion.read_bytes() if confusion.is_file() else None,
        importance=_json(directory / "importance.json"),
        trials=_trials(directory / "trials.csv"),
        best=_json(directory / "best.json"),
    )


def group_evaluations(records: Sequence[RunRecord]) -> list[tuple[int, list[int]]]:
    """Which runs stand on their own, and which evaluations belong to each of them, by number.

    An evaluation belongs to the retraining in whose directory its checkpoint lies, if that is one
    of the runs.
    """
    trained = {
        record.directory.resolve(): number
        for number, record in enumerate(records)
        if record.command == "retrain"
    }
    owners: list[int | None] = []
    for record in records:
        checkpoint = record.summary.get("checkpoint") if record.command == "evaluate" else None
        folder = Path(str(checkpoint)).parent.resolve() if checkpoint else None
        owners.append(trained.get(folder) if folder else None)
    return [
        (number, [own for own, owner in enumerate(owners) if owner == number])
        for number, owner in enumerate(owners)
        if owner is None
    ]


def short_run_names(records: Sequence[RunRecord]) -> list[str]:
    """What to call each run: the end of its path, as long as it takes to tell them apart."""
    parts = [record.directory.resolve().parts for record in records]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return ["/".join(own) for own in parts]


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds by name; nothing if it is not there."""
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it should hold names with values")
    return content


def _yaml(path: Path, text: str) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it should hold keys with values")
    return content


def _genotype(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return parse_genotype(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _samples(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as parts:
        return {name: len(parts[name]) for name in parts.files}


def _trials(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    text = io.StringIO(path.read_text(encoding="utf-8"), newline="")
    return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(text)]
