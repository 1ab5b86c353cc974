"""Uniformly sampled architectures, independent of the alphas."""

from __future__ import annotations

import torch
from tiny_search import context_and_supernet
from torch import Tensor

from darts.methods.relaxation_sampled import Uniform
from darts.spaces.mixture import Mixture


def sample_mixtures(
    space: str, count: int
) -> tuple[list[Mixture], dict[str, tuple[tuple[str, ...], ...]]]:
    """Sample mixtures with alphas that strongly prefer the last operation."""
    context, net = context_and_supernet(space)
    alphas = {group: torch.zeros_like(alpha) for group, alpha in net.alphas.items()}
    for alpha in alphas.values():
        alpha[:, -1] = 50
    torch.manual_seed(0)
    return [Uniform().mixture(alphas, context) for _ in range(count)], dict(context.candidates)


def chi_square(counts: Tensor) -> float:
    wanted = counts.sum() / counts.numel()
    return float((counts - wanted).square().sum() / wanted)


def test_cnn_samples_two_edges_per_node_and_never_none() -> None:
    mixtures, candidates = sample_mixtures("cnn", 1500)
    for cell in ("normal", "reduce"):
        weights = torch.stack([m[cell] for m in mixtures])
        assert weights.unique().tolist() == [0, 1]
        used = weights.sum(2)
        assert used.max() == 1
        first = 0
        for inputs in range(2, 6):
            entering = used[:, first : first + inputs]
            assert entering.sum(1).eq(2).all()
            # Each edge occurs in 2 of `inputs` architectures.
            wanted = 2 * len(mixtures) / inputs
            spread = (wanted * (1 - 2 / inputs)) ** 0.5
            assert ((entering.sum(0) - wanted).abs() <= 4 * spread).all()
            first += inputs
        by_operation = weights.sum((0, 1))
        none = candidates[cell][0].index("none")
        assert by_operation[none] == 0
        others = by_operation[[c for c in range(8) if c != none]]
        assert chi_square(others) < 22.5  # 6 degrees of freedom, p = 0.001


def test_only_the_sampled_architecture_is_active() -> None:
    for space in ("cnn", "nas201"):
        for mixture in sample_mixtures(space, 3)[0]:
            for group, weight in mixture.items():
                assert mixture.active[group].equal(weight > 0)


def test_samples_are_uniform_over_the_remaining_candidates() -> None:
    context, net = context_and_supernet("nas201")
    kept = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    kept[2], kept[3] = torch.tensor([False, True, False, False, False]), False
    context.masks["cell"] = kept
    torch.manual_seed(0)
    weights = torch.stack([Uniform().mixture(net.alphas, context)["cell"] for _ in range(2000)])
    assert not weights[:, ~kept].any()
    assert weights.sum(2).eq(kept.any(1)).all()
    for edge in range(6):
        if kept[edge].sum() > 1:
            counts = weights[:, edge, kept[edge]].sum(0)
            assert chi_square(counts) < 18.5  # at most 4 degrees of freedom


def test_probabilities_are_uniform_over_the_mask() -> None:
    alpha = torch.randn(2, 4)
    kept = torch.tensor([[True, True, False, True], [False, False, True, False]])
    assert Uniform().edge_probabilities(alpha, None).eq(0.25).all()
    wanted = torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [0, 0, 1, 0]])
    torch.testing.assert_close(Uniform().edge_probabilities(alpha, kept), wanted)
