"""The standard deviation of the initial alphas can be set."""

from __future__ import annotations

import pytest
import torch
from tiny_search import make_searcher


@pytest.mark.parametrize("deviation", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("method", ["darts_v1", "pc_darts"])
def test_initial_alphas_are_scaled(method: str, deviation: float) -> None:
    overrides = (f"method={method}", "space.cells=1", "space.channels=4")
    default = make_searcher(*overrides).net
    scaled = make_searcher(*overrides, f"arch_optimizer.initial_deviation={deviation}").net
    assert len(scaled.alphas) == (4 if method == "pc_darts" else 2)  # also those of the edges
    for group, alpha in default.alphas.items():
        torch.testing.assert_close(scaled.alphas[group], alpha * (deviation / 1e-3))
    weights = zip(default.weight_parameters(), scaled.weight_parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in weights)
