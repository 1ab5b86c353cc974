"""The untrained networks of trials, for their costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from darts.config import RetrainConfig
from darts.data_modules import DataModule, make_data_module
from darts.recipes.commands import trial_config
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype, NetworkBase, Space
from darts.spaces.lookup import find_genotype
from darts.training.distributed import Ranks


class TrialNetwork(NamedTuple):
    """The network that a trial would train, in evaluation mode."""

    space: Space
    genotype: AnyGenotype
    network: NetworkBase
    example: Tensor  # a batch with one sample, on the network's device
    data: DataModule


@dataclass
class TrialNetworks:
    """Builds the networks of trials; data is loaded once for all of them."""

    _data: dict[str, DataModule] = field(default_factory=dict)

    def build(self, overrides: Sequence[str]) -> TrialNetwork:
        """Build the network of a retraining.

        Args:
            overrides: All overrides of the retraining.
        """
        config = trial_config("retrain", overrides)
        assert isinstance(config, RetrainConfig)
        key = f"{config.dataset} {config.task}"
        if key not in self._data:
            self._data[key] = make_data_module(config, Ranks(config.device))
        data = self._data[key]
        example = data.example_input()
        _, genotype = find_genotype(config.genotype)
        net = build_network(genotype, config, data.network_sizes(config.space))
        return TrialNetwork(config.space, genotype, net.to(example.device).eval(), example, data)
