"""What data a file or folder holds: the settings that ``darts.find PATH`` begins with.

Names of files decide, and for a table the numbers in its target column.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darts.data import decode
from darts.data.audio import SUFFIXES as RECORDINGS
from darts.data.columns import FEW, NUMBER, as_number, infer, is_missing
from darts.data.table_file import find_tables, read_table

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
        raise ValueError(f"{path}: there is no such file or folder")
    found = _file(path, label) if path.is_file() else _folder(path, label)
    if found is None:
        raise ValueError(f"{path}: no known data; it can be {LAYOUTS}; or set dataset=NAME")
    return Guess({**found.settings, "dataset.root": str(path)}, found.reason)


def _file(path: Path, label: str | None) -> Guess | None:
    return _table(path, label) if path.suffix.lower() in TABLES else None


def _folder(path: Path, label: str | None) -> Guess | None:
    for name, layout in (("train.npz", "npz"), ("train_x.npy", "challenge")):
        if (path / name).is_file():
            return Guess({"dataset": layout, **_array_task(path / "train_y.npy")}, name)
    if "train" in (tables := find_tables(path)):
        return _texts(tables["train"]) or _table(tables["train"], label)
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


def _array_task(file: Path) -> dict[str, str]:
    """Return the task for the targets in a file, if there is one."""
    if not file.is_file():
        return {}
    targets = np.load(file, mmap_mode="r", allow_pickle=False)
    is_number = targets.dtype.kind == "f" and bool((targets != np.round(targets)).any())
    return {"task": "regression"} if is_number else {}


def _texts(file: Path) -> Guess | None:
    """Return the guess for a table of a class and a text, with the names of these columns."""
    if sorted(read_table(file).columns) != ["label", "text"]:
        return None
    settings = {"dataset": "documents", "task": "text_classification"}
    return Guess(settings, f"{file.name} with the columns label and text")


def _table(file: Path, label: str | None) -> Guess:
    table = read_table(file)
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
