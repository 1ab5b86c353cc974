"""Relaxations, which turn alphas into the mixture that a supernet computes.

Every relaxation can be combined with partial channels and edge normalization (PC-DARTS) and with an
auxiliary skip connection (DARTS-).

References:
    PC-DARTS, arXiv:1907.05737, sections 3.2 and 3.3; DARTS-, arXiv:2009.01027, section 3.2.
    DARTS, arXiv:1806.09055, equation 2: the softmax.
    Chu et al., "Fair DARTS", arXiv:1911.12126, section 3.2: the sigmoid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.methods.stages import Stage
from darts.ops.transfer import constant_on, on_cpu
from darts.registry import Registry, choice, number
from darts.spaces import ByGroup, Mixture, SearchContext, Space, SupernetBase
from darts.spaces.supernet import INITIAL_DEVIATION

RELAXATIONS: Registry[Relaxation] = Registry("relaxation", "darts.methods")


def edge_group(group: str) -> str:
    """Return the name of the group whose alphas give the edge weights of ``group``."""
    return f"{group}_edges"


@dataclass
class Relaxation:
    """A relaxation and its options."""

    uses_alphas: ClassVar[bool] = True  # whether the output of the supernet depends on the alphas
    # Whether operations with weight 0 do not run. Otherwise all remaining candidates run.
    is_sparse: ClassVar[bool] = False
    name: str = ""
    partial: int = number(1, low=1)  # 1/partial of the channels pass through the candidates
    # Whether each edge has an additional alpha. A softmax over the edges into a node turns these
    # alphas into edge weights.
    edge_normalization: bool = False
    # Initial weight of a skip connection in addition to the candidates, and its schedule.
    auxiliary_skip: float = number(0.0, low=0)
    auxiliary_decay: str = choice("linear", "linear", "cosine", "constant")

    def operation_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        """Return the probability of each operation of each edge of a group; 0 outside the mask.

        All are ``(edges, operations)``. The mask holds the candidates that are still in the search;
        None for all.
        """
        return masked_softmax(alpha, mask)

    def sample_weights(self, alpha: Tensor, mask: Tensor | None, context: SearchContext) -> Tensor:
        """Return mixing weights for training, which may draw from PyTorch's global generator."""
        return self.operation_probabilities(alpha, mask)

    def mean_weights(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        """Return mixing weights for evaluation, without random draws: here the probabilities."""
        return self.operation_probabilities(alpha, mask)

    def prepare(self, net: SupernetBase) -> None:
        """Add the alphas of the edges to a supernet, if ``edge_normalization`` is set."""
        if not self.edge_normalization:
            return
        for group in list(net.alphas):
            start = INITIAL_DEVIATION * torch.randn(len(net.alphas[group]))
            net.alphas[edge_group(group)] = nn.Parameter(start)

    def mixture(self, alphas: ByGroup, context: SearchContext) -> Mixture:
        """Return the mixture for training, given all alphas of the supernet by group."""
        weights = {
            group: self.sample_weights(alpha, mask, context)
            for group, alpha, mask in _groups(alphas, context)
        }
        return self._mixture(weights, alphas, context)

    def mixtures(self, alphas: ByGroup, context: SearchContext) -> list[Mixture]:
        """Return the mixtures of a weight step; those after the first learn from its outputs."""
        return [self.mixture(alphas, context)]

    def check(self, space: Space, stages: Sequence[Stage]) -> None:
        """Raise ValueError if the relaxation does not support a space or the stages of a search."""

    def mean_mixture(self, alphas: ByGroup, context: SearchContext) -> Mixture:
        """Return the mixture for evaluation, which contains no random draws."""
        weights = {
            group: self.mean_weights(alpha, mask) for group, alpha, mask in _groups(alphas, context)
        }
        return self._mixture(weights, alphas, context)

    def probabilities(self, alphas: ByGroup, context: SearchContext) -> dict[str, Tensor]:
        """Return the probabilities that the genotype is derived from.

        They are ``(edges, operations)`` by group: the probabilities of the operations times the
        edge weights, if there are any.
        """
        edges = self._edge_weights(alphas, context)
        return {
            group: self.operation_probabilities(alpha, mask)
            * (1.0 if edges is None else edges[group][:, None])
            for group, alpha, mask in _groups(alphas, context)
        }

    def _mixture(
        self,
        own_weights: ByGroup,
        alphas: ByGroup,
        context: SearchContext,
        masks: ByGroup | None = None,
    ) -> Mixture:
        """Apply edge weights, also to bypassing channels, and add the auxiliary skip connection.

        ``masks`` select the operations to run; None for those that follow from ``is_sparse``.
        """
        if masks is None and self.is_sparse:
            masks = {group: weight.detach() != 0 for group, weight in own_weights.items()}
        masks = context.masks if masks is None else masks
        edges = self._edge_weights(alphas, context)
        weights: dict[str, Tensor] = {}
        active: dict[str, Tensor] = {}
        for group, weight in own_weights.items():
            mask = masks.get(group)
            if edges is not None:
                weight = weight * edges[group][:, None]
            if self.auxiliary_skip > 0:
                beta = self.auxiliary_weight(context.progress)
                skip = torch.full_like(weight[:, :1], beta)
                if edges is not None:
                    skip = skip * edges[group][:, None]
                weight = torch.cat([weight, skip], dim=1)
                mask = None if mask is None else F.pad(mask, (0, 1), value=True)
            weights[group] = weight
            if mask is not None:
                active[group] = mask
        active = {group: mask for group, mask in on_cpu(active).items() if not bool(mask.all())}
        return Mixture(weights, bypass=edges, active=active or None)

    def auxiliary_weight(self, progress: float) -> float:
        """Return the weight of the auxiliary skip connection at a search progress in [0, 1)."""
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        factors = {"constant": 1.0, "linear": 1 - progress, "cosine": cosine}
        return self.auxiliary_skip * factors[self.auxiliary_decay]

    def _edge_weights(self, alphas: ByGroup, context: SearchContext) -> dict[str, Tensor] | None:
        """Return the edge weights by group, ``(edges,)``; those into one node sum to one."""
        if not self.edge_normalization:
            return None
        weights = {}
        for group, targets in context.targets.items():
            sizes = [targets.count(node) for node in dict.fromkeys(targets)]
            by_node = torch.split(alphas[edge_group(group)], sizes)
            weights[group] = torch.cat([alpha.softmax(0) for alpha in by_node])
        return weights


def _groups(alphas: ByGroup, context: SearchContext) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Yield name, alphas and mask of each group, without the alphas of edge normalization."""
    for group in context.candidates:
        alpha, mask = alphas[group], context.masks.get(group)
        yield group, alpha, None if mask is None else constant_on(mask, alpha.device)


def masked_softmax(alpha: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax over the candidates of each edge inside the mask; 0 for the others."""
    if mask is None:
        return alpha.softmax(-1)
    weights = alpha.masked_fill(~mask, -math.inf).softmax(-1)
    return weights.where(mask, torch.zeros_like(weights))  # an edge without candidates has NaN


@RELAXATIONS.register
@dataclass
class Softmax(Relaxation):
    """Positive mixing weights that sum to one on each edge."""

    name: str = "softmax"


@RELAXATIONS.register
@dataclass
class Sigmoid(Relaxation):
    """Mixing weights between 0 and 1. The operations of an edge do not compete."""

    name: str = "sigmoid"

    def operation_probabilities(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        weights = alpha.sigmoid()
        return weights if mask is None else weights * mask
