"""Data modules: data sets that are loaded once, and splits that have all samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.config import compose
from darts.data_modules import data_module
from darts.data_modules.data_module import keep_data, make_data_module
from darts.recipes.rules import DataFacts
from darts.training.distributed import Ranks


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the data sets that are loaded from now on."""
    names: list[str] = []
    load = data_module.load

    def record(name: str, **options: Any) -> object:
        names.append(name)
        return load(name, **options)

    monkeypatch.setattr(data_module, "load", record)
    return names


def source(*overrides: str, given: object | None = None) -> object:
    config = compose("retrain", ["genotype=DARTS_V2", "dataset=synthetic", *overrides])
    return make_data_module(config, Ranks(), given).source


def test_a_block_loads_each_data_set_once(loaded: list[str]) -> None:
    with keep_data():
        first = source()
        assert source("seed=5", "loader.batch_size=8") is first
        other = source("dataset.samples=40")
        assert other is not first
        assert source("dataset.samples=40") is other
    assert len(loaded) == 2
    assert source() is not first
    assert len(loaded) == 3


def test_a_block_uses_data_that_are_loaded_already(loaded: list[str]) -> None:
    given = source()
    with keep_data():
        assert source(given=given) is given
        assert source() is given
    assert len(loaded) == 1


def test_both_loaders_read_all_samples_in_orders_of_their_own() -> None:
    small = ["dataset=synthetic", "dataset.samples=96", "loader.batch_size=8"]
    config = compose("search", [*small, "train_portion=1"])
    data = make_data_module(config, Ranks())
    loaders = data.search_loaders()
    assert set(data.subsets) == {"weights", "alphas"}
    assert all(sorted(s.tolist()) == list(range(96)) for s in data.subsets.values())
    assert len(loaders.weights) == len(loaders.alphas) == 12
    orders = [
        torch.cat([labels for _, labels in loader.epoch(0)])
        for loader in (loaders.weights, loaders.alphas)
    ]
    assert orders[0].sort()[0].equal(orders[1].sort()[0])
    assert not orders[0].equal(orders[1])
    assert sum(len(labels) for _, labels in loaders.scoring.epoch(0)) == 96
    # The facts count each sample once.
    half = make_data_module(compose("search", small), Ranks())
    half.search_loaders()
    whole, expected = DataFacts.read(config, data), DataFacts.read(compose("search", small), half)
    assert whole == expected
