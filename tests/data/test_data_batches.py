"""Loaders of samples in memory."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from default_augmentation import augmentation, sample_loader
from torch import Tensor

from darts.data import MemoryImages, SampleLoader, load
from darts.data.source import Source


@pytest.fixture(scope="module")
def source() -> Source:
    return load("synthetic", samples=53, size=10)


def make(source: Source, count: int = 53, **changes: object) -> SampleLoader:
    return sample_loader(source, count, **changes)


def same(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> bool:
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def test_batches_do_not_depend_on_where_an_iterator_starts(source: Source) -> None:
    unbroken = list(islice(make(source).stream(), 14))
    for position in range(14):
        epoch, step = divmod(position, 6)
        assert same(next(make(source).epoch(epoch, step)), unbroken[position])
        assert same(next(make(source).stream(position)), unbroken[position])
        assert same(make(source).batch(epoch, step), unbroken[position])
    assert list(make(source).epoch(0, 6)) == []


def test_batches_depend_on_seed_and_name(source: Source) -> None:
    first = make(source).batch(0, 0)
    assert same(first, make(source).batch(0, 0))
    assert not same(first, make(source, seed=4).batch(0, 0))
    assert not same(first, make(source, name="alphas").batch(0, 0))


def test_epochs_shuffle_and_augment_differently(source: Source) -> None:
    plain = make(source, batch_size=53, augmentation=None)
    (a, labels_a), (b, labels_b) = plain.batch(0, 0), plain.batch(1, 0)
    assert not torch.equal(labels_a, labels_b)
    rows = [sorted(image.flatten().tolist() for image in images) for images in (a, b)]
    assert rows[0] == rows[1]  # each sample once per epoch
    still = make(source, shuffle=False)
    assert not same(still.batch(0, 0), still.batch(1, 0))
    assert torch.equal(still.batch(0, 0)[1], still.batch(1, 0)[1])


def test_global_generators_are_not_used(source: Source) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    list(make(source).epoch(1))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    assert states[2] == random.getstate()


def test_evaluation_has_all_samples_in_order(source: Source) -> None:
    batches = make(source, augmentation=None, shuffle=False, drop_last=False)
    assert len(batches) == 7
    images = torch.cat([images for images, _ in batches.epoch(0)])
    labels = torch.cat([labels for _, labels in batches.epoch(5)])
    assert torch.equal(labels, source.train.labels)
    exact = source.train.pixels / 255 - torch.tensor(source.mean).view(3, 1, 1)
    torch.testing.assert_close(images, exact / torch.tensor(source.std).view(3, 1, 1))


@pytest.mark.parametrize(
    ("count", "drop_last", "sizes"),
    [
        (16, True, [8, 8]),
        (17, True, [8, 8]),  # a batch of one would break batch norm
        (17, False, [8, 8, 1]),
        (5, True, [5]),  # the only batch is not dropped
    ],
)
def test_a_smaller_last_batch_is_dropped(
    source: Source, count: int, drop_last: bool, sizes: list[int]
) -> None:
    batches = make(source, count, drop_last=drop_last)
    assert [len(labels) for _, labels in batches.epoch(0)] == sizes
    assert len(batches) == len(sizes)


@pytest.mark.cuda
def test_a_gpu_has_the_same_batches(source: Source) -> None:
    images, labels = make(source, device="cuda").batch(1, 2)
    wanted = make(source).batch(1, 2)
    assert torch.equal(labels.cpu(), wanted[1])
    torch.testing.assert_close(images.cpu(), wanted[0])


def test_labels_belong_to_their_images(source: Source) -> None:
    numbered = torch.arange(53, dtype=torch.uint8).view(53, 1, 1, 1).expand(53, 1, 8, 8)
    images = MemoryImages(numbered, torch.arange(53))
    options = {"mean": (0.0,), "std": (1 / 255,), "augmentation": augmentation(padding=1)}
    batches = make(replace(source, train=images), drop_last=False, **options)
    for pixels, labels in batches.epoch(2):
        assert torch.equal(pixels.amax(dim=(1, 2, 3)).round().long(), labels)


def test_the_batches_of_two_ranks_together_are_those_of_one_process(source: Source) -> None:
    whole = make(source, batch_size=5)
    parts = [make(source, batch_size=5, rank=rank, ranks=2) for rank in (0, 1)]
    assert [part.batch_share for part in parts] == [(0, 5), (3, 5)]
    for epoch in range(2):
        epochs = [loader.epoch(epoch) for loader in (whole, *parts)]
        for batch, *shares in zip(*epochs, strict=True):
            assert [len(labels) for _, labels in shares] == [3, 2]
            for i in (0, 1):
                assert torch.equal(torch.cat([share[i] for share in shares]), batch[i])


def test_a_batch_with_fewer_samples_than_ranks_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="batch of 5 samples cannot be shared by 6 ranks"):
        make(source, batch_size=5, ranks=6)
    with pytest.raises(ValueError, match="batch of 1 samples cannot be shared by 2 ranks"):
        make(source, 11, batch_size=5, ranks=2, drop_last=False)
    assert len(make(source, 11, batch_size=5, rank=4, ranks=5)) == 2


def test_samples_that_cannot_be_loaded_are_refused_at_once(source: Source) -> None:
    with pytest.raises(ValueError, match="weights: there are no samples; use a larger"):
        make(source, 0)
    with pytest.raises(ValueError, match="storage='disk'"):
        make(source, augmentation=augmentation(crop="resized"))
