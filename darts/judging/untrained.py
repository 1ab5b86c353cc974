"""An untrained network, prepared for scores that need no training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from darts.data import Batch
from darts.spaces import NetworkBase
from darts.tasks import Objective


class UntrainedNetwork:
    """A network with fresh weights, and batches to score it with.

    Dropout and drop path are off, because their noise would hide small differences between
    networks. Batch norm uses the statistics of each batch.

    Args:
        net: The network; its weights are replaced.
        objective: Computes the training loss.
        batches: Training batches, on the device of the network; empty if no score needs any.
        example: Input of one sample, on the same device.
        seed: Seed of the weights and of ``random_signs``.

    Attributes:
        net, objective, batches, example: The arguments.
    """

    def __init__(
        self,
        net: NetworkBase,
        objective: Objective,
        batches: Sequence[Batch],
        example: Tensor,
        *,
        seed: int = 0,
    ) -> None:
        self.net, self.objective, self.batches, self.example = net, objective, batches, example
        self.generator = torch.Generator().manual_seed(seed)
        self._gradients: dict[int, list[Tensor]] = {}
        net.drop_path = 0.0
        initialize(net, self.generator)
        net.eval()  # without dropout
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()

    def weights(self) -> list[nn.Parameter]:
        """Return the weights of convolutions, linear layers and embeddings, without biases."""
        return [parameter for parameter in self.net.parameters() if parameter.ndim > 1]

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean training loss over a batch, a scalar."""
        loss, _ = self.objective.network_loss(self.net, batch)
        return loss

    def gradients(self, number: int = 0) -> list[Tensor]:
        """Return the gradient of the loss of a batch with respect to each of ``weights``.

        They are zero for weights that the loss does not depend on, and computed only once per
        batch.

        Args:
            number: Index of the batch in ``batches``.
        """
        if number not in self._gradients:
            weights = self.weights()
            loss = self.loss(self.batches[number])
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            self._gradients[number] = [
                torch.zeros_like(weight) if gradient is None else gradient
                for weight, gradient in zip(weights, gradients, strict=True)
            ]
        return self._gradients[number]

    @cached_property
    def block_outputs(self) -> list[Tensor]:
        """Outputs ``(B, C, ...)`` of ``NetworkBase.feature_blocks`` for the first batch.

        They belong to one autograd graph. A block that the forward pass does not call has no
        output in the list.
        """
        outputs: list[Tensor] = []

        def record(module: nn.Module, inputs: object, output: Tensor) -> None:
            outputs.append(output)

        hooks = [block.register_forward_hook(record) for block in self.net.feature_blocks()]
        try:
            self.loss(self.batches[0])
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    @torch.no_grad()
    def forward(self, batch: Batch) -> None:
        """Run a forward pass without gradients, for dispatch modes that record it."""
        self.loss(batch)

    def random_signs(self, like: Tensor) -> Tensor:
        """Return random entries -1 and 1 with the shape, data type and device of ``like``."""
        signs = torch.randint(0, 2, like.shape, generator=self.generator)
        return (2 * signs - 1).to(like)


@torch.no_grad()
def initialize(net: nn.Module, generator: torch.Generator) -> None:
    """Draw weights with which ReLU networks keep the variance of activations; set biases to zero.

    Convolutions and linear layers get normal weights of variance ``2 / fan_in`` (He et al.,
    arXiv:1502.01852, equation 10). The same distribution for all networks makes their scores
    comparable. Embeddings and norms keep the values from their constructors.
    """
    for module in net.modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            fan_in = module.weight[0].numel()
            noise = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(noise * math.sqrt(2 / fan_in))
            if module.bias is not None:
                module.bias.zero_()
