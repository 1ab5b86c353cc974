"""The training loss of a supernet as a function of the mixture, and masked mixing weights."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor

from darts.data import Batch
from darts.methods.bilevel.functional import FunctionalLoss, gradients
from darts.ops.float32 import float32_products
from darts.spaces import Mixture, SupernetBase
from darts.tasks import Objective
from darts.training.device import precision_context
from darts.training.distributed import Ranks
from darts.training.scoring import evaluating


def masked(weights: Tensor, mask: Tensor) -> Tensor:
    """Return mixing weights multiplied by a mask ``(edges, operations)``.

    The weights may have one more column for the auxiliary skip connection, which stays as it is.
    """
    candidates = mask.shape[1]
    kept = weights[:, :candidates] * mask.to(weights.device)
    return torch.cat([kept, weights[:, candidates:]], dim=1)


class SupernetMixtureLoss:
    """A ``MixtureLoss`` of a batch of the weight step; changes neither parameters nor buffers."""

    def __init__(
        self, net: SupernetBase, objective: Objective, ranks: Ranks, batch: Batch, precision: str
    ) -> None:
        self._net, self._objective, self._ranks = net, objective, ranks
        self._batch, self._precision = batch, precision

    def __call__(self, mixture: Mixture) -> Tensor:
        functional = self._functional(mixture)
        with precision_context(self._precision, self._ranks.device):
            return functional.at(functional.weights, functional.alphas, self._batch)

    @torch.no_grad()
    def value(self, mixture: Mixture) -> float:
        return float(self._ranks.all_reduce([self(mixture)])[0])

    @torch.enable_grad()
    def gradient(self, mixture: Mixture) -> dict[str, Tensor]:
        leaves = {group: w.detach().requires_grad_() for group, w in mixture.items()}
        functional = self._functional(mixture.with_weights(leaves))
        weights = [weight.detach() for weight in functional.weights]
        with precision_context(self._precision, self._ranks.device):
            value = functional.at(weights, functional.alphas, self._batch)
        with float32_products(tf32=self._precision == "tf32"):
            by_leaf = gradients(value, list(leaves.values()))
        return dict(zip(leaves, self._ranks.all_reduce(by_leaf), strict=True))

    def evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self._net)

    def _functional(self, mixture: Mixture) -> FunctionalLoss[SupernetBase, Batch]:
        def loss_fn(net: SupernetBase, batch: Batch) -> Tensor:
            loss, _ = self._objective.supernet_loss(partial(net, mixture=mixture), batch)
            return self._ranks.loss_share(loss, self._objective.num_samples(batch))

        return FunctionalLoss(self._net, loss_fn)
