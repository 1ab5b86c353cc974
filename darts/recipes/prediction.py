"""The table of predictions for the samples of a file or a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from darts.data.text_file import read_lines
from darts.escaping import for_csv
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
from darts.tracking import Console, print_summary
from darts.training.checkpoint import find_checkpoint
from darts.training.device import resolve_device
from darts.training.run_directory import RunDirectory
from darts.writing import write_atomically


@dataclass(frozen=True)
class Samples:
    """Samples that a file or folder contains."""

    column: str  # the first one of the table of predictions: file, or line or index in the one file
    names: Sequence[str]
    values: Sequence[object]


def check(config: PredictConfig) -> None:
    """Raise ConfigError for invalid values, before the network is loaded."""
    find_checkpoint(config.checkpoint)
    if not Path(config.input).exists():
        raise ConfigError(f"input={config.input!r}: there is no such file or folder")
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
    print_summary("predict", {key: summary[key] for key in ("samples", "file")})
    return summary


def _check_output(config: PredictConfig, samples: Samples) -> None:
    """Raise ConfigError if the output would overwrite a sample, the input or the checkpoint."""
    if config.output is None:
        return
    output = Path(config.output).resolve()
    files = [Path(value) for value in samples.values if isinstance(value, Path)]
    used = [Path(config.input), find_checkpoint(config.checkpoint), *files]
    if any(output == file.resolve() for file in used):
        raise ConfigError(
            f"output={config.output!r}: is part of the input or the checkpoint, which would be "
            "overwritten"
        )


def read_samples(place: str, transform: Transform) -> Samples:
    """Return the samples of a file or folder, of the kind that a transform takes.

    Images and recordings are files; images may also be in an array. Rows are lines of a CSV file
    with the columns of the training table. Texts are the column of a CSV file that the training
    read, or the lines of another text file.
    """
    path = Path(place)
    if isinstance(transform, Preprocessing) and path.suffix.lower() in ARRAY_SUFFIXES:
        images = read_images(path, "NCL" if transform.shape[1] == 1 else "NHW")
        return Samples("index", list(map(str, range(len(images)))), list(images))
    if isinstance(transform, RecordingInput):
        return _files(place, RECORDING_SUFFIXES, "a recording", "recordings")
    if not isinstance(transform, RowInput | TextInput):
        return _files(place, IMAGE_SUFFIXES, "an image file", "images")
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
    return Samples("line", [str(n) for n, _ in numbered], [value for _, value in numbered])


def _files(place: str, suffixes: tuple[str, ...], noun: str, plural: str) -> Samples:
    """Return a file, or all files with one of the suffixes in a folder and its folders, sorted."""
    path = Path(place)
    found = [path]
    if not path.is_file():
        found = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file()
        )
    if not found:
        raise ConfigError(
            f"input={place!r}: must be {noun} or a folder with {plural} ({', '.join(suffixes)})"
        )
    return Samples("file", [str(file) for file in found], found)


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
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([for_csv(title) for title, _ in columns])
    for row in zip(*(values for _, values in columns), strict=True):
        writer.writerow([for_csv(value) for value in row])
    return text.getvalue()
