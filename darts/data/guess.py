"""What data a file or folder holds: the settings that ``darts find PATH`` begins with.

Names of files decide, and for a table the numbers in its target column.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darts.data import decode
from darts.data.audio import SUFFIXES as RECORDINGS
from darts.data.columns import FEW, NUMBER, as_number, infer, is_missing
from darts.data.table_file import Table, find_tables, read_table
from darts.key_checks import NO_DATA

TABLES = (".csv", ".tsv", ".parquet")
LAYOUTS = (
    "a table (.csv, .parquet), or a folder with a folder of images or recordings for each class, "
    "or with train.csv, train.npz, train_x.npy, train.txt, or train.de and train.en"
)


@dataclass(frozen=True)
class Guess:
    """Settings by key, and how the data was recognized."""

    settings: Mapping[str, str]
    reason: str


def guess_data(path: Path, label: str | None = None) -> Guess:
    """Return the settings for the data at a path.

    Args:
        path: A file or folder.
        label: The target column of a table; None for the last one.

    Raises:
        ValueError: If there is nothing, or no data in a known layout.
    """
    if not path.exists():
        raise ValueError(f"{path}: {NO_DATA}")
    found: Guess | None = None
    if path.is_dir():
        found = _folder(path, label)
    elif path.suffix.lower() in TABLES:
        found = _table(read_table(path), label)
    if found is None:
        raise ValueError(f"{path}: no known data; it can be {LAYOUTS}; or set dataset=NAME")
    return Guess({**found.settings, "dataset.root": str(path)}, found.reason)


def _folder(path: Path, label: str | None) -> Guess | None:
    for name, layout in (("train.npz", "npz"), ("train_x.npy", "challenge")):
        if (path / name).is_file():
            return Guess({"dataset": layout}, name)
    if "train" in (tables := find_tables(path)):
        table = read_table(tables["train"])
        if sorted(table.columns) != ["label", "text"]:
            return _table(table, label)
        settings = {"dataset": "documents", "task": "text_classification"}
        return Guess(settings, f"{table.path.name} with the columns label and text")
    if (path / "train.txt").is_file():
        return Guess({"dataset": "text", "task": "language_model"}, "train.txt, a running text")
    languages = sorted(file.suffix[1:] for file in path.glob("train.*") if file.is_file())
    if len(languages) == 2:
        settings = {"dataset": "pairs", "task": "translation"}
        settings |= dict(zip(("dataset.source", "dataset.target"), languages, strict=True))
        return Guess(settings, f"train.{languages[0]} and train.{languages[1]}, translations")
    return _class_folders(path / "train" if (path / "train").is_dir() else path)


def _class_folders(folder: Path) -> Guess | None:
    for file in itertools.chain(folder.glob("[!.]*/*"), folder.glob("[!.]*/*/*")):
        for suffixes, name in ((decode.SUFFIXES, "imagefolder"), (RECORDINGS, "audiofolder")):
            if file.suffix.lower() in suffixes:
                noun = "images" if name == "imagefolder" else "recordings"
                return Guess({"dataset": name}, f"folders of {noun}, such as {file}")
    return None


def _table(table: Table, label: str | None) -> Guess:
    target = label or table.columns[-1]
    table.check_columns([target], " for dataset.label")
    cells = table.column(target)
    column = infer(target, cells, prefers_commas=table.delimiter == ";").column
    numbers: set[float] = set()
    if column.kind == NUMBER:
        numbers = {as_number(cell, column.form) for cell in cells if not is_missing(cell)}
    if _are_classes(numbers, len(cells)):
        return Guess({"dataset": "csv"}, f"a table with classes in the column {target!r}")
    reason = f"a table with {len(numbers):,} different numbers in the column {target!r}"
    return Guess({"dataset": "csv", "task": "regression"}, reason)


def _are_classes(numbers: set[float], rows: int) -> bool:
    """Return whether numbers are few, or count from 0 or 1 and have ten rows each on average."""
    if not all(number.is_integer() for number in numbers):
        return False
    counts = len(numbers) > 0 and max(numbers) - min(numbers) == len(numbers) - 1
    return len(numbers) <= FEW or (counts and min(numbers) in (0, 1) and rows >= 10 * len(numbers))
