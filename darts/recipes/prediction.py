"""The table of predictions for the samples of files, folders, texts or standard input."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darts.config import ConfigError, Invocation, PredictConfig
from darts.data.arrays import SUFFIXES as ARRAY_SUFFIXES
from darts.data.arrays import read_images
from darts.data.audio import SUFFIXES as RECORDING_SUFFIXES
from darts.data.decode import SUFFIXES as IMAGE_SUFFIXES
from darts.data.table_columns import encode
from darts.data.table_file import SUFFIXES as TABLE_SUFFIXES
from darts.data.table_file import read_table
from darts.data.targets import CLASSES, LABELS, NUMBERS
from darts.data.text_file import TEXT_LIMIT, read_lines
from darts.reading import JsonObject
from darts.recipes.model import Predictions, load
from darts.recipes.model import predict as predict_samples
from darts.recipes.sample_inputs import (
    EncodedRow,
    Preprocessing,
    RecordingInput,
    RowInput,
    TextInput,
    Transform,
)
from darts.tracking import Console, print_lines, print_summary
from darts.tracking.formats import aligned
from darts.tracking.metrics import csv_text
from darts.training.checkpoint import find_checkpoint
from darts.training.device import resolve_device
from darts.training.run_directory import RunDirectory
from darts.writing import write_atomically

STANDARD_INPUT = "-"
_SHOWN = 10  # predictions that are printed
_WIDTH = 48  # characters of a printed cell
_TEXT_FILES = (*TABLE_SUFFIXES, ".tsv", ".txt")


@dataclass(frozen=True)
class Samples:
    """Samples of one or more inputs."""

    column: str  # the first one of the table of predictions: file, line, index in an array, or text
    names: Sequence[str]
    values: Sequence[object]
    sources: Sequence[str]  # files and folders that were read, and texts


def check(config: PredictConfig) -> None:
    """Raise ConfigError for invalid values, before the network is loaded."""
    find_checkpoint(config.checkpoint)
    if not config.input:
        raise ConfigError("input=[]: name at least one file or folder")
    resolve_device(config.device)


def predict(config: PredictConfig, invocation: Invocation) -> JsonObject:
    """Predict classes, labels or numbers and write them as a table; return the summary."""
    model = load(config.checkpoint, resolve_device(config.device))
    samples = read_samples(config.input, model.transform)
    _check_output(config, samples)
    with RunDirectory(invocation.directory, "predict") as files:
        files.claim_unused(numbered=invocation.numbered, repeatable=True)
        with Console(total_steps=len(samples.values), name="predict") as console:

            def counted() -> Iterator[object]:
                for value in samples.values:
                    yield value
                    console.step()

            predictions = predict_samples(model, counted(), batch_size=config.batch_size)
        output = Path(config.output) if config.output else files.path / "predictions.csv"
        files.begin(config, invocation.overrides)
        write_atomically(output, _table(samples, predictions))
        summary = files.finish({"samples": len(samples.values), "file": str(output)})
    more = len(samples.values) - _SHOWN
    rest = [f"and {more:,} more in {output}"] if more > 0 else []
    print_lines(*_shown(samples, predictions), *rest, "")
    print_summary("predict", {key: summary[key] for key in ("samples", "file")})
    return summary


def _check_output(config: PredictConfig, samples: Samples) -> None:
    """Raise ConfigError if the output would overwrite a sample, the input or the checkpoint."""
    if config.output is None:
        return
    output = Path(config.output).resolve()
    files = [Path(value) for value in samples.values if isinstance(value, Path)]
    used = [*map(Path, samples.sources), find_checkpoint(config.checkpoint), *files]
    if any(output == file.resolve() for file in used):
        raise ConfigError(
            f"output={config.output!r}: is part of the input or the checkpoint, which would be "
            "overwritten"
        )


def read_samples(places: Sequence[str], transform: Transform) -> Samples:
    """Return the samples of all inputs, of the kind that a transform takes.

    An input is a file, a folder, a pattern such as ``photos/*.jpg``, or ``-`` for standard input;
    for networks of texts, any other input is a text.
    """
    parts = [part for place in places for part in _read(place, transform)]
    first = parts[0]
    for part in parts:
        if part.column != first.column:
            raise ConfigError(
                f"input: {first.sources[0]!r} and {part.sources[0]!r} are different kinds of "
                "inputs; predict them with one command each"
            )
    is_numbered = first.column in ("line", "index") and len(parts) > 1
    return Samples(
        first.column,
        [f"{p.sources[0]}:{name}" if is_numbered else name for p in parts for name in p.names],
        [value for part in parts for value in part.values],
        [source for part in parts for source in part.sources],
    )


def _read(place: str, transform: Transform) -> list[Samples]:
    """Return the samples of an input, separately for each file or folder."""
    if place == STANDARD_INPUT:
        return _read_standard_input(transform)
    if paths := _matches(place):
        return [_read_path(path, transform) for path in paths]
    is_pattern = "*" in place and len(place.split()) == 1
    is_file = is_pattern or Path(place).suffix.lower() in _TEXT_FILES
    if isinstance(transform, TextInput) and place.strip() and not is_file:
        return [Samples("text", [place], [place], [place])]
    pattern = "no file or folder matches this pattern"
    problem = pattern if glob.has_magic(place) else "there is no such file or folder"
    raise ConfigError(f"input={place!r}: {problem}")


def _matches(place: str) -> list[Path]:
    """Return the file or folder of this name, or those that match a pattern.

    What is in a folder that matches is left out, since the folder contains it.
    """
    if os.path.exists(place):  # unlike Path.exists, also for a text that is too long for a path
        return [Path(place)]
    found = {Path(path) for path in glob.glob(place, recursive=True)}
    return sorted(path for path in found if found.isdisjoint(path.parents))


def _read_standard_input(transform: Transform) -> list[Samples]:
    """Return the rows or texts in standard input, or the samples of the files that it names."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "input"  # tables and texts are read from regular files
        file.write_bytes(sys.stdin.buffer.read(TEXT_LIMIT + 1))
        try:
            if isinstance(transform, RowInput | TextInput) and file.stat().st_size:
                return [replace(_read_path(file, transform), sources=[STANDARD_INPUT])]
            places = [line.strip() for line in read_lines(file) if line.strip()]
            if not places:
                raise ConfigError(f"input={STANDARD_INPUT!r}: standard input is empty")
            return [part for place in places for part in _read(place, transform)]
        except ValueError as error:
            raise ConfigError(str(error).replace(str(file), "standard input")) from None


def _read_path(path: Path, transform: Transform) -> Samples:
    """Return the samples of a file or folder.

    Images and recordings are files; images may also be in an array. Rows are lines of a CSV file
    with the columns of the training table. Texts are the column of a CSV file that the training
    read, or the lines of another text file.
    """
    place = str(path)
    if isinstance(transform, Preprocessing) and path.suffix.lower() in ARRAY_SUFFIXES:
        images = read_images(path, "NCL" if transform.shape[1] == 1 else "NHW")
        return Samples("index", list(map(str, range(len(images)))), list(images), [place])
    if isinstance(transform, RecordingInput):
        return _files(path, RECORDING_SUFFIXES, "a recording", "recordings")
    if not isinstance(transform, RowInput | TextInput):
        return _files(path, IMAGE_SUFFIXES, "an image file", "images")
    if not path.is_file():
        kind = "a CSV file" if isinstance(transform, RowInput) else "a CSV or text file"
        raise ConfigError(f"input={place!r}: must be {kind}, as the network was trained on one")
    numbered: Sequence[tuple[int, object]]
    if isinstance(transform, RowInput):
        table = read_table(path)
        table.check_columns(transform.encoding.names, " of the training table")
        rows = map(EncodedRow, encode(transform.encoding, table))
        numbered = list(zip(table.lines(), rows, strict=True))
    else:
        numbered = _read_texts(path, transform.column)
    if not numbered:
        raise ConfigError(f"input={place!r}: has no samples")
    return Samples("line", [str(n) for n, _ in numbered], [v for _, v in numbered], [place])


def _files(path: Path, suffixes: tuple[str, ...], noun: str, plural: str) -> Samples:
    """Return a file, or all files with one of the suffixes in a folder and its folders, sorted."""
    found = [path]
    if not path.is_file():
        found = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file()
        )
    if not found:
        raise ConfigError(
            f"input={str(path)!r}: must be {noun} or a folder with {plural} ({', '.join(suffixes)})"
        )
    return Samples("file", [str(file) for file in found], found, [str(path)])


def _read_texts(path: Path, column: str) -> list[tuple[int, str]]:
    """Return the texts of a file with the lines in which they end."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        lines = enumerate(read_lines(path), start=1)
        return [(number, line.rstrip("\n")) for number, line in lines if line.strip()]
    table = read_table(path)
    table.check_columns([column], " for dataset.text")
    return [*zip(table.lines(), map(str, table.cells[column]), strict=True)]


def _table(samples: Samples, predictions: Predictions) -> str:
    """Return CSV with a row for each sample.

    The columns are the name of the sample; its class and the probability of each class, or its
    labels and the probability of each label, or the predicted numbers.
    """
    is_number = predictions.targets == NUMBERS
    columns: list[tuple[str, Sequence[str]]] = [(samples.column, samples.names)]
    if predictions.targets == CLASSES:
        columns.append(("class", predictions.classes))
    elif predictions.targets == LABELS:
        columns.append(("labels", [";".join(labels) for labels in predictions.labels]))
    for name, values in zip(predictions.names, predictions.values.t().tolist(), strict=True):
        title, form = (name, ".9g") if is_number else (f"probability of {name}", ".6f")
        columns.append((title, [format(value, form) for value in values]))
    rows = zip(*(values for _, values in columns), strict=True)
    return csv_text([[title for title, _ in columns], *rows])


def _shown(samples: Samples, predictions: Predictions) -> list[str]:
    """Return the lines of a table with the first predictions, for a person."""
    names, rows = samples.names[:_SHOWN], predictions.values[:_SHOWN].tolist()
    if samples.column != "text":  # the end of a path identifies the file
        names = [name if len(name) <= _WIDTH else f"...{name[3 - _WIDTH :]}" for name in names]
    columns = [[samples.column, *names]]
    if predictions.targets == CLASSES:
        columns.append(["class", *predictions.classes[:_SHOWN]])
        columns.append(["probability", *(f"{100 * max(row):5.1f} %" for row in rows)])
    elif predictions.targets == LABELS:
        pairs = [zip(predictions.names, row, strict=True) for row in rows]
        chosen = [[f"{name} {100 * p:.1f} %" for name, p in row if p > 0.5] for row in pairs]
        columns.append(["labels", *(", ".join(labels) or "-" for labels in chosen)])
    else:
        for name, values in zip(predictions.names, zip(*rows, strict=True), strict=True):
            columns.append([name, *(f"{value:.6g}" for value in values)])
    cut = [[c if len(c) <= _WIDTH else f"{c[: _WIDTH - 3]}..." for c in own] for own in columns]
    return aligned([*zip(*cut, strict=True)])
