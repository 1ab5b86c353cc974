"""Costs and training-free scores of architectures; networks beyond the limits get no scores."""

from __future__ import annotations

import contextlib
from typing import Protocol

import torch

from darts.config import ConfigError, RetrainConfig
from darts.hpo.untrained_setup import UntrainedSetup
from darts.judging.limits import CostMeter
from darts.judging.training_free import score_network
from darts.spaces import AnyGenotype

COSTS = ("macs", "parameters")

SCORES = ("trainability", "macs", "naswot", "synflow", "zico")
"""Scores that are combined; those that do not apply to a space are left out.

These are the scores of ``conf/judge/training_free.yaml`` without ``expressivity``, which separates
bad architectures from good ones but ranks good ones in reverse: its rank correlation with the
accuracy is 0.61 over 538 random architectures of NAS-Bench-201 and -0.34 over those above 93 %.
"""

SAMPLES = 16
"""Samples per batch; fewer for data sets that are too small."""


class Scorer(Protocol):
    """Measures architectures.

    Attributes:
        names: Names of the scores to combine.
    """

    names: tuple[str, ...]

    def __call__(self, genotype: AnyGenotype, limits: CostMeter) -> dict[str, float]:
        """Return ``COSTS``, the limited costs and, if these are within their limits, scores."""


class UntrainedScorer:
    """Measures the networks of a retraining before any training.

    Args:
        config: Configuration of the retraining; its genotype is not used.

    Raises:
        ConfigError: If the data set has too few samples.
    """

    def __init__(self, config: RetrainConfig) -> None:
        self._setup = _setup(config)
        example = config.space.random(torch.Generator().manual_seed(0))
        unsupported = self._setup.unsupported(self._setup.network(example))
        self.names = tuple(name for name in SCORES if name not in unsupported)

    def __call__(self, genotype: AnyGenotype, limits: CostMeter) -> dict[str, float]:
        network = self._setup.network(genotype)
        costs = {
            "macs": float(network.macs),
            "parameters": float(network.parameters),
            **limits(genotype, network.net, network.example),
        }
        if limits.excess(costs) > 1:
            return costs
        return {**costs, **score_network(network, self.names)}


def _setup(config: RetrainConfig) -> UntrainedSetup:
    """Return the setup with the largest batches for which the data set has enough samples.

    Raises:
        ConfigError: If the data set has too few samples for batches of two.
    """
    for samples in (SAMPLES, SAMPLES // 2, SAMPLES // 4):
        with contextlib.suppress(ConfigError):
            return UntrainedSetup(config, SCORES, samples)
    return UntrainedSetup(config, SCORES, 2)
