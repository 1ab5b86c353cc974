"""The files of a run directory, read for reports. Reading changes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darts.judging.edge_importance import EdgeImportances
from darts.reading import JsonObject, read_json
from darts.searching.alphas import GroupHistory
from darts.spaces import AnyGenotype, parse_genotype
from darts.tracking import read_metrics
from darts.tracking.ledger import PhaseCost

COMMANDS = ("search", "retrain", "evaluate", "tune")
"""Commands whose runs reports support."""


class ImportanceFile(EdgeImportances):
    """Content of ``importance.json``: the importances, their metric and the number of samples."""

    metric: str
    samples: int


@dataclass(frozen=True)
class RunRecord:
    """Content of a run directory. What does not exist (yet) is empty or None."""

    directory: Path
    command: str  # one of `COMMANDS`
    config: JsonObject  # content of config.yaml
    config_text: str  # the same as YAML
    overrides: list[str] | None  # arguments of the command line; None if unknown
    env: JsonObject  # software, hardware and git revision
    summary: JsonObject  # scores and costs; empty until the run has finished
    rows: list[JsonObject]  # rows of metrics.jsonl that end an epoch
    phases: list[PhaseCost]  # cost by phase and source
    gco2_per_kwh: float | None  # emissions in grams per kilowatt-hour, from which gco2e is computed
    genotype: AnyGenotype | None  # result of a search, architecture of a retraining
    alphas: dict[str, GroupHistory]  # by group, the probabilities of a search over the epochs
    samples: dict[str, int]  # number of samples of each subset and split
    confusion: bytes | None  # confusion matrix as SVG
    importance: ImportanceFile | None  # edge importances of an evaluation
    trials: list[dict[str, str]]  # rows of trials.csv of a study
    best: JsonObject  # best trial of a study

    @property
    def name(self) -> str:
        """Name of the run in its configuration; of an evaluation, the name of the retraining."""
        source = self.summary if self.command == "evaluate" else self.config
        return str(source.get("name", self.directory.name))

    @property
    def finished(self) -> bool:
        """Whether the run has finished."""
        return bool(self.summary)

    @property
    def metric(self) -> str:
        """The steering metric, for example ``accuracy``."""
        return str(self.config.get("metric", self.summary.get("metric", "accuracy")))

    @property
    def split(self) -> str:
        """Split of the data set that an evaluation scores: ``valid`` or ``test``."""
        return str(self.config.get("split", "test"))

    @property
    def progress(self) -> str:
        """Progress of the run as text, for example "finished"."""
        if self.finished:
            return "finished"
        if self.command == "tune":
            return f"not finished: {len(self.trials)} trials"
        done = self.rows[-1]["epoch"] if self.rows else 0
        return f"not finished: epoch {done} of {self.config.get('epochs', '?')}"

    @property
    def numbers(self) -> JsonObject:
        """Summary of a finished run; the last row of the metrics of an unfinished one."""
        return self.summary or (self.rows[-1] if self.rows else {})


def read_run(directory: Path) -> RunRecord:
    """Read a run directory.

    Raises:
        ValueError: If it is not a run directory of one of ``COMMANDS``, or a file is damaged.
    """
    if not directory.is_dir():
        raise ValueError(f"{str(directory)!r} is not a directory; name a run directory")
    if not (directory / "config.yaml").is_file():
        raise ValueError(f"{str(directory)!r} is not a run directory: it has no config.yaml")
    summary = _read_object(directory / "summary.json")
    start = _read_object(directory / "overrides.json")
    command = start.get("command", summary.get("command"))
    if command not in COMMANDS:
        raise ValueError(
            f"{str(directory)!r} is a run of command {command}; reports support "
            f"{', '.join(COMMANDS)}"
        )
    text = (directory / "config.yaml").read_text(encoding="utf-8")
    energy = _read_object(directory / "energy.json")
    metrics, importance = directory / "metrics.jsonl", directory / "importance.json"
    rows = read_metrics(metrics) if metrics.is_file() else []
    confusion = directory / f"confusion{'' if command == 'evaluate' else '_test'}.svg"
    return RunRecord(
        directory=directory,
        command=command,
        config=_parse_yaml(directory / "config.yaml", text),
        config_text=text,
        overrides=[str(o) for o in start["overrides"]] if "overrides" in start else None,
        env=_read_object(directory / "env.json"),
        summary=summary,
        rows=[row for row in rows if isinstance(row.get("epoch"), int)],
        phases=list(energy.get("phases", [])),
        gco2_per_kwh=energy.get("gco2_per_kwh"),
        genotype=_read_genotype(directory / "genotype.json"),
        alphas=_read_object(directory / "alphas.json"),
        samples=_count_samples(directory / "split.npz"),
        confusion=confusion.read_bytes() if confusion.is_file() else None,
        importance=read_json(importance) if importance.is_file() else None,
        trials=_read_csv(directory / "trials.csv"),
        best=_read_object(directory / "best.json"),
    )


def group_evaluations(records: Sequence[RunRecord]) -> list[tuple[int, list[int]]]:
    """Return the index of each run that has its own article, with the indices of its evaluations.

    An evaluation belongs to the retraining whose directory contains its checkpoint. If that
    retraining is not among the runs, the evaluation has its own article.
    """
    retrainings = {
        record.directory.resolve(): index
        for index, record in enumerate(records)
        if record.command == "retrain"
    }
    owners: list[int | None] = []
    for record in records:
        checkpoint = record.summary.get("checkpoint") if record.command == "evaluate" else None
        folder = Path(str(checkpoint)).parent.resolve() if checkpoint else None
        owners.append(retrainings.get(folder) if folder else None)
    return [
        (index, [evaluation for evaluation, other in enumerate(owners) if other == index])
        for index, owner in enumerate(owners)
        if owner is None
    ]


def short_run_names(records: Sequence[RunRecord]) -> list[str]:
    """Return the last parts of the path of each run, as few as distinguish all runs."""
    paths = [record.directory.resolve().parts for record in records]
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return ["/".join(path) for path in paths]


def _read_object(path: Path) -> JsonObject:
    """Read a JSON object; return an empty one if the file does not exist."""
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it must contain a JSON object")
    return content


def _parse_yaml(path: Path, text: str) -> JsonObject:
    """Return a YAML file's content, which must be a mapping; ``path`` is for error messages."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it must contain a mapping")
    return content


def _read_genotype(path: Path) -> AnyGenotype | None:
    if not path.is_file():
        return None
    try:
        return parse_genotype(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _count_samples(path: Path) -> dict[str, int]:
    """Return the number of samples of each subset and split, from their indices."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as indices:
        return {name: len(indices[name]) for name in indices.files}


def _read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column; missing values are empty strings."""
    if not path.is_file():
        return []
    text = io.StringIO(path.read_text(encoding="utf-8"), newline="")
    return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(text)]
