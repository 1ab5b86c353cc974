"""Terms of regularizers in a weight step are computed in float32, whatever the precision is."""

from __future__ import annotations

import pytest
import torch
from tiny_search import make_batch, make_searcher
from torch import Tensor


def weight_gradient(precision: str, weight: float) -> Tensor:
    """Return the gradient of a weight step of Lambda-DARTS in the last of two epochs."""
    torch.manual_seed(0)
    searcher = make_searcher(
        "method=lambda_darts",
        "space.cells=5",
        "epochs=2",
        f"precision={precision}",
        f"regularizer.weight={weight}",
        "optimizer.lr=1",
        "optimizer.lr_min=1",
        "optimizer.momentum=0",
        "optimizer.weight_decay=0",
        "optimizer.clip=0",
    )
    searcher.begin_epoch(1)
    before = [parameter.detach().clone() for parameter in searcher.net.weight_parameters()]
    searcher.weight_step(make_batch(0))
    after = searcher.net.weight_parameters()
    return torch.cat([(a - b.detach()).flatten() for a, b in zip(before, after, strict=True)])


@pytest.mark.parametrize("precision", ["bf16"])
def test_a_finite_difference_is_the_same_in_bf16(precision: str) -> None:
    """In 16 bits, the difference of two losses 1e-4 apart would be noise."""
    expected = weight_gradient("fp32", 0.125) - weight_gradient("fp32", 0.0)
    actual = weight_gradient(precision, 0.125) - weight_gradient(precision, 0.0)
    assert float(expected.norm()) > 1e-3
    assert float((actual - expected).norm()) < 0.05 * float(expected.norm())
