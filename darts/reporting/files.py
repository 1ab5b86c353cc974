"""Reading of the files of a run directory, which may be damaged or untrusted."""

from __future__ import annotations

import csv
import io
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias, TypedDict, TypeVar
from xml.etree import ElementTree

from msgspec import Meta

from darts.config.fields import flatten
from darts.config.overrides import is_plain_override
from darts.reading import (
    MIB,
    FileError,
    JsonObject,
    damage,
    one_line,
    read_bytes,
    read_json_object,
    read_npz,
    read_text,
)
from darts.searching.alphas import GroupHistory, Label
from darts.spaces import AnyGenotype, parse_genotype
from darts.tracking import read_metrics
from darts.tracking.ledger import Cost, PhaseCost
from darts.typed_values import Name, Number, entry, typed
from darts.writing import is_machine_failure

T = TypeVar("T")

_METRICS_LIMIT = 32 * MIB
_TABLE_LIMIT = 16 * MIB
_SVG_LIMIT = 4 * MIB
_SPLIT_LIMIT = 128 * MIB
_TRAINING = [["darts", command] for command in ("search", "retrain")]
_Row: TypeAlias = dict[Name, str | bool | int | Number | None]
_Summary: TypeAlias = dict[Name, str | bool | int | Number | dict[Name, int | Number] | None]
Alphas: TypeAlias = Annotated[dict[Label, GroupHistory], Meta(max_length=8)]


@dataclass(frozen=True)
class Start:
    """Content of ``overrides.json``."""

    command: Name
    overrides: list[str]


class Retraining(TypedDict):
    """Content of retrain.json."""

    overrides: list[str]


class EnergyFile(TypedDict):
    """Content of ``energy.json``."""

    gco2_per_kwh: Cost | None
    phases: Annotated[list[PhaseCost], Meta(max_length=100)]


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a study, from ``best.json``."""

    parameters: _Row | None = None
    command: str | None = None  # that trains it again


@dataclass
class RunFiles:
    """The files of a run directory; ``notes`` has a sentence about each damaged one."""

    directory: Path
    notes: list[str] = field(default_factory=list)

    def required(self, name: str, parse: Callable[[Path], T]) -> T | None:
        """Return what ``parse`` reads from a file, or None if the file does not exist."""
        path = self.directory / name
        try:
            with damage(f"{path} is damaged"):
                return parse(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if is_machine_failure(error):
                raise
            raise FileError(f"{path} cannot be read: {one_line(error)}") from None

    def optional(self, name: str, parse: Callable[[Path], T]) -> T | None:
        """Return what ``parse`` reads from a file, or None if it does not exist or is damaged.

        A damaged file causes one warning and adds one of the notes.
        """
        try:
            return self.required(name, parse)
        except (FileError, OSError) as error:
            self.notes.append(f"{one_line(error)}. This page leaves {name} out.")
            warnings.warn(f"{one_line(error)}; {name} is left out", stacklevel=2)
            return None

    def json(self, name: str, kind: type[T]) -> T | None:
        """Return the content of a JSON file, or None if it does not exist or is damaged."""
        return self.optional(name, lambda path: typed(kind, read_json_object(path)))


def read_summary(path: Path) -> JsonObject:
    """Return the results of a run."""
    summary: JsonObject = typed(_Summary, read_json_object(path), "summary")
    entry(summary, "command", Name)
    return summary


def read_rows(path: Path) -> list[JsonObject]:
    """Return the rows of metrics.jsonl that end an epoch."""
    return [row for row in read_jobs(path) if row.get("epoch") is not None]


def read_jobs(path: Path) -> list[JsonObject]:
    """Return the rows of jobs.jsonl, one for each job that has ended."""
    return [typed(_Row, row, "row") for row in read_metrics(path, limit=_METRICS_LIMIT)]


def read_environment(path: Path) -> JsonObject:
    """Return the environment of a run by dotted name, without the command."""
    env = dict(flatten(read_json_object(path)))
    return {name: value for name, value in env.items() if value is not None and name != "command"}


def read_genotype(path: Path) -> AnyGenotype:
    """Return the genotype in a small file."""
    return parse_genotype(read_text(path, limit=MIB))


def read_best(path: Path) -> BestTrial:
    """Return the best trial of a study; ``ValueError`` if its command does more than train it."""
    best = typed(BestTrial, read_json_object(path))
    if best.command is None:
        return best
    words = shlex.split(best.command)  # a reader will copy the command
    if words[:2] not in _TRAINING or not all(map(is_plain_override, words[2:])):
        raise ValueError("command must only set keys of a search or a retraining")
    return BestTrial(best.parameters, shlex.join(words))


def read_table(path: Path) -> list[JsonObject]:
    """Return the rows of a CSV file: numbers and texts; missing values are empty strings."""
    text = io.StringIO(read_text(path, limit=_TABLE_LIMIT), newline="")
    reader = csv.DictReader(text, strict=True)
    rows: list[JsonObject] = []
    for row in reader:
        if None in row or None in row.values():
            cells = len(reader.fieldnames or ())
            raise ValueError(f"line {reader.line_num} must have {cells} cells")
        rows.append({name: _value(cell) for name, cell in row.items()})
    return rows


def _value(text: str) -> str | float:
    """Return the number that a text is, unless its square is infinite; otherwise the text."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not abs(value) < 1e100:
        return text
    return int(value) if value.is_integer() and "." not in text else value


def read_svg(path: Path) -> bytes:
    """Return the content of an SVG file. It is well-formed, but may contain anything."""
    content = read_bytes(path, limit=_SVG_LIMIT)
    ElementTree.fromstring(content)
    return content


def count_samples(path: Path) -> dict[str, int]:
    """Return the number of samples of each subset and split, from their indices."""
    return {name: len(indices) for name, indices in read_npz(path, limit=_SPLIT_LIMIT).items()}
