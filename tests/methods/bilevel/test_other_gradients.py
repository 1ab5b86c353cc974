"""Single-level optimization and frozen alphas."""

from __future__ import annotations

import torch
from tiny_search import context_and_supernet, cross_entropy, make_batch, make_searcher

from darts.methods.bilevel import GRADIENTS
from darts.methods.bilevel.arch_gradient import GradientInputs


def test_single_level_is_the_gradient_of_the_training_loss() -> None:
    """It matches a backward pass and does not use the validation batch."""
    _, net = context_and_supernet("nas201")
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    inputs = GradientInputs(net, cross_entropy, make_batch(0), make_batch(1), optimizer)
    actual = GRADIENTS["single_level"]().gradient(inputs)
    cross_entropy(net, make_batch(0)).backward()
    torch.testing.assert_close(actual["cell"], net.alphas["cell"].grad)
    other = GRADIENTS["first_order"]().gradient(inputs)
    assert not torch.allclose(actual["cell"], other["cell"], rtol=0.1)


def test_frozen_alphas_are_not_updated() -> None:
    searcher = make_searcher("bilevel=frozen", "epochs=3")
    for epoch in range(3):
        searcher.begin_epoch(epoch)
        assert not searcher.updates_alphas_in(epoch)
    assert {name for name in GRADIENTS if not GRADIENTS[name].updates_alphas} == {"frozen"}
