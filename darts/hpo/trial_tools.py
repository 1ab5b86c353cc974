"""Tools of judges: train, look up scores in a table, score with a supernet; costs of points.

Costs and training-free scores come from the untrained networks of trials.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import torch

from darts.config import BenchmarkConfig, ConfigError, LimitConfig, RetrainConfig
from darts.data_modules import DataModule, make_data_module
from darts.hpo.search_space import SearchSpace
from darts.judging.benchmark import Benchmark
from darts.judging.devices.latency_model import LinearModel
from darts.judging.limits.costs import CostMeter, require_sizes
from darts.judging.one_shot import OneShotScorer
from darts.judging.training_free import SCORES, score_network, why_unsupported
from darts.judging.untrained import UntrainedNetwork
from darts.ops.float32 import exact_float32
from darts.reading import JsonObject
from darts.recipes.commands import retrain_config
from darts.recipes.retrain import build_network
from darts.running.execution import InlineExecutor
from darts.running.jobs import Executor, Job, RunFailed
from darts.searching.expected_cost import MEASURES
from darts.spaces import AnyGenotype, NetworkBase, space_of
from darts.spaces.lookup import find_genotype
from darts.spaces.parameters import Point, point_key
from darts.strategies.judges import TrialSpec
from darts.tracking.metrics import read_metrics
from darts.training.distributed import Ranks


@dataclass
class PointCosts:
    """Measures costs of the networks that a study's trials would train; data is loaded once."""

    limit: LimitConfig
    space: SearchSpace
    overrides: Callable[[Point], Sequence[str]]  # returns all overrides of a point's retraining
    _costs: dict[object, dict[str, float]] = field(default_factory=dict, init=False)
    _data: dict[str, DataModule] = field(default_factory=dict, init=False)

    @cached_property
    def meter(self) -> CostMeter:
        """The limits of the study."""
        return CostMeter.from_config(self.limit)

    def allows(self, point: Point) -> bool:
        """Return whether the network of a point is within all limits."""
        return self.meter.excess(self.limited(point)) <= 1

    def may_propose(self, point: Point) -> bool:
        """Return ``allows``; True if the costs cannot be measured.

        The trial of such a point then fails, with the reason and the point.
        """
        try:
            return self.allows(point)
        except (ValueError, RuntimeError):
            return True

    def limited(self, point: Point) -> dict[str, float]:
        """Return the limited costs of the network of a point, by name; measured once per point."""
        if not self.meter.limits:
            return {}
        key = point_key(point)
        if key not in self._costs:
            self._costs[key] = self._measure_limited(point)
        return self._costs[key]

    def _measure_limited(self, point: Point) -> dict[str, float]:
        meter, genotype = self.meter, self.space.genotype(point)
        model, without_network = meter.model, meter.limits.keys() == {"latency_ms"}
        if isinstance(model, LinearModel) and without_network and genotype is not None:
            return {"latency_ms": model.predict(genotype)}
        config, genotype, net, data = self._build(point)
        require_sizes("limit.device", model, config.space, data.sample_shape)
        return meter(genotype, net, data.example_input())

    def measure(self, point: Point, names: Sequence[str]) -> dict[str, float]:
        """Return costs in ``MEASURES`` of the network of a point."""
        _, _, net, data = self._build(point)
        return {name: MEASURES[name](net, data.example_input()) for name in names}

    def _build(self, point: Point) -> tuple[RetrainConfig, AnyGenotype, NetworkBase, DataModule]:
        """Return configuration, genotype and network of a retraining, and its data.

        The network is in evaluation mode, on the device of the data.
        """
        config = retrain_config(self.overrides(point))
        key = f"{config.dataset} {config.task}"
        if key not in self._data:
            self._data[key] = make_data_module(config, Ranks(config.device))
        data = self._data[key]
        _, genotype = find_genotype(config.genotype)
        net = build_network(genotype, config, data.network_sizes(config.space))
        return config, genotype, net.to(data.ranks.device).eval(), data


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
        self._data = make_data_module(self.config, Ranks(config.device))
        train, _ = self._data.retrain_loaders()
        count = max((SCORES[name].batches for name in names), default=0)
        if len(train) < count:
            raise ConfigError(
                f"judge.samples={samples}: the scores need {count} batches of this size, and "
                f"dataset={config.dataset.name} has only {len(train)}; lower judge.samples"
            )
        self._batches = [train.batch(0, number) for number in range(max(count, 1))]
        self._example = self._data.example_input()

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the scores of an architecture by name."""
        config, data = self.config, self._data
        device, sizes = data.ranks.device, data.network_sizes(config.space)
        with torch.random.fork_rng():  # the constructor draws embeddings and recurrent weights
            torch.manual_seed(config.seed)
            net = build_network(genotype, config, sizes).to(device)
        numbers = self._example.is_floating_point()
        reasons = {n: why_unsupported(n, net, has_numbers=numbers) for n in self.names}
        if unsupported := [reason for reason in reasons.values() if reason]:
            others = ",".join(name for name, reason in reasons.items() if not reason)
            hint = f"set judge.scores=[{others}]" if others else "choose another judge"
            raise ConfigError(f"judge.scores: {'; '.join(unsupported)}; {hint}")
        network = UntrainedNetwork(
            net, data.objective(), self._batches, self._example, seed=config.seed
        )
        with exact_float32(device):
            return score_network(network, self.names)


_POLL = 0.2  # seconds between two reads of the epochs of a run


class TrialTools:
    """The ``darts.strategies.judges.JudgeTools`` of one thread.

    Tables, supernets and data are loaded once for all trials of the thread.

    Args:
        target: The command that a trial runs.
        benchmark: The table with known accuracies, if any.
        executor: Executes runs; None for this process.
    """

    def __init__(
        self, target: str, benchmark: BenchmarkConfig, executor: Executor | None = None
    ) -> None:
        self._target, self._benchmark_config = target, benchmark
        self._executor = executor or InlineExecutor()
        self._benchmark: Benchmark | None = None
        self._untrained: dict[tuple[str, ...], UntrainedSetup] = {}
        self._scorer = cache(OneShotScorer)

    def train(self, trial: TrialSpec) -> JsonObject:
        """Execute the run of a trial, or continue it; return its summary.

        Raise RunFailed, CancelledError if the run was stopped, ExecutorError if it could not be
        executed, and what ``trial.on_epoch`` raises, which stops the run.
        """
        directory, metrics = trial.directory, trial.directory / "metrics.jsonl"
        job = Job(directory.name, self._target, directory, tuple(trial.overrides))
        future, epoch = self._executor.submit(job), 0
        try:
            while True:
                # Before the last look: a run that ends meanwhile may have written another row.
                has_ended = bool(wait([future], _POLL).done)
                rows = read_metrics(metrics) if metrics.exists() else []
                for row in [row for row in rows if row.get("epoch") is not None][epoch:]:
                    epoch += 1
                    # The file has null for nan and for infinity; both become nan.
                    scores = {
                        name.removeprefix("valid_"): math.nan if value is None else float(value)
                        for name, value in row.items()
                        if name.startswith("valid_")
                    }
                    trial.on_epoch(epoch, scores)
                if has_ended:
                    break
        except BaseException:
            future.cancel()
            wait([future])
            raise
        outcome = future.result()
        if outcome.summary is None:
            raise RunFailed(outcome.problem)
        return outcome.summary

    def table_accuracy(self, genotype: AnyGenotype, *, split: str, epochs: int) -> float:
        config = self._benchmark_config
        if self._benchmark is None:  # all genotypes of a worker share a space
            self._benchmark = Benchmark.from_config(config, space_of(genotype))
            assert self._benchmark is not None
        table = self._benchmark.table
        return table.accuracy(genotype, dataset=config.dataset, split=split, epochs=epochs)

    def supernet_scores(
        self, checkpoint: str, genotype: AnyGenotype, calibration: int
    ) -> Mapping[str, float]:
        return self._scorer(Path(checkpoint), calibration).scores(genotype)

    def training_free_scores(
        self, trial: TrialSpec, names: Sequence[str], samples: int
    ) -> Mapping[str, float]:
        others = tuple(item for item in trial.overrides if not item.startswith("genotype="))
        key = (*others, *names, str(samples))
        if key not in self._untrained:
            config = retrain_config([*others, f"genotype={trial.architecture}"])
            self._untrained[key] = UntrainedSetup(config, tuple(names), samples)
        return self._untrained[key].scores(trial.architecture)
