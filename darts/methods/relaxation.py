"""What all relaxations have in common: from alphas to the mixture that a supernet computes.

A relaxation says how the alphas of an edge become weights of its operations. With it go, for any
of them, partial channels and edge normalization (PC-DARTS) and the auxiliary skip connection
(DARTS-).

References:
    PC-DARTS, arXiv:1907.05737, sections 3.2 and 3.3; DARTS-, arXiv:2009.01027, section 3.2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.registry import Registry, choice, number
from darts.spaces.context import SearchContext
from darts.spaces.mixture import Mixture

RELAXATIONS = Registry("relaxation", "darts.methods")


def edge_group(group: str) -> str:
    """Name of the alphas that weight the edges of a group."""
    return f"{group}_edges"


@dataclass
class Relaxation(ABC):
    """One relaxation and its options.

    Attributes:
        partial: one in so many channels goes through the operations.
        edge_normalization: whether each edge has an alpha of its own, whose softmax over the edges
            into one node weights the edges.
        auxiliary_skip: weight of a skip connection beside the candidates at the start; 0: none.
        auxiliary_decay: how that weight goes to zero over the search.
        uses_alphas: whether what the supernet computes depends on the alphas.
    """

    uses_alphas: ClassVar[bool] = True
    name: str = ""
    partial: int = number(1, low=1)
    edge_normalization: bool = False
    auxiliary_skip: float = number(0.0, low=0)
    auxiliary_decay: str = choice("linear", "linear", "cosine", "constant")

    @abstractmethod
    def probabilities(self, alpha: Tensor, kept: Tensor | None) -> Tensor:
        """How much each operation is worth: what is read, shown and discretized.

        Args:
            alpha: ``(edges, operations)``.
            kept: mask of the same shape, or None for all.

        Returns:
            Of the same shape, within 0 and 1, and 0 where not kept.
        """

    def draw(
        self, alpha: Tensor, kept: Tensor | None, context: SearchContext
    ) -> tuple[Tensor, Any]:
        """Weights to train with, and a mask of the operations to run, or None for the kept ones.

        Random relaxations draw from PyTorch's global generator.
        """
        return self.probabilities(alpha, kept), None

    def judge(self, alpha: Tensor, kept: Tensor | None) -> tuple[Tensor, Any]:
        """Weights to score the supernet with, and a mask, as ``draw``; nothing random."""
        return self.probabilities(alpha, kept), None

    def prepare(self, net: Any) -> None:
        """Add the alphas to a supernet that this relaxation has beside those of operations."""
        if not self.edge_normalization:
            return
        for group in list(net.alphas):
            start = 1e-3 * torch.randn(len(net.alphas[group]))
            net.alphas[edge_group(group)] = nn.Parameter(start)

    def mixture(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Mixture:
        """What the supernet computes in training.

        Args:
            alphas: of the supernet, those of edges among them.
            context: of the search.
        """
        drawn = {
            group: self.draw(alphas[group], _kept(context, group, alphas[group]), context)
            for group in context.candidates
        }
        return self._with_extras(drawn, alphas, context)

    def judged(self, alphas: Mapping[str, Tensor], context: SearchContext) -> Mixture:
        """What the supernet computes when it is scored."""
        judged = {
            group: self.judge(alphas[group], _kept(context, group, alphas[group]))
            for group in context.candidates
        }
        return self._with_extras(judged, alphas, context)

    def expected(self, alphas: Mapping[str, Tensor], context: SearchContext) -> dict[str, Tensor]:
        """What the architecture is read from: probabilities, times the weights of the edges."""
        edges = self._edges(alphas, context)
        return {
            group: self.probabilities(alphas[group], _kept(context, group, alphas[group]))
            * (1.0 if edges is None else edges[group][:, None])
            for group in context.candidates
        }

    def _with_extras(
        self,
        drawn: Mapping[str, tuple[Tensor, Any]],
        alphas: Mapping[str, Tensor],
        context: SearchContext,
    ) -> Mixture:
        edges = self._edges(alphas, context)
        weights: dict[str, Tensor] = {}
        active: dict[str, Tensor] = {}
        for group, (weight, mask) in drawn.items():
            mask = _kept(context, group, weight) if mask is None else mask
            if edges is not None:
                weight = weight * edges[group][:, None]
            if self.auxiliary_skip > 0:
                beta = self.auxiliary_weight(context.progress)
                share = torch.full_like(weight[:, :1], beta)
                if edges is not None:
                    share = share * edges[group][:, None]
                weight = torch.cat([weight, share], dim=1)
                mask = None if mask is None else F.pad(mask, (0, 1), value=True)
            weights[group] = weight
            if mask is not None and not bool(mask.all()):
                active[group] = mask
        return Mixture(weights, bypass=edges, active=active or None)

    def auxiliary_weight(self, progress: float) -> float:
        """Weight of the auxiliary skip connection."""
        if self.auxiliary_decay == "constant":
            return self.auxiliary_skip
        if self.auxiliary_decay == "linear":
            return self.auxiliary_skip * (1 - progress)
        return self.auxiliary_skip * 0.5 * (1 + math.cos(math.pi * progress))

    def _edges(
        self, alphas: Mapping[str, Tensor], context: SearchContext
    ) -> dict[str, Tensor] | None:
        """The weights of the edges, which sum to one over those into one node."""
        if not self.edge_normalization:
            return None
        weights = {}
        for group, targets in context.targets.items():
            sizes = [targets.count(node) for node in dict.fromkeys(targets)]
            parts = alphas[edge_group(group)].split(sizes)
            weights[group] = torch.cat([part.softmax(0) for part in parts])
        return weights


def _kept(context: SearchContext, group: str, alpha: Tensor) -> Tensor | None:
    mask = context.kept.get(group)
    return None if mask is None else mask.to(alpha.device)


def kept_softmax(alpha: Tensor, kept: Tensor | None) -> Tensor:
    """Softmax over the operations of each edge that are kept; 0 for the others."""
    if kept is None:
        return alpha.softmax(-1)
    weights = alpha.masked_fill(~kept, -math.inf).softmax(-1)
    return weights.where(kept, torch.zeros_like(weights))  # of an edge that keeps nothing, too
