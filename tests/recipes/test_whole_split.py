"""``train_portion=1``: weights and alphas learn from all training samples."""

from __future__ import annotations

import torch

from darts.config import compose
from darts.data_modules import make_data_module
from darts.recipes.rules import DataFacts
from darts.training.distributed import Ranks


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
