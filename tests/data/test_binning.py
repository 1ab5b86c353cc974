"""The piecewise linear encoding equals its definition, for extreme columns too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darts.data.encodings import MAX_BINS, RowEncoding

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
