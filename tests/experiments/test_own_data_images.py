"""The generated image sets and the expert of ``experiments/own_data.py``, at a small size."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import own_data_expert
import own_data_images
import pytest
import torch
from own_data_result import Limits
from PIL import Image
from torch import nn


def read(folder: Path) -> list[tuple[str, np.ndarray]]:
    files = sorted(folder.glob("*/*.png"))
    return [(path.parent.name, np.asarray(Image.open(path))) for path in files]


def test_the_class_of_added_images_is_the_sum_of_their_labels(tmp_path):
    labels = np.arange(10)
    images = np.broadcast_to(10 * labels[:, None, None], (10, 4, 4)).astype(np.uint8)
    splits = {"train": (images[:8], labels[:8]), "test": (images[8:], labels[8:])}
    own_data_images._write_added(tmp_path, splits, {"train": 200, "test": 0})
    written = read(tmp_path / "train")
    assert len(written) == 200
    assert len({name for name, _ in written}) > 15
    for name, pixels in written:
        values = pixels.reshape(-1, 3)
        assert (values == values[0]).all()
        assert values[0].sum() == 10 * int(name) < 200
    assert any(len(set(pixels[0, 0])) == 3 for _, pixels in written)


def test_added_digits_share_no_digit_between_splits():
    splits = own_data_images.large_digits()
    train, test = (
        {image.tobytes() for image in images} for images, _ in (splits["train"], splits["test"])
    )
    assert not train & test
    assert (len(splits["train"][1]), len(splits["test"][1])) == (1257, 540)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_whitens(channels):
    torch.manual_seed(0)
    images = torch.randn(500, channels, 8, 8).cumsum(3)
    images = (images - images.mean()) / images.std()
    net = own_data_expert.ExpertNet(images, 10)
    filters = net[0].weight
    assert filters.shape == (8 * channels, channels, 2, 2)
    assert not filters.requires_grad
    assert torch.equal(filters[: 4 * channels], -filters[4 * channels :])
    patches = nn.functional.unfold(images, 2, stride=2).transpose(1, 2).flatten(0, 1)
    outputs = patches @ filters[: 4 * channels].detach().flatten(1).T
    covariance = outputs.T @ outputs / len(outputs)
    large = covariance.diagonal() > 0.9  # not the directions below the regularization
    assert large.sum() >= 4
    assert covariance[large][:, large] == pytest.approx(torch.eye(int(large.sum())), abs=0.1)


@pytest.mark.parametrize("shape", [(12, 11), (12, 12, 3), (34, 34)])
def test_the_expert_learns(tmp_path, shape):
    random = np.random.default_rng(0)
    for split, count in (("train", 70), ("test", 20)):
        for name, value in (("bright", 140), ("dark", 110)):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.normal(value, 20, shape).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{index}.png")
    ticks = itertools.count()
    limits = Limits(60.0, 0, 0, clock=lambda: float(next(ticks)))
    result = own_data_expert.train_expert(None, tmp_path, limits)
    assert result.test > 0.9
    assert (result.samples, result.train_samples) == (40, 140)
    assert result.correct.mean() == result.test
    assert result.epochs == 19  # the clock ticks three times per epoch of two batches
