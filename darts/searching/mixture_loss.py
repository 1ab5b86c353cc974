"""The training loss of one batch as a function of the mixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from darts.data import Batch
from darts.methods.bilevel.functional import FunctionalLoss, gradients
from darts.ops.float32 import float32_products
from darts.searching.mixtures import run_mixture
from darts.spaces import Mixture, SupernetBase
from darts.tasks import Objective
from darts.training.device import autocast
from darts.training.distributed import Ranks


class SupernetMixtureLoss:
    """A ``darts.methods.mixture_loss.MixtureLoss``; it changes neither parameters nor buffers.

    Args:
        net: Supernet.
        objective: Computes the loss.
        ranks: Processes of the run.
        batch: Batch of the weight step.
        precision: Precision of forward and backward passes.
    """

    def __init__(
        self, net: SupernetBase, objective: Objective, ranks: Ranks, batch: Batch, precision: str
    ) -> None:
        self._net, self._objective, self._ranks = net, objective, ranks
        self._batch, self._precision = batch, precision

    def __call__(self, mixture: Mixture) -> Tensor:
        functional = self._functional(mixture)
        with autocast(self._precision, self._ranks.device):
            return functional.at(functional.weights, functional.alphas, self._batch)

    @torch.no_grad()
    def value(self, mixture: Mixture) -> float:
        return float(self._all_reduce([self(mixture)])[0])

    @torch.enable_grad()
    def gradient(self, mixture: Mixture) -> dict[str, Tensor]:
        leaves = {group: w.detach().requires_grad_() for group, w in mixture.items()}
        functional = self._functional(mixture.with_weights(leaves))
        weights = [weight.detach() for weight in functional.weights]
        with autocast(self._precision, self._ranks.device):
            value = functional.at(weights, functional.alphas, self._batch)
        with float32_products(tf32=self._precision == "tf32"):
            by_leaf = gradients(value, list(leaves.values()))
        summed = self._all_reduce(by_leaf)
        return dict(zip(leaves, summed, strict=True))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        was_training = self._net.training
        self._net.eval()
        try:
            yield
        finally:
            self._net.train(was_training)

    def _functional(self, mixture: Mixture) -> FunctionalLoss[SupernetBase, Batch]:
        def loss_fn(net: SupernetBase, batch: Batch) -> Tensor:
            loss, _ = self._objective.supernet_loss(partial(run_mixture, net, mixture), batch)
            return self._ranks.loss_share(loss, self._objective.num_samples(batch))

        return FunctionalLoss(self._net, loss_fn)

    def _all_reduce(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if self._ranks.reduce is None else self._ranks.reduce(tensors)
