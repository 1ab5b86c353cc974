"""How columns of a table are read, and how they become inputs of a network."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darts.data.columns import CellError, Column, as_number, infer
from darts.data.encodings import MAX_BINS, RowEncoding


@pytest.mark.parametrize(
    ("cells", "kind", "form"),
    [
        (["1", "-2.5", "", "3e4"], "number", "1234.5"),
        (["1,234.5", "7", "12,000,000"], "number", "1,234.5"),
        (["1.234,5", "7", "1\u00a0000"], "number", "1.234,5"),
        (["1", "2", "3"] * 9, "category", "1234.5"),
        ([str(n) for n in range(1, 40)], "unused", ""),
        ([str(n) for n in range(1990, 2030)], "number", "1234.5"),
        (["0", "1", "1.0"] * 9, "number", "1234.5"),
        (["0,125", "0,250"], "number", "1.234,5"),
        (["1", "2", "3"] * 9 + ["5"], "number", "1234.5"),
        (["yes", "no", "N/A"], "category", ""),
        (["x", "x"], "unused", ""),
        (["?", ""], "unused", ""),
        (["2024-05-17", "2024-05-17T10:30"], "date", "2024-05-17"),
        (["9999-12-31T23:59:59-01:00", "x"], "category", ""),
        (["17.05.2024", "01.01.1999"], "date", "%d.%m.%Y"),
        (["05/17/2024", "01/02/1999"], "date", "%m/%d/%Y"),
        (["17/05/2024 10:30", "01/02/1999 00:00"], "date", "%d/%m/%Y %H:%M"),
        ([f"customer {n}" for n in range(30)], "unused", ""),
        ([f"a text of many words, number {n % 25}" for n in range(40)], "unused", ""),
    ],
)
def test_the_kind_of_a_column_follows_from_its_cells(
    cells: list[str], kind: str, form: str
) -> None:
    found = infer("x", cells)
    assert (found.column.kind, found.column.form) == (kind, form)
    assert found.missing == sum(cell in ("", "?", "N/A") for cell in cells)


def test_one_mistake_among_many_numbers_is_an_error_unless_the_kind_is_set() -> None:
    cells = [f"{n}.5" for n in range(30)]
    cells[17] = "l7.5"
    with pytest.raises(CellError, match=r"'l7\.5' is not a number$") as caught:
        infer("x", cells)
    assert caught.value.row == 17
    assert infer("x", cells, kind="category").column.kind == "category"
    with pytest.raises(CellError, match=r"'l7\.5' is not a number$"):
        infer("x", cells, kind="number")


def test_a_comma_separates_decimals_if_semicolons_separate_columns() -> None:
    cells = ["1,234", "5,678"]
    columns = [infer("x", cells, prefers_commas=own).column for own in (False, True)]
    assert [column.numbers(cells)[0, 0] for column in columns] == [1234, 1.234]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-1e4, 1e4).map(lambda number: round(number, 3)),
            st.none() | st.sampled_from(["a", 'b "c"', "d, e", "f\ng"]),
            st.none() | st.datetimes(datetime(1900, 1, 2), datetime(2100, 1, 1)),
        ),
        min_size=3,
        max_size=20,
    )
)
def test_random_tables_are_read_as_pandas_reads_them(
    rows: list[tuple[float | None, str | None, datetime | None]],
) -> None:
    """Missing values are 0 with an indicator; known ones are standardized; dates have parts."""
    names = ["number", "category", "date"]
    frame = pd.DataFrame(rows, columns=names)
    text = pd.read_csv(StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False)
    kinds = dict(zip(names, names, strict=True))
    columns = [infer(name, list(text[name]), kind=kinds[name]).column for name in names]
    used = [column for column in columns if column.kind != "unused"]
    if not used:
        return
    encoding = RowEncoding.fit(used, [list(text[own.name]) for own in used], 0)
    inputs = encoding([list(text[own.name]) for own in used])[:, :, 0, 0].double().numpy()
    assert inputs.shape == (len(rows), encoding.width)
    if not encoding.width:  # all values are different
        return
    expected = {"numbers": [], "missing": [], "categories": []}
    for own in encoding.columns:
        values = frame[own.name]
        if own.kind == "category":
            lacks = values.isna()
            expected["categories"] += [values == c if c else lacks for c in own.categories]
            continue
        if own.kind == "number":
            parts = [values.astype(float)]
        else:
            moments = values.dt
            hours = moments.hour + moments.minute / 60
            days = (values - datetime(1970, 1, 1)).dt.total_seconds() / 86_400
            parts = [moments.year, moments.month, moments.day_of_week, hours, days]
        for part in parts:
            spread = part.std(ddof=0)
            scaled = (part - part.mean()) / (spread if spread > 1e-6 else 1.0)
            expected["numbers"].append(scaled.fillna(0))
        if own.may_lack:
            expected["missing"].append(values.isna())
    columns = [column for group in expected.values() for column in group]
    np.testing.assert_allclose(inputs, np.stack(columns, axis=1), atol=1e-3, rtol=1e-3)


def test_new_rows_may_have_unseen_categories_and_missing_values() -> None:
    cells = [["1.5", "2.5", "4.5", "8.5"] * 2, ["a", "a", "b", "b"] * 2]
    columns = [infer(name, own).column for name, own in zip("xy", cells, strict=True)]
    encoding = RowEncoding.fit(columns, cells, 0)
    assert encoding([["", "4.25"], ["c", "?"]]).flatten(1).tolist() == [[0, 0, 0], [0, 0, 0]]
    with pytest.raises(CellError, match="'many' is not a number like") as caught:
        encoding([["many"], ["a"]])
    assert caught.value.column == "x"


GERMAN = Column("x", "number", "1.234,5", mean=(0.0,), deviation=(1.0,))


@pytest.mark.parametrize(
    ("value", "number"), [(1.234, 1.234), (1234.5, 1234.5), (1e-5, 1e-5), (np.float32(2.5), 2.5)]
)
def test_numbers_of_programs_are_read_in_every_form(value: float, number: float) -> None:
    for form in ("1234.5", "1,234.5", "1.234,5"):
        column = dataclasses.replace(GERMAN, form=form)
        assert column.numbers([column.cell_of(value)])[0, 0] == number


def test_other_values_of_programs_are_cells() -> None:
    assert [GERMAN.cell_of(value) for value in (None, math.nan, pd.NA, pd.NaT)] == [""] * 4
    moment, dates = datetime(2024, 5, 17, 10, 30), ("%d.%m.%Y", "2024-05-17", "%m/%d/%Y %H:%M")
    cells = [Column("x", "date", form).cell_of(moment) for form in dates]
    assert cells == ["17.05.2024", "2024-05-17T10:30:00", "05/17/2024 10:30"]
    assert Column("x", "category", categories=("false", "true")).cell_of(True) == "true"
    with pytest.raises(ValueError, match="a value must be a number, a text or a date, not list"):
        GERMAN.cell_of([1])


def test_a_damaged_column_is_refused() -> None:
    for damage in ({"kind": "int"}, {"form": "bogus"}, {"mean": (0.0, 1.0)}):
        with pytest.raises(ValueError, match="encoding: "):
            dataclasses.replace(GERMAN, **damage)


@pytest.mark.parametrize("cell", ["1_000", "1,2", "one", "", "0x10"])
def test_other_texts_are_not_numbers(cell: str) -> None:
    assert math.isnan(as_number(cell))


RNG = np.random.default_rng(0)


def texts(rows: np.ndarray) -> list[list[str]]:
    return [list(map(repr, column)) for column in rows.T.tolist()]


def fit(rows: np.ndarray, bins: int) -> RowEncoding:
    columns = [infer(str(n), own, kind="number").column for n, own in enumerate(texts(rows))]
    return RowEncoding.fit(columns, texts(rows), bins)


def shares(encoding: RowEncoding, rows: np.ndarray) -> torch.Tensor:
    """Return the piecewise linear encoding, without the standardized numbers."""
    return encoding(texts(rows))[:, len(encoding.columns) :, 0, 0]


def test_values_within_a_bin_are_shares_and_others_are_zero_or_one() -> None:
    encoding = fit(np.array([[0.0], [1.0], [2.0], [4.0], [8.0]]), 4)
    assert encoding.columns[0].edges == (0, 1, 2, 4, 8)
    encoded = shares(encoding, np.array([[-5.0], [0.5], [3.0], [99.0]]))
    assert encoded.tolist() == [[0, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1]]


def test_columns_with_few_values_and_wide_tables_have_few_bins() -> None:
    rows = np.stack([RNG.integers(0, n, 500).astype(float) for n in (1, 2, 3, 400)], axis=1)
    assert [len(column.edges) for column in fit(rows, 8).columns] == [0, 0, 3, 9]
    assert not any(column.edges for column in fit(rows, 1).columns)
    assert fit(RNG.normal(size=(50, 1024)), 16).width == 1024 + MAX_BINS
    assert fit(RNG.normal(size=(50, 3000)), 16).width == 3000


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(2, 30), st.integers(1, 3)),
        elements=st.floats(-1e300, 1e300),
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
    edges = np.array(encoding.columns[0].edges)[:, None]
    encoded = shares(encoding, edges).double()
    columns = torch.cat([torch.ones(len(edges), 1), encoded], dim=1)
    assert torch.linalg.matrix_rank(columns) == bins + 1
