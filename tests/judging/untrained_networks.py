"""Small networks and batches for tests of training-free scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from darts.judging.untrained import UntrainedNetwork
from darts.spaces import NetworkBase, parse_genotype
from darts.spaces.mlp.space import Network as MlpNetwork
from darts.tasks.task import TASKS, ObjectiveSpec

CLASSES = 3


class Chain(NetworkBase):
    """Modules in a row, each of them a block with features."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(parse_genotype('{"space": "mlp", "layers": ["relu_8", "relu_6"]}'))
        self.chain = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.chain:
            x = block(x)
        return x.flatten(2).mean(2) if x.ndim > 2 else x

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.chain)


def mlp(normalization: str = "none", activation: str = "relu") -> MlpNetwork:
    """Return a network with hidden layers of 8 and 6 units for 5 values, in float64."""
    genotype = parse_genotype(f'{{"space": "mlp", "layers": ["{activation}_8", "{activation}_6"]}}')
    return MlpNetwork(
        genotype, classes=CLASSES, in_channels=5, normalization=normalization
    ).double()


def batches(
    count: int = 1, samples: int = 7, shape: tuple[int, ...] = (5,)
) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(samples, *shape, generator=generator, dtype=torch.float64),
            torch.randint(CLASSES, (samples,), generator=generator),
        )
        for _ in range(count)
    ]


def untrained(net: NetworkBase, data: list[tuple[Tensor, Tensor]], seed: int = 0) -> Any:
    """Return the network, prepared for scores."""
    objective = TASKS["classification"]().make_objective(
        ObjectiveSpec(tuple(map(str, range(CLASSES))))
    )
    return UntrainedNetwork(net, objective, data, data[0][0][:1], seed=seed)
