"""Loaders of images on disk, and their worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from default_augmentation import augmentation, sample_loader
from torch import Tensor

from darts.data import SampleLoader, load
from darts.data.images import DiskImages
from darts.data.source import Source

Build = Callable[..., SampleLoader]

# PyTorch warns if there are fewer cores than workers.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture
def source(make_folder: Callable[..., Path]) -> Source:
    root = make_folder("train", {"ant": 11, "bee": 10})
    return load("imagefolder", root=root, size=8, storage="disk")


@pytest.fixture
def build(source: Source) -> Build:
    def make(**changes: object) -> SampleLoader:
        defaults = {"batch_size": 4, "augmentation": augmentation(crop="resized", cutout=2)}
        return sample_loader(source, 21, **(defaults | changes))

    return make


def equal(left: list[tuple[Tensor, Tensor]], right: list[tuple[Tensor, Tensor]]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in zip(left, right, strict=True)
    )


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


def test_workers_end_with_their_loader(source: Source) -> None:
    def some() -> set[int]:
        options = {"augmentation": None, "shuffle": False, "drop_last": False}
        batches = sample_loader(source, 21, workers=1, **options)
        next(batches.epoch(0))
        return worker_ids()

    other = worker_ids()
    assert some() - other
    assert not worker_ids() - other


def test_memory_and_disk_have_the_same_batches(source: Source, build: Build) -> None:
    memory = source.train.to_memory()
    padded = {"augmentation": augmentation(padding=2)}
    plain = {"augmentation": None, "shuffle": False, "drop_last": False}
    for options in (padded, plain):
        disk = build(workers=1, **options)
        twin = sample_loader(replace(source, train=memory), 21, batch_size=4, **options)
        assert equal(list(disk.epoch(1)), list(twin.epoch(1)))


def test_images_of_a_batch_have_different_boxes(make_folder: Callable[..., Path]) -> None:
    root = make_folder("train", {"ant": 1, "bee": 1}, size=(40, 40))
    train = load("imagefolder", root=root, size=8, storage="disk").train
    boxes = train.read([0] * 20, crop_seed=5)
    assert len({tuple(image.flatten().tolist()) for image in boxes}) == 20
    assert torch.equal(boxes, train.read([0] * 20, crop_seed=5))
    assert not torch.equal(boxes, train.read([0] * 20, crop_seed=6))


@pytest.mark.parametrize("count", [0, 2])
def test_a_damaged_file_is_named_in_one_line(
    source: Source, build: Build, count: int, tmp_path: Path
) -> None:
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
