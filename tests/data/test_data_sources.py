"""The registry of data sets, the digits and the synthetic images."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from darts.data import MemoryImages, load


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


def test_digits_are_balanced_and_normalized() -> None:
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


def test_the_test_split_of_digits_does_not_depend_on_the_seed() -> None:
    first, second = load("digits", seed=0), load("digits", seed=1)
    assert torch.equal(first.test.pixels, second.test.pixels)
    both = torch.cat([first.train.pixels, first.test.pixels])
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar11"}, "unknown data set 'cifar11'; choose from digits, cifar10"),
        (
            {"name": "digits", "storage": "disk"},
            "digits: storage=disk is not available; set storage=memory",
        ),
        ({"name": "synthetic", "samples": 2**20, "size": 64}, "are more than 67,108,864 numbers"),
        ({"name": "cifar10", "root": None}, "dataset.root must name the folder"),
    ],
)
def test_invalid_requests_are_refused_in_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(**arguments)
    assert "\n" not in str(caught.value)


def test_pixels_and_labels_must_match() -> None:
    for pixels, labels in ((torch.zeros(3, 1, 2, 2), 2), (torch.zeros(3, 1, 2, 2).double(), 3)):
        with pytest.raises(ValueError, match="pixels must be uint8 or float32 of shape"):
            MemoryImages(pixels, torch.zeros(labels).long())
