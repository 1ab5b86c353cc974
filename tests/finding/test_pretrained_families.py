"""Families of networks that begin with trained weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pretrained import save_weights

from darts.config import ConfigError
from darts.finding.pretrained import pretrained_families
from darts.recipes.rules import DataFacts, recipe
from darts.spaces.lookup import find_genotype

FACTS = DataFacts("images", 1000, 10, (3, 32, 32))


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return save_weights(tmp_path)


@pytest.mark.parametrize(
    ("side", "keys", "sizes"),
    [
        (32, (), {64: 32, 96: 32, 128: 32}),
        (100, (), {64: 64, 96: 96, 128: 100}),
        (80, ("dataset.size",), {80: 80, 96: 80, 128: 80}),
        (224, ("dataset.size",), {224: 224}),
    ],
)
def test_networks_enlarge_small_images(
    weights: str, side: int, keys: tuple[str, ...], sizes: dict[int, int]
) -> None:
    families = pretrained_families(weights, FACTS, side, keys)
    own = [family.values for family in families]
    assert {v["space.size"]: v["dataset.size"] for v in own} == sizes
    assert [family.name for family in families] == [f"tiny_{v['space.size']}" for v in own]


def test_the_baseline_is_plain_fine_tuning(weights: str) -> None:
    genotype = find_genotype(pretrained_families(weights, FACTS, 32, ())[0].baselines["all"])[1]
    assert genotype.choices == (("stage0", "2"), ("stage1", "1"), ("adapter", "plain"))
    assert pretrained_families("none", FACTS, 32, ()) == ()


def test_other_numbers_of_channels_are_refused(weights: str) -> None:
    facts = DataFacts("images", 1000, 10, (2, 32, 32))
    with pytest.raises(ValueError, match="needs 1 or 3 channels, not 2"):
        pretrained_families(weights, facts, 32, ())


def test_fine_tuning_takes_small_steps() -> None:
    own, usual = recipe(FACTS, fine_tunes=True), recipe(FACTS)
    assert float(str(own["optimizer.lr"])) < float(str(usual["optimizer.lr"])) / 4
    assert float(str(own["optimizer.layer_decay"])) < 1


@pytest.mark.parametrize("downloads", [True, False])
def test_a_missing_file_is_downloaded_only_on_request(
    downloads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, *_, **__: asked.append(url))
    with pytest.raises(ConfigError, match=r"pretrained\.weights=resnet18: .* is missing"):
        pretrained_families("resnet18", FACTS, 32, (), downloads=downloads)
    assert len(asked) == downloads
