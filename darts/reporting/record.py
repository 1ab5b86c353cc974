"""The content of a run directory, read for reports. Reading changes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from darts.reading import YAML_LIMIT, FileError, JsonObject, read_json_object, read_text, read_yaml
from darts.reporting import files as reading
from darts.reporting.files import Alphas, BestTrial, EnergyFile, RunFiles, Start, read_table
from darts.searching.alphas import GroupHistory
from darts.spaces import AnyGenotype
from darts.tracking.ledger import PhaseCost
from darts.tracking.race_log import Slice, read_race
from darts.typed_values import typed

# Commands whose runs reports support.
COMMANDS = ("search", "retrain", "evaluate", "tune", "find")


@dataclass(frozen=True)
class RunRecord:
    """Content of a run directory. What does not exist (yet) or is damaged is empty or None."""

    directory: Path
    command: str  # one of `COMMANDS`
    config: JsonObject = field(default_factory=dict)  # content of config.yaml
    config_text: str = ""  # the same as YAML
    overrides: list[str] | None = None  # arguments of the command line; None if unknown
    env: JsonObject = field(default_factory=dict)  # software, hardware and revision by dotted name
    summary: JsonObject = field(default_factory=dict)  # empty until the run has finished
    rows: list[JsonObject] = field(default_factory=list)  # rows of metrics.jsonl that end an epoch
    phases: list[PhaseCost] = field(default_factory=list)  # cost by phase and source
    gco2_per_kwh: float | None = None  # grams, from which gco2e is computed
    genotype: AnyGenotype | None = None  # result of a search, architecture of a retraining
    alphas: dict[str, GroupHistory] = field(default_factory=dict)  # content of alphas.json
    samples: dict[str, int] = field(default_factory=dict)  # of each subset and split
    confusion: bytes | None = None  # confusion matrix as SVG
    trials: list[JsonObject] = field(default_factory=list)  # rows of trials.csv of a study
    best: BestTrial | None = None  # best trial of a study
    candidates: list[JsonObject] = field(default_factory=list)  # rows of candidates.csv
    race: list[Slice] = field(default_factory=list)  # rows of race.jsonl of darts find
    jobs: list[JsonObject] = field(default_factory=list)  # rows of jobs.jsonl of find and tune
    front: list[JsonObject] = field(default_factory=list)  # rows of front.csv of a search
    front_figure: bytes | None = None  # front.svg
    retraining: list[str] = field(default_factory=list)  # retrain.json: overrides of a retraining
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
    ``FileError`` if another file is damaged, or the run is of none of ``COMMANDS``.
    """
    files = RunFiles(directory)
    config_text = files.required("config.yaml", partial(read_text, limit=YAML_LIMIT))
    if config_text is None:
        raise ValueError(f"{str(directory)!r} is not a run directory: it has no config.yaml")
    summary = files.required("summary.json", reading.read_summary) or {}
    start = files.required("overrides.json", lambda path: typed(Start, read_json_object(path)))
    command = summary.get("command") if start is None else start.command
    if command not in COMMANDS:
        raise FileError(
            f"{str(directory)!r} is a run of command {command!r}; reports support "
            f"{', '.join(COMMANDS)}"
        )
    # Parsed after the check of the command: configurations of other commands have other types.
    config = files.required("config.yaml", read_yaml)
    energy = files.json("energy.json", EnergyFile)
    retraining = files.json("retrain.json", reading.Retraining)
    confusion = f"confusion{'' if command == 'evaluate' else '_test'}.svg"
    return RunRecord(
        directory=directory,
        command=command,
        config=config or {},
        config_text=config_text,
        overrides=None if start is None else start.overrides,
        env=files.optional("env.json", reading.read_environment) or {},
        summary=summary,
        rows=files.required("metrics.jsonl", reading.read_rows) or [],
        phases=energy["phases"] if energy else [],
        gco2_per_kwh=energy["gco2_per_kwh"] if energy else None,
        genotype=files.optional("genotype.json", reading.read_genotype),
        alphas=files.json("alphas.json", Alphas) or {},
        samples=files.optional("split.npz", reading.count_samples) or {},
        confusion=files.optional(confusion, reading.read_svg),
        trials=files.optional("trials.csv", read_table) or [],
        best=files.optional("best.json", reading.read_best),
        candidates=files.optional("candidates.csv", read_table) or [],
        race=files.optional("race.jsonl", read_race) or [],
        jobs=files.optional("jobs.jsonl", reading.read_jobs) or [],
        front=files.optional("front.csv", read_table) or [],
        front_figure=files.optional("front.svg", reading.read_svg),
        retraining=retraining["overrides"] if retraining else [],
        notes=tuple(files.notes),
    )


def group_evaluations(records: Sequence[RunRecord]) -> list[tuple[int, list[int]]]:
    """Return the index of each run with a section of its own, with the indices of its evaluations.

    An evaluation belongs to the run whose directory contains its checkpoint. If that run is not
    among the runs, the evaluation has a section of its own.
    """
    retrainings = {
        folder: index
        for index, record in enumerate(records)
        if record.command in ("retrain", "find")
        for folder in (os.path.abspath(record.directory), os.path.realpath(record.directory))
    }
    owners: list[int | None] = []
    for record in records:
        checkpoint = record.summary.get("checkpoint") if record.command == "evaluate" else None
        folder = os.path.dirname(os.path.abspath(str(checkpoint)))
        owners.append(retrainings.get(folder) if checkpoint else None)
    return [
        (index, [evaluation for evaluation, other in enumerate(owners) if other == index])
        for index, owner in enumerate(owners)
        if owner is None
    ]


def short_run_names(records: Sequence[RunRecord]) -> list[str]:
    """Return the name of the directory of each run, or its path if several have the same name."""
    paths = [record.directory.resolve() for record in records]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(set(paths)) else list(map(str, paths))
