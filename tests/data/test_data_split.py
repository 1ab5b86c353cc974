"""Stratified splits, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.data import count_folds, load_split, save_split
from darts.data.split import stratified_fold, stratified_split, stratified_subset

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120).map(torch.tensor)
FRACTIONS = st.sampled_from([(0.5, 0.5), (0.8, 0.2), (1.0,), (0.29, 0.31, 0.4), (1.0, 0.0)])


@settings(deadline=None, max_examples=60)
@given(labels=LABELS, fractions=FRACTIONS, seed=st.integers(0, 2**40))
def test_subsets_have_their_share_of_each_class(
    labels: torch.Tensor, fractions: tuple[float, ...], seed: int
) -> None:
    parts = stratified_split(labels, fractions, seed=seed)
    assert len(parts) == len(fractions)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(labels)))
    for label in labels.unique():
        members = int((labels == label).sum())
        for part, fraction in zip(parts, fractions, strict=True):
            assert abs(int((labels[part] == label).sum()) - fraction * members) < 1


@settings(deadline=None, max_examples=60)
@given(labels=LABELS, share=st.sampled_from([0.2, 0.1, 0.3, 0.5, 1 / 3]), seed=st.integers(0, 99))
def test_the_parts_of_a_cross_validation_are_disjoint_and_stratified(
    labels: torch.Tensor, share: float, seed: int
) -> None:
    folds = count_folds(share)
    assert folds == {0.2: 5, 0.1: 10, 0.3: 3, 0.5: 2}.get(share, 3)
    everything = list(range(len(labels)))
    held_out = []
    for fold in range(folds):
        rest, part = stratified_fold(labels, share, fold, seed=seed)
        assert torch.cat([rest, part]).sort().values.tolist() == everything
        for label in labels.unique():
            members = int((labels == label).sum())
            assert abs(int((labels[part] == label).sum()) - share * members) < 1
        held_out += part.tolist()
    assert len(held_out) == len(set(held_out))
    if folds * share == pytest.approx(1):
        assert sorted(held_out) == everything


@settings(deadline=None, max_examples=60)
@given(labels=LABELS, seed=st.integers(0, 100), data=st.data())
def test_a_subset_keeps_class_proportions(
    labels: torch.Tensor, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(labels)))
    subset = stratified_subset(labels, count, seed=seed)
    assert len(subset) == len(set(subset.tolist())) == count
    for label in labels.unique():
        share = count * int((labels == label).sum()) / len(labels)
        assert abs(int((labels[subset] == label).sum()) - share) < 1


def test_halves_of_sorted_labels_are_equal_with_classes_of_odd_size() -> None:
    labels = torch.arange(10).repeat_interleave(13)  # as from class folders
    for half in stratified_split(labels, (0.5, 0.5), seed=3):
        assert len(half) == 65
        assert len(labels[half][:50].unique()) >= 8  # the order is shuffled


def test_a_split_depends_on_its_seed_alone() -> None:
    labels = torch.arange(4).repeat(30)
    first = stratified_split(labels, (0.5, 0.5), seed=7)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = stratified_split(labels, (0.5, 0.5), seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = stratified_split(labels, (0.5, 0.5), seed=8)
    assert set(other[0].tolist()) != set(first[0].tolist())


def test_a_saved_split_is_loaded_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    parts = {"weights": torch.tensor([3, 1]), "alphas": torch.tensor([], dtype=torch.int64)}
    path = tmp_path / "run" / "split.npz"
    save_split(path, parts, seed=4, dataset="digits")
    read = load_split(path)
    assert set(read) == set(parts)
    assert all(torch.equal(read[name], parts[name]) for name in parts)
    assert [file.name for file in path.parent.iterdir()] == ["split.npz"]
    with np.load(path) as archive:
        assert archive["seed"] == 4
        assert archive["dataset"] == "digits"


def test_other_files_are_not_loaded_as_splits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the split .*none\.npz is missing"):
        load_split(tmp_path / "none.npz")
    np.savez(tmp_path / "objects.npz", train=np.array([{}], dtype=object))
    np.savez(tmp_path / "floats.npz", train=np.array([0.5]))
    np.savez(tmp_path / "negative.npz", train=np.array([-1]))
    np.savez(tmp_path / "facts.npz", seed=1)
    with open(tmp_path / "lone.npz", "wb") as file:
        np.save(file, np.arange(3))
    for name in ("objects", "floats", "negative", "facts", "lone"):
        with pytest.raises(ValueError, match=rf"{name}\.npz is (damaged|not a split)"):
            load_split(tmp_path / f"{name}.npz")
