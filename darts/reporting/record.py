"""The files of a run directory, read for reports. Reading changes nothing.

A run directory may be damaged or untrusted, so every file has limits and declared types.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from darts.judging.edge_importance import ImportanceFile
from darts.plotting.race import Slice, read_race
from darts.reading import YAML_LIMIT, FileError, JsonObject, read_json_object, read_text, read_yaml
from darts.reporting.contents import (
    MAX_COLUMNS,
    BestTrial,
    alphas_of,
    best_of,
    config_of,
    environment_of,
    importance_of,
    phases_of,
    row_of,
)
from darts.reporting.files import (
    METRICS_LIMIT,
    SUMMARY_LIMIT,
    RunFiles,
    count_samples,
    read_svg,
    read_table,
)
from darts.searching.alphas import GroupHistory
from darts.spaces import AnyGenotype, parse_genotype
from darts.tracking import read_metrics
from darts.tracking.ledger import PhaseCost
from darts.typed_values import Name, entry, typed

COMMANDS = ("search", "retrain", "evaluate", "tune", "find")
"""Commands whose runs reports support."""

_MAX_EDGES = 300  # of a genotype


@dataclass(frozen=True)
class RunRecord:
    """Content of a run directory. What does not exist (yet) or is damaged is empty or None."""

    directory: Path
    command: str  # one of `COMMANDS`
    config: JsonObject  # content of config.yaml
    config_text: str  # the same as YAML
    overrides: list[str] | None  # arguments of the command line; None if unknown
    env: JsonObject  # software, hardware and git revision by dotted name
    summary: JsonObject  # scores and costs; empty until the run has finished
    rows: list[JsonObject]  # rows of metrics.jsonl that end an epoch
    phases: list[PhaseCost]  # cost by phase and source
    gco2_per_kwh: float | None  # emissions in grams per kilowatt-hour, from which gco2e is computed
    genotype: AnyGenotype | None  # result of a search, architecture of a retraining
    alphas: dict[
        str, GroupHistory
    ]  # content of alphas.json: by group, the probabilities over the epochs
    samples: dict[str, int]  # number of samples of each subset and split
    confusion: bytes | None  # confusion matrix as SVG
    importance: ImportanceFile | None  # edge importances of an evaluation
    trials: list[JsonObject]  # rows of trials.csv of a study
    best: BestTrial | None  # best trial of a study
    candidates: list[JsonObject]  # rows of candidates.csv of darts.find
    race: list[Slice] = field(default_factory=list)  # rows of race.jsonl of darts.find
    front: list[JsonObject] = field(default_factory=list)  # rows of front.csv of a search
    front_figure: bytes | None = None  # front.svg
    notes: tuple[str, ...] = ()  # a sentence about each damaged file that was left out

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
        if name := self.config.get("metric") or self.summary.get("metric"):
            return str(name)
        if self.command != "find":
            return "accuracy"
        # Of an interrupted run, candidates.csv has the steering metric before other ones.
        columns = self.candidates[0] if self.candidates else ()
        scores = (name.removeprefix("valid_") for name in columns if name.startswith("valid_"))
        return next(scores, "score")

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
        if self.command == "find":
            return f"not finished: {len({row['candidate'] for row in self.race})} candidates"
        done = self.rows[-1]["epoch"] if self.rows else 0
        return f"not finished: epoch {done} of {self.config.get('epochs', '?')}"

    @property
    def numbers(self) -> JsonObject:
        """Summary of a finished run; the last row of the metrics of an unfinished one."""
        return self.summary or (self.rows[-1] if self.rows else {})


def read_run(directory: Path) -> RunRecord:
    """Read a run directory.

    A damaged file that a page can do without causes one warning and adds one of the ``notes``.

    Raises:
        FileError: If config.yaml, overrides.json, metrics.jsonl or summary.json is damaged, or the
            run is of none of ``COMMANDS``.
        ValueError: If it is not a run directory.
        OSError: If the disk fails.
    """
    files = RunFiles(directory)
    if not directory.is_dir():
        raise ValueError(f"{str(directory)!r} is not a directory; name a run directory")
    config_text = files.required("config.yaml", partial(read_text, limit=YAML_LIMIT))
    if config_text is None:
        raise ValueError(f"{str(directory)!r} is not a run directory: it has no config.yaml")
    summary = files.required("summary.json", _read_summary) or {}
    start = files.required("overrides.json", _read_start)
    command = summary.get("command") if start is None else start.command
    if command not in COMMANDS:
        raise FileError(
            f"{str(directory)!r} is a run of command {command!r}; reports support "
            f"{', '.join(COMMANDS)}"
        )
    if summary.get("command", command) != command:
        raise FileError(f"{directory}: overrides.json and summary.json name different commands")
    # Parsed after the check of the command: configurations of other commands have other types.
    config = files.required("config.yaml", lambda path: config_of(read_yaml(path))) or {}
    phases, gco2_per_kwh = files.optional(
        "energy.json", lambda path: phases_of(_read_small(path))
    ) or ([], None)
    genotype = files.optional("genotype.json", _read_genotype)
    importance = None
    if genotype is not None:
        importance = files.optional("importance.json", partial(_read_importance, genotype=genotype))
    confusion = f"confusion{'' if command == 'evaluate' else '_test'}.svg"
    return RunRecord(
        directory=directory,
        command=command,
        config=config,
        config_text=config_text,
        overrides=None if start is None else start.overrides,
        env=files.optional("env.json", lambda path: environment_of(_read_small(path))) or {},
        summary=summary,
        rows=files.required("metrics.jsonl", _read_rows) or [],
        phases=phases,
        gco2_per_kwh=gco2_per_kwh,
        genotype=genotype,
        alphas=files.optional("alphas.json", lambda path: alphas_of(read_json_object(path))) or {},
        samples=files.optional("split.npz", count_samples) or {},
        confusion=files.optional(confusion, read_svg),
        importance=importance,
        trials=files.optional("trials.csv", read_table) or [],
        best=files.optional("best.json", lambda path: best_of(_read_small(path))),
        candidates=files.optional("candidates.csv", read_table) or [],
        race=files.optional("race.jsonl", read_race) or [],
        front=files.optional("front.csv", read_table) or [],
        front_figure=files.optional("front.svg", read_svg),
        notes=tuple(files.notes),
    )


def group_evaluations(records: Sequence[RunRecord]) -> list[tuple[int, list[int]]]:
    """Return the index of each run with a section of its own, with those of its evaluations.

    An evaluation belongs to the retraining whose directory contains its checkpoint. If that
    retraining is not among the runs, the evaluation has a section of its own.
    """
    retrainings = {
        folder: index
        for index, record in enumerate(records)
        if record.command == "retrain"
        for folder in (os.path.abspath(record.directory), os.path.realpath(record.directory))
    }
    owners: list[int | None] = []
    for record in records:
        checkpoint = record.summary.get("checkpoint") if record.command == "evaluate" else None
        # The path may be untrusted, so nothing is looked up there.
        folder = os.path.dirname(os.path.abspath(checkpoint)) if checkpoint else None
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


@dataclass(frozen=True)
class _Start:
    """Content of ``overrides.json``."""

    command: Name
    overrides: Annotated[list[Annotated[str, Meta(max_length=100_000)]], Meta(max_length=10_000)]


def _read_small(path: Path) -> JsonObject:
    return read_json_object(path, limit=SUMMARY_LIMIT)


def _read_summary(path: Path) -> JsonObject:
    summary = row_of(_read_small(path), "summary")
    entry(summary, "command", Name)
    return summary


def _read_start(path: Path) -> _Start:
    return typed(_Start, _read_small(path))


def _read_rows(path: Path) -> list[JsonObject]:
    """Return the rows of metrics.jsonl that end an epoch."""
    rows = [row_of(row, "row") for row in read_metrics(path, limit=METRICS_LIMIT)]
    names = {name for row in rows for name in row}
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"its rows must have at most {MAX_COLUMNS:,} columns together")
    return [row for row in rows if row.get("epoch") is not None]


def _read_genotype(path: Path) -> AnyGenotype:
    genotype = parse_genotype(read_text(path, limit=SUMMARY_LIMIT))
    edges = sum(len(genotype.edges(cell)) for cell in genotype.cells)
    if edges > _MAX_EDGES:
        raise ValueError(f"it must have at most {_MAX_EDGES:,} edges, not {edges:,}")
    return genotype


def _read_importance(path: Path, genotype: AnyGenotype) -> ImportanceFile:
    return importance_of(_read_small(path), genotype)
