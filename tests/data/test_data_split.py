"""The registry of data sets, digits and synthetic images, data modules and splits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from load_errors import load_error

from darts.config import compose
from darts.data import MemoryImages, count_folds, load, load_split, save_split
from darts.data.split import stratified_fold, stratified_split, stratified_subset
from darts.data_modules import data_module
from darts.data_modules.data_module import keep_data, make_data_module
from darts.recipes.rules import DataFacts
from darts.training.distributed import Ranks


def test_importing_and_listing_import_no_heavy_libraries() -> None:
    code = (
        "import sys, darts.data\n"
        "assert {'digits', 'cifar10', 'cifar100', 'svhn', 'fashion_mnist', 'imagefolder',"
        " 'imagenet', 'synthetic', 'csv', 'fsdd', 'audiofolder', 'text', 'ptb',"
        " 'pairs', 'multi30k', 'agnews', 'documents', 'npz', 'challenge'}"
        " == set(darts.data.sources())\n"
        "heavy = {'sklearn', 'scipy', 'PIL', 'torchvision.datasets', 'pandas', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import darts.tracking, darts.searching.alphas, darts.plotting.figures\n"
        "heavy = {'tensorboard', 'matplotlib', 'rich', 'sklearn', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_are_complete_balanced_normalized_and_have_one_test_split() -> None:
    source = load("digits", seed=0)
    assert source.train.shape[0] == 1
    assert source.train.shape[1:] == (8, 8)
    assert source.classes == tuple("0123456789")
    assert source.valid is None
    assert (len(source.train), len(source.test)) == (1350, 447)
    assert source.train.pixels.min() == 0
    assert source.train.pixels.max() == 255
    for split in (source.train, source.test):
        share = torch.bincount(split.labels, minlength=10) / len(split)
        assert (share - 0.1).abs().max() < 0.01
    scaled = source.train.pixels.double() / 255
    assert source.mean[0] == pytest.approx(scaled.mean().item())
    assert source.std[0] == pytest.approx(scaled.std(correction=0).item())
    assert torch.equal(load("digits", seed=1).test.pixels, source.test.pixels)
    both = torch.cat([source.train.pixels, source.test.pixels])
    assert len(both) == 1797
    from sklearn.datasets import load_digits

    levels = sorted(image.tolist() for image in load_digits().images.reshape(1797, 64))
    mine = (both.double() * 16 / 255).round().reshape(1797, 64)
    assert sorted(image.tolist() for image in mine) == levels


def test_synthetic_images_depend_on_options_and_seed() -> None:
    source = load("synthetic", seed=5, classes=4, samples=50, channels=2, size=11)
    assert source.train.shape == (2, 11, 11)
    assert (len(source.train), len(source.test), len(source.classes)) == (50, 128, 4)
    counts = torch.bincount(source.train.labels, minlength=4)
    assert counts.max() - counts.min() <= 1
    assert len(source.mean) == len(source.std) == 2
    torch.manual_seed(1)
    again = load("synthetic", seed=5, classes=4, samples=50, channels=2, size=11)
    assert torch.equal(again.train.pixels, source.train.pixels)
    other = load("synthetic", seed=6, classes=4, samples=50, channels=2, size=11)
    assert not torch.equal(other.train.pixels, source.train.pixels)


def test_resizing_has_no_aliasing() -> None:
    stripes = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    stripes[..., ::2] = 200  # finer than the result can resolve
    small = MemoryImages(stripes, torch.zeros(2, dtype=torch.int64)).resized(4)
    assert small.shape == (1, 4, 4)
    assert (small.pixels.int() - 100).abs().max() < 20
    assert load("digits", size=12).train.shape[1:] == (12, 12)


def test_statistics_are_exact_and_deviations_above_zero() -> None:
    pixels = torch.randint(0, 256, (40, 2, 5, 5), generator=torch.Generator().manual_seed(0))
    pixels[:, 1] = 7
    images = MemoryImages(pixels.to(torch.uint8), torch.zeros(40, dtype=torch.int64))
    mean, std = images.statistics()
    scaled = pixels[:, 0].double() / 255
    assert mean == pytest.approx((scaled.mean().item(), 7 / 255))
    assert std == pytest.approx((scaled.std(correction=0).item(), 1 / 255))


def test_invalid_requests_are_refused_in_one_line() -> None:
    load_error("unknown data set 'cifar11'; choose from digits, cifar10", "cifar11")
    load_error(
        "digits: storage=disk is not available; set storage=memory", "digits", storage="disk"
    )
    load_error("are more than 67,108,864 numbers", "synthetic", samples=2**20, size=64)
    load_error("dataset.root must name the folder", "cifar10", root=None)


def test_pixels_and_labels_must_match() -> None:
    for pixels, labels in ((torch.zeros(3, 1, 2, 2), 2), (torch.zeros(3, 1, 2, 2).double(), 3)):
        with pytest.raises(ValueError, match="pixels must be uint8 or float32 of shape"):
            MemoryImages(pixels, torch.zeros(labels).long())


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
def test_a_subset_keeps_proportions(labels: torch.Tensor, seed: int, data: st.DataObject) -> None:
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
    save_split(path, parts)
    read = load_split(path)
    assert set(read) == set(parts)
    assert all(torch.equal(read[name], parts[name]) for name in parts)
    assert [file.name for file in path.parent.iterdir()] == ["split.npz"]


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


def source(*overrides: str) -> object:
    config = compose("retrain", ["genotype=DARTS_V2", "dataset=synthetic", *overrides])
    return make_data_module(config, Ranks()).source


def test_a_block_loads_each_data_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Mock(wraps=data_module.load)
    monkeypatch.setattr(data_module, "load", loads)
    with keep_data():
        first = source()
        assert source("seed=5", "loader.batch_size=8") is first
        other = source("dataset.samples=40")
        assert other is not first
        assert source("dataset.samples=40") is other
    assert loads.call_count == 2
    assert source() is not first
    assert loads.call_count == 3


def test_both_loaders_read_all_samples_in_orders_of_their_own() -> None:
    small = ["dataset=synthetic", "dataset.samples=96", "loader.batch_size=8"]
    config = compose("search", [*small, "train_portion=1"])
    data = make_data_module(config, Ranks())
    loaders = data.search_loaders()
    assert set(data.subsets) == {"weights", "alphas"}
    assert all(sorted(s.tolist()) == list(range(96)) for s in data.subsets.values())
    assert len(loaders.for_weights) == len(loaders.for_alphas) == 12
    orders = [
        torch.cat([labels for _, labels in loader.epoch(0)])
        for loader in (loaders.for_weights, loaders.for_alphas)
    ]
    assert orders[0].sort()[0].equal(orders[1].sort()[0])
    assert not orders[0].equal(orders[1])
    assert sum(len(labels) for _, labels in loaders.scoring.epoch(0)) == 96
    # The facts count each sample once.
    half = make_data_module(compose("search", small), Ranks())
    half.search_loaders()
    whole, expected = DataFacts.read(config, data), DataFacts.read(compose("search", small), half)
    assert whole == expected
