"""The data that scores of untrained networks need, loaded once for all architectures."""

from __future__ import annotations

import dataclasses

from darts.config import ConfigError, RetrainConfig
from darts.data_modules import make_data_module
from darts.judging.training_free import SCORES, score_network, why_unsupported
from darts.judging.untrained import UntrainedNetwork
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype
from darts.training.distributed import Ranks


class UntrainedSetup:
    """Scores architectures of one space on the same training batches.

    Args:
        config: Configuration of a retraining; its genotype is not used.
        names: Scores to compute, keys of ``SCORES``.
        samples: Samples per batch.

    Raises:
        ConfigError: If the data set has too few samples.
    """

    def __init__(self, config: RetrainConfig, names: tuple[str, ...], samples: int) -> None:
        loader = dataclasses.replace(config.loader, batch_size=samples)
        # Weights of an auxiliary head would count, although the head is not part of the network.
        self.config = dataclasses.replace(config, loader=loader, auxiliary=0.0, drop_path=0.0)
        self.names = names
        ranks = Ranks(config.device)
        self._device = ranks.device
        data_module = make_data_module(self.config, ranks)
        train, _ = data_module.retrain_loaders()
        count = max((SCORES[name].batches for name in names), default=0)
        if len(train) < count:
            raise ConfigError(
                f"judge.samples={samples}: {config.dataset.name} has {len(train)} batches of this "
                f"size, and the scores need {count}; lower judge.samples"
            )
        self._batches = [train.batch(0, number) for number in range(max(count, 1))]
        self._example = data_module.example_input()
        self._objective = config.task.objective(data_module.target_names)
        self._sizes = data_module.network_sizes(config.space)

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the scores of an architecture by name.

        Raises:
            ConfigError: If a score does not apply to networks of this space.
        """
        net = build_network(genotype, self.config, self._sizes).to(self._device)
        numbers = self._example.is_floating_point()
        for name in self.names:
            if reason := why_unsupported(name, net, has_numbers=numbers):
                raise ConfigError(f"judge.scores: {reason}; leave it out")
        network = UntrainedNetwork(
            net, self._objective, self._batches, self._example, seed=self.config.seed
        )
        return score_network(network, self.names)
