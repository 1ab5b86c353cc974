"""Features of training images, which the runs of a race share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_pretrained import colors
from torch import Tensor, nn

from darts.spaces.pretrained import model
from darts.spaces.pretrained.model import training_features


class Means(nn.Module):
    """Returns the mean color of each image, and counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return images.mean((2, 3))


@pytest.fixture(autouse=True)
def chunks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "CHUNK", 10)


def by_class(rows: Tensor, labels: Tensor) -> list[list[float]]:
    return sorted([*row, float(label)] for row, label in zip(rows.tolist(), labels, strict=True))


def test_runs_that_hold_out_other_images_share_a_file(tmp_path: Path) -> None:
    first, second, alone = Means(), Means(), Means()
    training_features(first, colors(used=slice(0, 48)), tmp_path, math.inf)
    found = training_features(second, colors(used=slice(12, 60)), tmp_path, math.inf)
    assert (first.count, second.count) == (60, 0)
    assert len(list(tmp_path.iterdir())) == 1
    expected = training_features(alone, colors(used=slice(12, 60)), None, math.inf)
    assert alone.count == 48
    assert by_class(*found) == by_class(*expected)


def test_another_network_or_image_size_has_another_file(tmp_path: Path) -> None:
    class Other(Means):
        pass

    for net in (Means(), Other()):
        training_features(net, colors(), tmp_path, math.inf)
        assert net.count == 60
    assert len(list(tmp_path.iterdir())) == 2


def test_a_small_subset_does_not_read_the_other_images(tmp_path: Path) -> None:
    net = Means()
    training_features(net, colors(used=slice(0, 20)), tmp_path, math.inf)
    assert net.count == 20


def test_without_time_the_first_images_suffice_and_the_next_run_has_more(tmp_path: Path) -> None:
    first, second = Means(), Means()
    rows, targets = training_features(first, colors(), tmp_path, 0.0)
    assert (first.count, len(rows), len(targets)) == (10, 10, 10)
    rows, _ = training_features(second, colors(), tmp_path, math.inf)
    assert (second.count, len(rows)) == (50, 60)


def test_only_needed_images_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training_features(Means(), colors(), tmp_path, math.inf)
    monkeypatch.setattr(model, "MOST", 15)
    rows, _ = training_features(Means(), colors(), tmp_path, math.inf)
    assert len(rows) == 15
