"""Scores of untrained networks, with data that is loaded once for all architectures."""

from __future__ import annotations

import dataclasses

import torch

from darts.config import ConfigError, RetrainConfig
from darts.data_modules import make_data_module
from darts.judging.training_free import SCORES, score_network, why_unsupported
from darts.judging.untrained import UntrainedNetwork
from darts.ops.float32 import exact_float32
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype
from darts.training.distributed import Ranks


class UntrainedSetup:
    """Scores architectures of one space on the same training batches.

    Args:
        config: Configuration of a retraining; its genotype is not used.
        names: Scores to compute, keys of ``darts.judging.training_free.SCORES``.
        samples: Samples per batch.
    """

    def __init__(self, config: RetrainConfig, names: tuple[str, ...], samples: int) -> None:
        loader = dataclasses.replace(config.loader, batch_size=samples)
        # The scores would include the weights of an auxiliary head, which only helps trainings.
        self.config = dataclasses.replace(config, loader=loader, auxiliary=0.0, drop_path=0.0)
        self.names = names
        ranks = Ranks(config.device)
        self._device = ranks.device
        data_module = make_data_module(self.config, ranks)
        train, _ = data_module.retrain_loaders()
        count = max((SCORES[name].batches for name in names), default=0)
        if len(train) < count:
            raise ConfigError(
                f"judge.samples={samples}: the scores need {count} batches of this size, and "
                f"dataset={config.dataset.name} has only {len(train)}; lower judge.samples"
            )
        self._batches = [train.batch(0, number) for number in range(max(count, 1))]
        self._example = data_module.example_input()
        self._objective = data_module.objective()
        self._sizes = data_module.network_sizes(config.space)

    def network(self, genotype: AnyGenotype) -> UntrainedNetwork:
        """Build the network of an architecture, with the batches for its scores."""
        with torch.random.fork_rng():  # the constructor draws embeddings and recurrent weights
            torch.manual_seed(self.config.seed)
            net = build_network(genotype, self.config, self._sizes).to(self._device)
        return UntrainedNetwork(
            net, self._objective, self._batches, self._example, seed=self.config.seed
        )

    def unsupported(self, network: UntrainedNetwork) -> dict[str, str]:
        """Return why scores do not apply to the networks of this space, by name of the score."""
        numbers = self._example.is_floating_point()
        reasons = {n: why_unsupported(n, network.net, has_numbers=numbers) for n in self.names}
        return {name: reason for name, reason in reasons.items() if reason}

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the scores of an architecture by name."""
        network = self.network(genotype)
        if unsupported := self.unsupported(network):
            others = ",".join(name for name in self.names if name not in unsupported)
            hint = f"set judge.scores=[{others}]" if others else "choose another judge"
            raise ConfigError(f"judge.scores: {'; '.join(unsupported.values())}; {hint}")
        with exact_float32(self._device):
            return score_network(network, self.names)
