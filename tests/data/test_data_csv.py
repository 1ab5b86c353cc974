"""Tables in CSV and Parquet files, and the piecewise linear encoding of their columns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from load_errors import load_error

from darts.data import load
from darts.data.encodings import MAX_BINS, RowEncoding
from darts.data.source import Source
from darts.data.table_file import read_table

ROWS = ["1,10,x", "2,20,y", "3,30,x", "4,40,y", "5,50,x", "6,60,y", "7,70,x", "8,80,y"]


def write(folder: Path, *lines: str, name: str = "table.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(lines) + end).encode())
    return path


def column(source: Source, split: str, index: int = 0) -> list[float]:
    return getattr(source, split).pixels[:, index, 0, 0].tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_each_delimiter_is_detected(delimiter: str, tmp_path: Path) -> None:
    lines = ["one", "and, two", "kind"], ["1.5", "-2e3", "a b\n"], ["", "", ""], [" 0 ", "7", "c"]
    quoted = [delimiter.join(f'"{cell}"' for cell in cells) for cells in lines]
    table = read_table(write(tmp_path, "\ufeff" + quoted[0], *quoted[1:], "", end="\r\n"))
    assert table.columns == ["one", "and, two", "kind"]
    assert table.numbers(["one", "and, two"]).tolist() == [[1.5, -2000.0], [0.0, 7.0]]
    assert table.texts("kind") == ["a b", "c"]
    assert table.lines() == [3, 5]


def test_default_names_of_a_data_frame_are_a_header(tmp_path: Path) -> None:
    source = load("csv", root=write(tmp_path, "0,1,class", *ROWS), test_share=0.25)
    assert source.encoding.columns == ("0", "1")


def test_parquet_files_are_read_like_csv_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    values = [(n * 0.1, n**2, "xy"[n % 2]) for n in range(12)]
    frame = pd.DataFrame(values, columns=["a", "b", "class"])
    frame.to_parquet(tmp_path / "train.parquet")
    from_folder = load("csv", root=tmp_path)
    file = write(tmp_path, "a,b,class", *(f"{a!r},{b},{c}" for a, b, c in values))
    from_text = load("csv", root=file)
    assert from_folder.encoding == from_text.encoding
    assert torch.equal(from_folder.train.pixels, from_text.train.pixels)
    assert torch.equal(from_folder.train.labels, from_text.train.labels)
    frame.loc[3, "a"] = np.nan
    frame.to_parquet(tmp_path / "train.parquet")
    load_error(r"row 4, column 'a': a value is missing \(''\)", "csv", root=tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1" * 9)
    load_error("is damaged or not a Parquet file", "csv", root=tmp_path)


def test_parquet_files_need_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    load_error(r"train\.parquet: Parquet files need pyarrow; run pip", "csv", root=tmp_path)


def test_splits_of_a_folder_are_read(tmp_path: Path) -> None:
    """All are standardized by the training file; the others may have more columns in any order."""
    write(tmp_path, "a,b,c", *ROWS, name="train.csv")
    write(tmp_path, "c,b,a,extra", "y,45,4.5,-", name="test.csv")
    write(tmp_path, "a,b,c", "2.5,5,x", "9,9,y", name="valid.csv")
    source = load("csv", root=tmp_path)
    assert (len(source.train), len(source.test), len(source.valid)) == (8, 1, 2)
    deviation = np.std(np.arange(1, 9))
    assert column(source, "train") == pytest.approx(((np.arange(1, 9) - 4.5) / deviation).tolist())
    assert source.test.pixels.flatten().tolist() == [0, 0]
    assert column(source, "valid") == pytest.approx([-2 / deviation, 4.5 / deviation])
    assert (source.test.labels.tolist(), source.valid.labels.tolist()) == ([1], [0, 1])
    (tmp_path / "test.csv").unlink()
    keys: Any = {"root": tmp_path, "test_share": 0.25}
    held, again, other = (load("csv", split_seed=seed, **keys) for seed in (0, 0, 3))
    assert [len(part) for part in (held.train, held.test, held.valid)] == [6, 2, 2]
    assert sorted(held.test.labels.tolist()) == [0, 1]
    assert torch.equal(held.test.pixels, again.test.pixels)
    assert not torch.equal(held.train.pixels, other.train.pixels)


def test_numbers_of_any_scale_are_standardized(tmp_path: Path) -> None:
    """Columns of numbers that are equal in float32, huge, tiny, and constant."""
    rows = [f"{1.7e9 + i},{i}e300,{i}e-300,0.1,{'xy'[i % 2]}" for i in range(8)]
    source = load("csv", root=write(tmp_path, "time,huge,tiny,same,kind", *rows), test_share=0.25)
    found = source.train.pixels.flatten(1).double()
    assert found.shape == (6, 4)
    for number in (0, 1, 2):
        assert float(found[:, number].mean()) == pytest.approx(0, abs=1e-6)
        assert float(found[:, number].std(correction=0)) == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(found[:, number], found[:, 0], rtol=1e-5, atol=1e-6)
    assert not bool(found[:, 3].any())


def test_integer_classes_are_sorted_as_integers(tmp_path: Path) -> None:
    lines = ["1,10", "2,9", "3,-1", "4,10", "5,9", "6,-1"]
    source = load("csv", root=write(tmp_path, "a,grade", *lines), test_share=0.5)
    assert source.classes == ("-1", "9", "10")
    texts = [line.replace(",", ",g") for line in lines]
    source = load("csv", root=write(tmp_path, "a,grade", *texts), test_share=0.5)
    assert source.classes == ("g-1", "g10", "g9")


HEAD = "a,b,c"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: the header is missing"),
        ([HEAD], "has a header and no rows"),
        (["a", "1"], "no columns are left for the inputs; a table needs"),
        (["a,a,c", *ROWS], "has 2 columns 'a'; its columns are a, a, c"),
        (["a,,c", *ROWS], "line 1: column 2 has no name"),
        (ROWS, "line 1: the column names are numbers; insert a header"),
        ([HEAD, ROWS[0], "1,2,x,4"], "Expected 3 fields in line 3, saw 4"),
        ([HEAD, "1,two,x"], "line 2, column 'b': 'two' is not a number; .* dataset.label=b"),
        ([HEAD, "1,1_0,x"], "line 2, column 'b': '1_0' is not a number"),
        ([HEAD, *ROWS, ",3,x"], r"line 10, column 'a': a value is missing \(''\)"),
        ([HEAD, "1,NA,x"], r"line 2, column 'b': a value is missing \('NA'\)"),
        ([HEAD, "1,2,x", "-inf,4,y"], "line 3, column 'a': -inf is not finite"),
        ([HEAD, "1,2,x", "3,4,x"], "column 'c': 'x' is the only class"),
        ([HEAD, *ROWS, "9,90,z"], "line 10, column 'c': the only row of class 'z'"),
        ([HEAD, "1,2,x", "3,4,x", "5,6,y", "7,8,y"], "leaves a class without training samples"),
        (
            [HEAD, *(f"{i}e307,{i},{'xy'[i % 2]}" for i in range(10, 18))],
            "'a': the numbers are too large",
        ),
        ([HEAD, '1,"2,x'], "is not a CSV file: EOF inside string"),
    ],
)
def test_invalid_files_are_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, *lines) if lines else write(tmp_path, "", end="")
    share = 0.8 if "training samples" in message else 0.25
    assert str(path) in load_error(message, "csv", root=path, test_share=share)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,c", "1,x"], "has no column 'b'"),
        (["a,b,c", "1,2,x", "1,2,z"], "line 3, column 'c': the training file has no class 'z'"),
    ],
)
def test_a_test_file_must_match_the_other(lines: list[str], message: str, tmp_path: Path) -> None:
    write(tmp_path, HEAD, *ROWS, name="train.csv")
    path = write(tmp_path, *lines, name="test.csv")
    assert str(path) in load_error(message, "csv", root=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "d"}, "has no column 'd' for dataset.label; its columns are a, b, c"),
        ({"test_share": 0.01}, "dataset.test_share=0.01 of 8 samples leaves no test sample"),
        ({"root": None}, "dataset.root must name a CSV file, or a folder with train.csv"),
        ({"root": "nowhere.csv"}, "nowhere.csv does not exist: set dataset.root"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, *ROWS)
    load_error(message, "csv", **{"root": path, **options})


def test_a_missing_training_file_and_binary_files_are_refused(tmp_path: Path) -> None:
    load_error(r"contains no train.csv", "csv", root=tmp_path)
    path = write(tmp_path, HEAD)
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    load_error("is not UTF-8 text", "csv", root=path)


def test_bins_add_an_encoding_that_the_training_rows_define(tmp_path: Path) -> None:
    """The test rows of a file of their own do not move the bins."""
    folder = write(tmp_path, "a,b,kind", *ROWS, name="train.csv").parent
    write(tmp_path, "a,b,kind", "100,0,x", "2.5,30,y", name="test.csv")
    plain, binned = (load("csv", root=folder, bins=bins) for bins in (0, 3))
    train, test = binned.train.pixels, binned.test.pixels
    assert train.shape[1:] == (2 + 6, 1, 1)
    assert torch.equal(train[:, :2], plain.train.pixels)
    assert torch.equal(test[:, :2], plain.test.pixels)
    # The edges are values of the rows: 1, 3, 6 and 8 for the column a.
    edges = np.quantile(np.arange(1.0, 9.0), np.linspace(0, 1, 4), method="nearest")
    shares = np.clip((np.array([[100.0], [2.5]]) - edges[:-1]) / np.diff(edges), 0, 1)
    np.testing.assert_allclose(test[:, 2:5, 0, 0], shares, rtol=1e-6)
    assert len(binned.mean) == len(binned.std) == 8


RNG = np.random.default_rng(0)


def fit(rows: np.ndarray, bins: int) -> RowEncoding:
    return RowEncoding.fit(tuple(map(str, range(rows.shape[1]))), rows, bins)


def shares(encoding: RowEncoding, rows: np.ndarray) -> torch.Tensor:
    """Return the piecewise linear encoding, without the standardized columns."""
    return encoding(rows)[:, len(encoding.columns) :, 0, 0]


def test_values_within_a_bin_are_shares_and_others_are_zero_or_one() -> None:
    encoding = fit(np.array([[0.0], [1.0], [2.0], [4.0], [8.0]]), 4)
    assert encoding.bin_low == (0, 1, 2, 4)
    assert encoding.bin_high == (1, 2, 4, 8)
    encoded = shares(encoding, np.array([[-5.0], [0.5], [3.0], [99.0]]))
    assert encoded.tolist() == [[0, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1]]


def test_columns_with_few_values_have_few_bins() -> None:
    rows = np.stack([RNG.integers(0, n, 500).astype(float) for n in (1, 2, 3, 400)], axis=1)
    assert np.bincount(fit(rows, 8).bin_columns, minlength=4).tolist() == [0, 0, 2, 8]
    assert fit(rows, 1).bin_columns == ()


def test_wide_tables_get_fewer_bins() -> None:
    assert len(fit(RNG.normal(size=(50, 1024)), 16).bin_columns) == 4 * 1024 == MAX_BINS
    assert fit(RNG.normal(size=(50, 3000)), 16).bin_columns == ()


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(2, 30), st.integers(1, 3)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.integers(2, 9),
)
@example(rows=np.array([[1.0], [5e-324], [0.0]]), bins=2)  # half of the smallest number is 0
def test_any_finite_table_is_encoded_to_shares(rows: np.ndarray, bins: int) -> None:
    encoded = shares(fit(rows, bins), rows)
    assert encoded.isfinite().all()
    assert ((encoded >= 0) & (encoded <= 1)).all()


@pytest.mark.parametrize("bins", [2, 5])
def test_a_linear_map_of_the_encoding_interpolates_any_values_at_the_edges(bins: int) -> None:
    """With a constant, the encoding spans all continuous functions that are linear in each bin."""
    encoding = fit(RNG.normal(size=(40, 1)), bins)
    edges = np.array([*encoding.bin_low, encoding.bin_high[-1]])[:, None]
    encoded = shares(encoding, edges).double()
    columns = torch.cat([torch.ones(len(edges), 1), encoded], dim=1)
    assert torch.linalg.matrix_rank(columns) == bins + 1
