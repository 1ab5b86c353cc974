"""Tables in CSV and Parquet files, and the piecewise linear encoding of their columns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from load_errors import load_error

from darts.data import load
from darts.data.source import Source
from darts.data.split import Groups
from darts.data.table_file import read_table

ROWS = ["1,10,x", "2,20,y", "3,30,x", "4,40,y", "5,50,x", "6,60,y", "7,70,x", "8,80,y"]


def write(folder: Path, *lines: str, name: str = "table.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(lines) + end).encode())
    return path


def column(source: Source, split: str, index: int = 0) -> list[float]:
    return getattr(source, split).pixels[:, index, 0, 0].tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_each_delimiter_is_detected(delimiter: str, tmp_path: Path) -> None:
    lines = ["one", "and, two", "kind"], ["1.5", "-2e3", "a b\n"], ["", "", ""], [" 0 ", "7", "c"]
    quoted = [delimiter.join(f'"{cell}"' for cell in cells) for cells in lines]
    table = read_table(write(tmp_path, "\ufeff" + quoted[0], *quoted[1:], "", end="\r\n"))
    assert table.columns == ["one", "and, two", "kind"]
    assert [table.column(name) for name in table.columns[:2]] == [["1.5", "0"], ["-2e3", "7"]]
    assert table.texts("kind") == ["a b", "c"]
    assert table.lines() == [3, 5]


def test_default_names_of_a_data_frame_are_a_header(tmp_path: Path) -> None:
    source = load("csv", root=write(tmp_path, "0,1,class", *ROWS), test_share=0.25)
    assert source.encoding.names == ("0", "1")


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
    frame.loc[3, ["a", "class"]] = None
    frame.to_parquet(tmp_path / "train.parquet")
    load_error(r"row 4, column 'class': a value is missing \(''\)", "csv", root=tmp_path)
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
    """Columns of numbers that are equal in float32, huge and tiny; a constant one is left out."""
    rows = [f"{1.7e9 + i},{i}e300,{i}e-300,0.1,{'xy'[i % 2]}" for i in range(8)]
    source = load("csv", root=write(tmp_path, "time,huge,tiny,same,kind", *rows), test_share=0.25)
    found = source.train.pixels.flatten(1).double()
    assert found.shape == (6, 3)
    for number in (0, 1, 2):
        assert float(found[:, number].mean()) == pytest.approx(0, abs=1e-6)
        assert float(found[:, number].std(correction=0)) == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(found[:, number], found[:, 0], rtol=1e-5, atol=1e-6)


def test_integer_classes_are_sorted_as_integers(tmp_path: Path) -> None:
    lines = ["1,10", "2,9", "3,-1", "4,10", "5,9", "6,-1"]
    source = load("csv", root=write(tmp_path, "a,grade", *lines), test_share=0.5)
    assert source.classes == ("-1", "9", "10")
    texts = [line.replace(",", ",g") for line in lines]
    source = load("csv", root=write(tmp_path, "a,grade", *texts), test_share=0.5)
    assert source.classes == ("g-1", "g10", "g9")


HEAD = "a,b,c"
MANY = [f"{i}.5,{i * i}.5,{'xy'[i % 2]}" for i in range(20)]


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
        ([HEAD, *MANY, "21,two,x"], "line 22, column 'b': 'two' is not a number; correct it, or"),
        ([HEAD, *MANY, "21,1_0,x"], "line 22, column 'b': '1_0' is not a number"),
        ([HEAD, *ROWS, "9,3,"], r"line 10, column 'c': a value is missing \(''\)"),
        ([HEAD, *MANY, "-inf,4,y"], "line 22, column 'a': '-inf' is not finite"),
        (
            [HEAD, *(f"5,,{'xy'[i % 2]}" for i in range(8))],
            "no column is left as an input: a .cons",
        ),
        ([HEAD, "1,2,x", "3,4,x"], "column 'c': 'x' is the only class"),
        ([HEAD, *ROWS, "9,90,z"], "line 10, column 'c': the only row of class 'z'"),
        ([HEAD, "1,2,x", "3,4,x", "5,6,y", "7,8,y"], "leaves a class without training samples"),
        (
            [HEAD, *(f"{i}e307,{i},{'xy'[i % 2]}" for i in range(10, 18))],
            "'a': '1.e307' is too large to standardize",
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
        (["a,b,c", "1,2,x", "1,two,y"], "line 3, column 'b': 'two' is not a number"),
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
        ({"kinds": {"d": "number"}}, "dataset.kinds.d=number: .* has no input column 'd'; its"),
        ({"kinds": {"a": "int"}}, "dataset.kinds.a=int: must be one of number, category, date, un"),
        ({"kinds": {"a": "date"}}, "column 'a': '.' is not a date"),
        ({"group": "d"}, "has no column 'd' for dataset.group or dataset.time"),
        ({"group": "a", "time": "b"}, "dataset.group and dataset.time are mutually exclusive"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, *ROWS)
    load_error(message, "csv", **{"root": path, **options})


def test_a_missing_training_file_and_binary_files_are_refused(tmp_path: Path) -> None:
    load_error(r"contains no train.csv", "csv", root=tmp_path)
    path = write(tmp_path, HEAD)
    path.write_bytes(b"a,b\n\0\xfe,1\n")
    load_error("is not text: it contains a NUL character", "csv", root=path)


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


def people(count: int = 40) -> pd.DataFrame:
    """Return a table with a column of each kind; every fourth row lacks numbers and cities."""
    rows = range(count)
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in rows],
            "income": [None if i % 4 == 0 else 1000.5 + 7 * i for i in rows],
            "city": [None if i % 4 == 0 else ("Köln", "Aix")[i % 2] for i in rows],
            "born": [f"{1 + i % 28:02d}.0{1 + i % 9}.19{50 + i}" for i in rows],
            "rooms": [1 + i % 3 for i in rows],
            "left": [("no", "yes")[i % 2] for i in rows],
        }
    )


def test_columns_as_people_write_them(tmp_path: Path) -> None:
    """Semicolons, decimal commas, cp1252, and the same rows in UTF-8 and Parquet."""
    frame = people()
    frame.to_csv(tmp_path / "train.csv", index=False)
    german = frame.assign(income=frame.income.map(lambda x: f"{x:_.1f}".replace(".", ",")))
    german["income"] = german.income.str.replace("_", ".").replace("nan", "?")
    text = german.to_csv(index=False, sep=";")
    (tmp_path / "german.csv").write_bytes(text.encode("cp1252"))

    plain = load("csv", root=tmp_path / "train.csv")
    with pytest.warns(UserWarning, match="it is read as Windows-1252"):
        other = load("csv", root=tmp_path / "german.csv")

    kinds = [(own.column.name, own.column.kind, own.missing > 0) for own in plain.columns]
    assert kinds == [
        ("id", "unused", False),
        ("income", "number", True),
        ("city", "category", True),
        ("born", "date", False),
        ("rooms", "category", False),
    ]
    assert torch.equal(plain.train.pixels, other.train.pixels)
    assert plain.train.shape == (2 + 3 + 5 + 3, 1, 1)
    assert set(plain.encoding.columns[2].categories) == {"Köln", "Aix", ""}
    assert "p1" not in str(plain.encoding)


def test_rows_of_a_group_stay_in_one_split(tmp_path: Path) -> None:
    frame = people().assign(owner=[f"o{i // 4}" for i in range(40)], number=range(0, 400, 10))
    path = tmp_path / "table.csv"
    frame[["owner", "number", "rooms", "left"]].to_csv(path, index=False)

    source = load("csv", root=path, group="owner", kinds={"number": "number"})

    scaled = source.encoding.columns[0]
    assert source.encoding.names == ("number", "rooms")
    numbers = [
        {
            round(float(x) * scaled.deviation[0] + scaled.mean[0]) // 40
            for x in part.pixels[:, 0, 0, 0]
        }
        for part in (source.train, source.test)
    ]
    assert not numbers[0] & numbers[1]
    assert source.groups is not None
    assert len(source.groups.of) == len(source.train.labels) == 32


def test_the_latest_rows_are_the_test_split(tmp_path: Path) -> None:
    frame = people().sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "table.csv", index=False)

    source = load("csv", root=tmp_path / "table.csv", time="born", test_share=0.25)

    assert len(source.test.labels) == 10
    # The numbers are the income and five parts of the date.
    assert source.train.pixels[:, 5].max() < source.test.pixels[:, 5].min()
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.to_csv(tmp_path / "test.csv", index=False)
    load_error(
        "dataset.time=born: the latest rows are the test split, but",
        "csv",
        root=tmp_path,
        time="born",
    )
    load_error(
        "dataset.group=id: 'p[0-9]+' is in .* a group must be in one split",
        "csv",
        root=tmp_path,
        group="id",
    )


def test_a_target_has_the_form_of_the_other_columns(tmp_path: Path) -> None:
    rows = [f"{n},05;{n}.096" if n % 2 else f"{n},5;137" for n in range(1, 21)]
    source = load("csv", root=write(tmp_path, "x;price", *rows), targets="numbers")
    every = torch.cat([source.train.labels, source.test.labels]).double()
    prices = sorted(source.scale.restore(every).round().flatten().tolist())
    assert prices[:10] == [137] * 10
    assert prices[10:] == [1000 * n + 96 for n in range(1, 20, 2)]


@pytest.mark.parametrize("sizes", [[50] * 3, [50] * 4, [100, 10, 10, 10, 10, 10]])
def test_few_groups_give_parts_that_are_not_empty(sizes: list[int]) -> None:
    groups = Groups(torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)))
    folds = min(5, len(sizes) - 1)
    parts = [groups.fold(0.2, fold, seed=1)[1] for fold in range(folds)]
    assert all(map(len, parts))
    assert len(torch.cat(parts).unique()) == sum(map(len, parts))
    for rest, part in (groups.split(0.2, seed=1), groups.fold(0.2, 0, seed=1)):
        assert not set(groups.of[rest].tolist()) & set(groups.of[part].tolist())
        assert sorted(torch.cat([rest, part]).tolist()) == list(range(sum(sizes)))


def test_ordered_groups_divide_by_time_and_have_no_folds() -> None:
    groups = Groups(torch.tensor([3, 1, 0, 2, 4, 4]), is_ordered=True)
    rest, part = groups.split(0.3, seed=0)
    assert groups.of[part].tolist() == [4, 4]
    assert len(rest) == 4
    with pytest.raises(ValueError, match=r"the latest samples validate, because dataset\.time"):
        groups.fold(0.2, 0, seed=0)
