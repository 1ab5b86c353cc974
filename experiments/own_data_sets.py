"""Data sets of ``own_data.py``: rows, texts, documents and recordings in the formats of own data.

Each data set is written to a folder of its own. The splits depend on fixed seeds only, so all
methods and seeds share them.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OVERRIDES = {
    "images": ("dataset=imagefolder",),
    "table": ("dataset=csv",),
    "numbers": ("task=regression", "dataset=csv"),
    "characters": ("task=language_model", "dataset=text", "dataset.level=char"),
    "words": ("task=language_model", "dataset=text", "dataset.level=word"),
    "documents": ("task=text_classification", "dataset=documents"),
    "recordings": ("task=speech", "dataset=audiofolder"),
}
"""Overrides of ``darts.find`` that name the format of each kind of data."""

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """A data set that can be written to a folder.

    Attributes:
        name: Name of the folder.
        kind: Key of ``OVERRIDES``.
        content: What the samples are and where they come from.
        write: Writes the files, given the folder of the published data and the new folder.
        source: Folder below ``--data`` with the published data; None if no download is needed.
    """

    name: str
    kind: str
    content: str
    write: Callable[[Path, Path], None]
    source: str | None = None

    @property
    def metric(self) -> str:
        """Name of the test score; a perplexity is better if it is smaller."""
        if self.kind == "numbers":
            return "r2"
        return "perplexity" if self.kind in ("characters", "words") else "accuracy"

    def prepare(self, data: Path | None, folder: Path) -> bool:
        """Write the files unless they exist; return whether the published data are available."""
        if folder.is_dir():
            return True
        source = Path() if self.source is None else (data or Path()) / self.source
        if self.source is not None and (data is None or not source.is_dir()):
            return False
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.write(source, partial)
        partial.rename(folder)  # last, so that an interrupted preparation starts again
        return True


def split_rows(labels: Sequence[object] | Labels, test: float | int) -> tuple[Labels, Labels]:
    """Return the training and test rows of a stratified split; ``test`` is a share or a number."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    train, held_out = train_test_split(rows, test_size=test, stratify=labels, random_state=0)
    return np.sort(train), np.sort(held_out)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def _write_table(folder: Path, columns: Sequence[str], features: Numbers, labels: Labels) -> None:
    for split, rows in zip(("train", "test"), split_rows(labels, 0.3), strict=True):
        lines = [[*(f"{x:.6g}" for x in features[row]), f"class {labels[row]}"] for row in rows]
        write_csv(folder / f"{split}.csv", [*columns, "class"], lines)


def _scikit_learn(name: str) -> Callable[[Path, Path], None]:
    def write(_: Path, folder: Path) -> None:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        columns = [str(column).replace(" ", "_") for column in bunch.feature_names]
        _write_table(folder, columns, bunch.data, bunch.target)

    return write


def _write_cover(_: Path, folder: Path) -> None:
    """Write rows with measurements, integers and one-hot columns of two categories."""
    from sklearn.datasets import make_classification

    shares = [0.48, 0.36, 0.06, 0.04, 0.03, 0.02, 0.01]
    features, labels = make_classification(
        10_000, 14, n_informative=10, n_redundant=2, n_classes=7, n_clusters_per_class=2,
        weights=shares, class_sep=1.5, flip_y=0.02, random_state=0,
    )  # fmt: skip
    blocks, columns = [], []
    for column in range(14):
        values = features[:, column]
        if column < 6:
            blocks.append(values[:, None])
            columns.append(f"measurement_{column}")
        elif column < 12:
            blocks.append(np.round(100 * values)[:, None])
            columns.append(f"count_{column}")
        else:
            edges = np.quantile(values, np.linspace(0, 1, 9)[1:-1])
            blocks.append(np.eye(8)[np.digitize(values, edges)])
            columns += [f"soil_{column}_{category}" for category in range(8)]
    _write_table(folder, columns, np.concatenate(blocks, 1), labels)


def _write_noisy(_: Path, folder: Path) -> None:
    """Write a nonlinear function of five of twelve columns; 10 % of the labels are wrong."""
    random = np.random.default_rng(0)
    x = random.uniform(-2, 2, (6000, 12))
    value = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] - 0.5 * x[:, 3] ** 2 + np.abs(x[:, 4])
    labels = np.digitize(value, np.quantile(value, (1 / 3, 2 / 3)))
    wrong = random.random(len(labels)) < 0.1
    labels[wrong] = random.integers(0, 3, int(wrong.sum()))
    _write_table(folder, [f"x{column}" for column in range(12)], x, labels)


def _write_numbers(folder: Path, columns: Sequence[str], features: Numbers, y: Numbers) -> None:
    """Write a table whose last column is a number; both parts have all ranges of it."""
    ranges = np.digitize(y, np.quantile(y, np.linspace(0, 1, 11)[1:-1]))
    for split, rows in zip(("train", "test"), split_rows(ranges, 0.3), strict=True):
        lines = [[*(f"{x:.6g}" for x in features[row]), f"{y[row]:.6g}"] for row in rows]
        write_csv(folder / f"{split}.csv", [*columns, "target"], lines)


def _write_diabetes(_: Path, folder: Path) -> None:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    _write_numbers(folder, bunch.feature_names, bunch.data, bunch.target)


def _write_friedman(_: Path, folder: Path) -> None:
    """Write Friedman's function of five of ten columns, with noise."""
    from sklearn.datasets import make_friedman1

    features, y = make_friedman1(4000, 10, noise=1.0, random_state=0)
    _write_numbers(folder, [f"x{column}" for column in range(10)], features, y)


def _text(characters: int) -> Callable[[Path, Path], None]:
    def write(source: Path, folder: Path) -> None:
        """Write the first lines of each split; the test split is the same for all sizes."""
        for split, count in (("train", characters), ("valid", 40_000), ("test", 40_000)):
            text = (source / f"ptb.{split}.txt").read_text(encoding="utf-8")
            end = text.index("\n", count) + 1
            (folder / f"{split}.txt").write_text(text[:end], encoding="utf-8")

    return write


def _news(count: int) -> Callable[[Path, Path], None]:
    def write(source: Path, folder: Path) -> None:
        """Write ``count`` training documents; the 1,600 test documents are always the same."""
        topics = ("world", "sports", "business", "technology")
        with (source / "test.csv").open(encoding="utf-8", newline="") as file:
            rows = [(topics[int(row[0]) - 1], f"{row[1]} {row[2]}") for row in csv.reader(file)]
        labels = [label for label, _ in rows]
        pool, test = split_rows(labels, 1600)
        kept = pool[split_rows([labels[row] for row in pool], count)[1]]
        for split, chosen in (("train", kept), ("test", test)):
            write_csv(folder / f"{split}.csv", ("label", "text"), [rows[row] for row in chosen])

    return write


def fsdd_files(source: Path) -> list[Path]:
    """Return the recordings of the Free Spoken Digit Dataset, named <digit>_<speaker>_<index>."""
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    return sorted(folder.glob("*.wav"))


def _write_recordings(source: Path, folder: Path) -> None:
    """Copy 60 / 20 / 20 % of each digit and speaker to train, valid and test."""
    files = fsdd_files(source)
    groups = [path.stem.rsplit("_", 1)[0] for path in files]
    rest, test = split_rows(groups, 0.2)
    train, valid = split_rows([groups[row] for row in rest], 0.25)
    for split, rows in (("train", rest[train]), ("valid", rest[valid]), ("test", test)):
        for row in rows:
            target = folder / split / files[row].name[0]
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(files[row], target)


ROWS_AND_TEXTS = (
    DataSet("wine", "table", "178 wines, 13 measurements (scikit-learn)", _scikit_learn("wine")),
    DataSet(
        "breast_cancer", "table", "569 tumors, 30 measurements (scikit-learn)",
        _scikit_learn("breast_cancer"),
    ),
    DataSet(
        "digits_rows", "table", "1,797 digits, 64 pixels as columns (scikit-learn)",
        _scikit_learn("digits"),
    ),
    DataSet(
        "cover", "table",
        "10,000 generated rows: measurements, integers, one-hot columns; 7 unbalanced classes",
        _write_cover,
    ),
    DataSet(
        "noisy", "table", "6,000 generated rows, nonlinear, 10 % random labels; 3 classes",
        _write_noisy,
    ),
    DataSet(
        "diabetes", "numbers", "442 patients, 10 measurements; progression (scikit-learn)",
        _write_diabetes,
    ),
    DataSet(
        "friedman", "numbers", "4,000 generated rows, a nonlinear function with noise",
        _write_friedman,
    ),
    DataSet("chars_60k", "characters", "60,000 characters of Penn Treebank", _text(60_000), "ptb"),
    DataSet("chars_300k", "characters", "300,000 characters of the same", _text(300_000), "ptb"),
    DataSet("words_60k", "words", "the 60,000 characters by word", _text(60_000), "ptb"),
    DataSet("words_300k", "words", "the 300,000 characters by word", _text(300_000), "ptb"),
    DataSet("news_2000", "documents", "2,000 items of AG News, 4 topics", _news(2000), "agnews"),
    DataSet("news_5900", "documents", "5,900 items of AG News, 4 topics", _news(5900), "agnews"),
    DataSet(
        "spoken_digits", "recordings", "Free Spoken Digit Dataset, split 60 / 20 / 20 %",
        _write_recordings, "fsdd",
    ),
)  # fmt: skip
