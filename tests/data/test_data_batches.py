"""Loaders of samples in memory and on disk, and their worker processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from default_augmentation import augmentation, sample_loader
from torch import Tensor

from darts.data import MemoryImages, SampleLoader, load
from darts.data.images import DiskImages
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


Build = Callable[..., SampleLoader]

# PyTorch warns if there are fewer cores than workers.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture
def stored(make_folder: Callable[..., Path]) -> Source:
    root = make_folder("train", {"ant": 11, "bee": 10})
    return load("imagefolder", root=root, size=8, storage="disk")


@pytest.fixture
def build(stored: Source) -> Build:
    def make(**changes: object) -> SampleLoader:
        defaults = {"batch_size": 4, "augmentation": augmentation(crop="resized", cutout=2)}
        return sample_loader(stored, 21, **(defaults | changes))

    return make


def equal(left: list[tuple[Tensor, Tensor]], right: list[tuple[Tensor, Tensor]]) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def worker_ids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid}


def test_batches_do_not_depend_on_workers_or_start(build: Build) -> None:
    wanted = list(islice(build().stream(), 12))  # epochs of 5 steps
    many = build(workers=2)
    before = torch.get_rng_state()
    assert equal(list(islice(many.stream(), 12)), wanted)
    for position in (7, 0, 4, 5, 11):  # jumps, in the same workers
        epoch, step = divmod(position, 5)
        assert equal(list(many.epoch(epoch, step))[:1], wanted[position : position + 1])
        assert equal([many.batch(epoch, step)], wanted[position : position + 1])
    assert equal(list(build(workers=3).epoch(1, 2)), wanted[7:10])
    assert torch.equal(torch.get_rng_state(), before)


def test_closed_workers_start_again(build: Build) -> None:
    batches, other = build(workers=2), worker_ids()
    wanted = list(build().epoch(3))
    assert equal(list(batches.epoch(3)), wanted)
    first = worker_ids() - other
    assert len(first) == 2
    assert batches._disk is not None
    batches._disk.close()
    assert not worker_ids() & first
    assert equal(list(batches.epoch(3)), wanted)


def test_workers_survive_an_interrupt(build: Build) -> None:
    batches = build(workers=2)
    other = worker_ids()
    wanted = list(build().epoch(0))
    stream = batches.epoch(0)
    assert equal([next(stream)], wanted[:1])
    assert equal([next(stream)], wanted[1:2])  # both workers are up
    mine = worker_ids() - other
    for pid in mine:
        os.kill(pid, signal.SIGINT)  # Ctrl-C on a terminal reaches them too
    assert equal(list(stream), wanted[2:])
    assert equal(list(batches.epoch(4)), list(build().epoch(4)))
    assert len(mine) == 2
    assert worker_ids() - other == mine


def test_workers_end_with_their_loader(stored: Source) -> None:
    def some() -> set[int]:
        options = {"augmentation": None, "shuffle": False, "drop_last": False}
        batches = sample_loader(stored, 21, workers=1, **options)
        next(batches.epoch(0))
        return worker_ids()

    other = worker_ids()
    assert some() - other
    assert not worker_ids() - other


def test_memory_and_disk_have_the_same_batches(stored: Source, build: Build) -> None:
    memory = stored.train.to_memory()
    padded = {"augmentation": augmentation(padding=2)}
    plain = {"augmentation": None, "shuffle": False, "drop_last": False}
    for options in (padded, plain):
        disk = build(workers=1, **options)
        twin = sample_loader(replace(stored, train=memory), 21, batch_size=4, **options)
        assert equal(list(disk.epoch(1)), list(twin.epoch(1)))


def test_images_of_a_batch_have_different_boxes(make_folder: Callable[..., Path]) -> None:
    root = make_folder("train", {"ant": 1, "bee": 1}, size=(40, 40))
    train = load("imagefolder", root=root, size=8, storage="disk").train
    boxes = train.read([0] * 20, crop_seed=5)
    assert len({tuple(image.flatten().tolist()) for image in boxes}) == 20
    assert torch.equal(boxes, train.read([0] * 20, crop_seed=5))
    assert not torch.equal(boxes, train.read([0] * 20, crop_seed=6))


@pytest.mark.parametrize("count", [0, 2])
def test_a_damaged_file_is_named(stored: Source, build: Build, count: int, tmp_path: Path) -> None:
    broken = tmp_path / "train" / "bee" / "0000.png"
    broken.write_bytes(broken.read_bytes()[:60])
    batches = build(workers=count, shuffle=False, batch_size=7)
    next(batches.epoch(0))
    with pytest.raises(ValueError, match="cannot read the image") as caught:
        list(batches.epoch(0))
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(list(batches.epoch(0, 2))) == 1  # other batches can still be read


def test_images_are_resized_by_the_shorter_side_and_cropped(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (40, 20), (0, 0, 255))
    picture.paste((255, 0, 0), (10, 0, 30, 20))  # a red square in the center
    picture.save(tmp_path / "a.png")
    labels = torch.zeros(1, dtype=torch.int64)
    images = DiskImages([str(tmp_path / "a.png")], labels, size=20)
    assert images.read([0])[0, 0].eq(255).all()
    small = DiskImages([str(tmp_path / "a.png")], labels, size=10, margin=1.2).read([0])
    assert small.shape == (1, 3, 10, 10)
    assert small[0, 0].eq(255).all()
    wide = DiskImages([str(tmp_path / "a.png")], labels, size=24).read([0])
    assert wide.shape == (1, 3, 24, 24)
