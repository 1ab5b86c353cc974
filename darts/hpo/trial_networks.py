"""The untrained networks of trials: for their costs, their limits and training-free scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from darts.config import ConfigError, LimitConfig, RetrainConfig
from darts.data_modules import DataModule, make_data_module
from darts.hpo.search_space import SearchSpace
from darts.judging.devices.latency_model import LinearModel
from darts.judging.limits.costs import CostMeter, require_sizes
from darts.judging.training_free import SCORES, score_network, why_unsupported
from darts.judging.untrained import UntrainedNetwork
from darts.ops.float32 import exact_float32
from darts.recipes.commands import retrain_config
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype, NetworkBase, Space
from darts.spaces.lookup import find_genotype
from darts.spaces.parameters import Point, point_key
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
    """Builds the networks of retrainings; data is loaded once for all of them."""

    _data: dict[str, DataModule] = field(default_factory=dict)

    def build(self, overrides: Sequence[str]) -> TrialNetwork:
        """Build the network of a retraining with these overrides."""
        config = retrain_config(overrides)
        key = f"{config.dataset} {config.task}"
        if key not in self._data:
            self._data[key] = make_data_module(config, Ranks(config.device))
        data = self._data[key]
        example = data.example_input()
        _, genotype = find_genotype(config.genotype)
        net = build_network(genotype, config, data.network_sizes(config.space))
        return TrialNetwork(config.space, genotype, net.to(example.device).eval(), example, data)


@dataclass
class LimitedPoints:
    """Measures the limited costs of the networks that a study's trials would train."""

    limit: LimitConfig
    space: SearchSpace
    overrides: Callable[[Point], Sequence[str]]  # returns all overrides of a point's retraining
    _costs: dict[object, dict[str, float]] = field(default_factory=dict, init=False)
    _networks: TrialNetworks = field(default_factory=TrialNetworks, init=False)

    @cached_property
    def meter(self) -> CostMeter:
        """The limits of the study."""
        return CostMeter.from_config(self.limit)

    def allows(self, point: Point) -> bool:
        """Return whether the network of a point is within all limits."""
        return self.meter.excess(self.costs(point)) <= 1

    def may_propose(self, point: Point) -> bool:
        """Return ``allows``; True if the costs cannot be measured.

        The trial of such a point then fails, with the reason and the point.
        """
        try:
            return self.allows(point)
        except (ValueError, RuntimeError):
            return True

    def costs(self, point: Point) -> dict[str, float]:
        """Return the limited costs of the network of a point, by name; measured once per point."""
        if not self.meter.limits:
            return {}
        key = point_key(point)
        if key not in self._costs:
            self._costs[key] = self._measure(point)
        return self._costs[key]

    def _measure(self, point: Point) -> dict[str, float]:
        meter, genotype = self.meter, self.space.genotype(point)
        model, without_network = meter.model, meter.limits.keys() == {"latency_ms"}
        if isinstance(model, LinearModel) and without_network and genotype is not None:
            return {"latency_ms": model.predict(genotype)}
        built = self._networks.build(self.overrides(point))
        require_sizes("limit.device", model, built.space, built.data.sample_shape)
        return meter(built.genotype, built.network, built.example)


class UntrainedSetup:
    """Scores architectures of one space on the same training batches.

    The genotype of the configuration is not used. ``names`` are keys of
    ``darts.judging.training_free.SCORES``, ``samples`` is the size of a batch.
    """

    def __init__(self, config: RetrainConfig, names: tuple[str, ...], samples: int) -> None:
        loader = dataclasses.replace(config.loader, batch_size=samples)
        # The scores would include the weights of an auxiliary head, which only helps training.
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

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the scores of an architecture by name."""
        with torch.random.fork_rng():  # the constructor draws embeddings and recurrent weights
            torch.manual_seed(self.config.seed)
            net = build_network(genotype, self.config, self._sizes).to(self._device)
        numbers = self._example.is_floating_point()
        reasons = {n: why_unsupported(n, net, has_numbers=numbers) for n in self.names}
        if unsupported := [reason for reason in reasons.values() if reason]:
            others = ",".join(name for name, reason in reasons.items() if not reason)
            hint = f"set judge.scores=[{others}]" if others else "choose another judge"
            raise ConfigError(f"judge.scores: {'; '.join(unsupported)}; {hint}")
        network = UntrainedNetwork(
            net, self._objective, self._batches, self._example, seed=self.config.seed
        )
        with exact_float32(self._device):
            return score_network(network, self.names)
