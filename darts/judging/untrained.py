"""An untrained network, prepared for scores that need no training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from darts.data import Batch
from darts.spaces import NetworkBase
from darts.tasks import Objective

_RELUS = (
    torch.ops.aten.relu,
    torch.ops.aten.relu_,
    torch.ops.aten.hardtanh,  # ReLU6
    torch.ops.aten.hardtanh_,
)


class CodeRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which outputs of ReLUs are positive while it is active.

    Some networks call ``torch.relu`` or ``F.relu``, which module hooks would miss.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.codes: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _RELUS:
            self.codes.append((result > 0).flatten(1))
        return result


class FirstPass(NamedTuple):
    """Results of the forward pass of the first batch."""

    loss: Tensor  # mean training loss, a scalar
    # Outputs (B, C, ...) of ``NetworkBase.feature_blocks``, in the autograd graph of the loss,
    # without the blocks that the pass does not call.
    block_outputs: list[Tensor]
    codes: list[Tensor]  # which units are active, (B, units) bool for each call of a ReLU


class UntrainedNetwork:
    """A network with fresh weights, and batches to score it with.

    Dropout and drop path are off, because their noise would hide small differences between
    networks. Batch norm uses the statistics of each batch. Scores share the passes over a batch.
    The weights of ``net`` are replaced. Batches and ``example``, the input of one sample, are on
    its device.
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
        self._gradients: dict[int, Sequence[Tensor]] = {}
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

    @cached_property
    def first_pass(self) -> FirstPass:
        """The forward pass of the first batch; its graph is kept for several backward passes."""
        outputs: list[Tensor] = []

        def record(module: nn.Module, inputs: object, output: Tensor) -> None:
            outputs.append(output)

        with ExitStack() as hooks, CodeRecorder() as recorder:
            for block in self.net.feature_blocks():
                hooks.enter_context(block.register_forward_hook(record))
            loss = self.loss(self.batches[0])
        return FirstPass(loss, outputs, recorder.codes)

    def gradients(self, number: int = 0) -> Sequence[Tensor]:
        """Return the gradient of the loss of a batch with respect to each of ``weights``.

        They are zero for weights that the loss does not depend on, and computed only once per
        batch.
        """
        if number not in self._gradients:
            weights = self.weights()
            loss = self.first_pass.loss if number == 0 else self.loss(self.batches[number])
            self._gradients[number] = torch.autograd.grad(
                loss, weights, retain_graph=number == 0, materialize_grads=True
            )
        return self._gradients[number]

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
