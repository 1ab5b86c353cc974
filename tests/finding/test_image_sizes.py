"""Which sizes of images are tried, from the files of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from darts.config import compose
from darts.finding.families import FAMILIES
from darts.finding.image_sizes import image_sizes, median_side, with_sizes
from darts.finding.setup import make_networks
from darts.recipes.rules import DataFacts, settings


def write_images(root: Path, side: int, count: int = 12) -> Path:
    for index in range(count):
        folder = root / ("even", "odd")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side + index, side), (20 * index, 0, 0)).save(folder / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (28, (28,)),
        (3, (5,)),
        (40, (32, 40)),
        (48, (32, 48)),
        (64, (32, 64)),
        (66, (32, 64, 66)),
        (100, (32, 64, 100)),
        (500, (32, 64, 128)),
    ],
)
def test_sizes_follow_from_the_side_of_the_images(side: int, expected: tuple[int, ...]) -> None:
    assert image_sizes(side) == expected


def test_the_side_is_the_median_of_the_readable_files(tmp_path: Path) -> None:
    write_images(tmp_path / "train", 40)
    (tmp_path / "train" / "odd" / "damaged.png").write_bytes(b"no image")
    (tmp_path / "train" / "odd" / "notes.txt").write_text("no image")
    assert median_side(tmp_path) == 40
    assert median_side(tmp_path / "missing") is None


def test_only_the_first_family_trains_on_larger_images() -> None:
    families = with_sizes(FAMILIES["images"], (32, 64, 100))
    small = families[: len(FAMILIES["images"])]
    assert [family.name for family in small] == [family.name for family in FAMILIES["images"]]
    assert {family.values["dataset.size"] for family in small} == {32}
    larger = [(family.name, family.values["dataset.size"]) for family in families[len(small) :]]
    assert larger == [(f"{small[0].name}_64px", 64), (f"{small[0].name}_100px", 100)]
    assert with_sizes(FAMILIES["images"], ()) == FAMILIES["images"]


def networks_of(root: Path, *overrides: str) -> dict[str, tuple[int, int, int]]:
    config = compose("find", ["dataset=imagefolder", f"dataset.root={root}", *overrides])
    _, networks = make_networks(config)
    result = {}
    for name, own in networks.items():
        shape = own.data.sample_shape
        padding = own.config.dataset.padding  # type: ignore[attr-defined]
        cutout = own.config.cutout
        assert cutout == 0
        result[name] = (shape[1], shape[2], padding)
    return result


def test_networks_train_on_their_sizes_with_fitting_augmentation(tmp_path: Path) -> None:
    root = write_images(tmp_path, 64, 40)
    seen = networks_of(root)
    assert seen["fast_32"] == seen["darts"] == (32, 32, 2)
    assert seen["fast_32_64px"] == (64, 64, 4)
    assert set(networks_of(root, "dataset.size=16").values()) == {(16, 16, 1)}


def test_networks_for_one_size_share_the_pixels(tmp_path: Path) -> None:
    root = write_images(tmp_path, 64, 40)
    config = compose("find", ["dataset=imagefolder", f"dataset.root={root}"])
    facts, networks = make_networks(config)
    sources = {name: id(own.data.source) for name, own in networks.items()}
    assert sources["fast_32"] == sources["darts"] != sources["fast_32_64px"]
    assert facts.samples == 26  # 40 without a fifth for tests, and a fifth of the others


def test_small_images_keep_their_size(tmp_path: Path) -> None:
    assert set(networks_of(write_images(tmp_path, 24, 40)).values()) == {(24, 24, 2)}


def test_the_erased_square_of_a_setting_fits_the_size_of_the_images() -> None:
    facts = DataFacts("images", 1000, 10, (3, 32, 32)).resized(96)
    assert facts == DataFacts("images", 1000, 10, (3, 96, 96))
    values = {"optimizer.lr": 0.1, "optimizer.weight_decay": 0.1, "dataset.flip": False}
    cutout = next(s for s in settings(facts, values, ()) if s.name == "cutout")
    assert cutout.values == {"cutout": 32}
