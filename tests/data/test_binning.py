"""The piecewise linear encoding equals its definition, for extreme columns too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from darts.data.binning import MAX_FEATURES, Binning
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

RNG = np.random.default_rng(0)


def test_values_within_a_bin_are_shares_and_others_are_zero_or_one() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [4.0], [8.0]])
    binning = Binning.fit(rows, 4)
    assert list(zip(binning.low, binning.high, strict=True)) == [(0, 1), (1, 2), (2, 4), (4, 8)]
    encoded = binning.encode(np.array([[-5.0], [0.5], [3.0], [99.0]]))[:, :, 0, 0]
    assert encoded.tolist() == [[0, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1]]


def test_bins_hold_equal_numbers_of_training_rows() -> None:
    values = RNG.exponential(size=(1000, 1))
    binning = Binning.fit(values, 10)
    counts, _ = np.histogram(values, [*binning.low, binning.high[-1]])
    assert binning.width == 10
    assert counts.min() >= 98
    assert counts.max() <= 102


def test_columns_with_few_values_have_few_bins() -> None:
    rows = np.stack([RNG.integers(0, n, 500).astype(float) for n in (1, 2, 3, 400)], axis=1)
    binning = Binning.fit(rows, 8)
    assert np.bincount(binning.columns, minlength=4).tolist() == [0, 0, 2, 8]


def test_without_bins_nothing_is_added() -> None:
    rows = RNG.normal(size=(20, 3))
    for bins in (0, 1):
        binning = Binning.fit(rows, bins)
        assert binning.width == 0
        assert binning.encode(rows).shape == (20, 0, 1, 1)


def test_wide_tables_get_fewer_bins() -> None:
    assert Binning.fit(RNG.normal(size=(50, 1024)), 16).width == 4 * 1024 == MAX_FEATURES
    assert Binning.fit(RNG.normal(size=(50, 3000)), 16).width == 0


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
    encoded = Binning.fit(rows, bins).encode(rows)
    assert encoded.isfinite().all()
    assert ((encoded >= 0) & (encoded <= 1)).all()


@pytest.mark.parametrize("bins", [2, 5])
def test_a_linear_map_of_the_encoding_interpolates_any_values_at_the_edges(bins: int) -> None:
    """With a constant, the encoding spans all continuous functions that are linear in each bin."""
    rows = RNG.normal(size=(40, 1))
    binning = Binning.fit(rows, bins)
    edges = np.array([*binning.low, binning.high[-1]])[:, None]
    encoded = binning.encode(edges)[:, :, 0, 0].double()
    columns = torch.cat([torch.ones(len(edges), 1), encoded], dim=1)
    assert torch.linalg.matrix_rank(columns) == bins + 1
