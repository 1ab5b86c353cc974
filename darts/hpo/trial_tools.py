"""Tools of judges: train, look up scores in a table, score with a supernet, measure costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from darts.config import BenchmarkConfig
from darts.hpo.trial_networks import TrialNetworks, UntrainedSetup
from darts.judging.benchmark import Benchmark
from darts.judging.one_shot import OneShotScorer
from darts.reading import JsonObject
from darts.recipes.commands import retrain_config, run_command
from darts.searching.expected_cost import MEASURES
from darts.spaces import AnyGenotype, space_of
from darts.strategies.judges import TrialSpec


class TrialTools:
    """The ``darts.strategies.judges.JudgeTools`` of one worker.

    Tables, supernets and data are loaded once for all trials of the worker. ``target`` is the
    command that a trial runs.
    """

    def __init__(self, target: str, benchmark: BenchmarkConfig) -> None:
        self._target, self._benchmark_config = target, benchmark
        self._benchmark: Benchmark | None = None
        self._untrained: dict[tuple[str, ...], UntrainedSetup] = {}
        self._scorer = cache(OneShotScorer)
        self._networks = TrialNetworks()

    def train(self, trial: TrialSpec) -> JsonObject:
        return run_command(self._target, trial.overrides, trial.directory, trial.on_epoch)

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

    def network_costs(self, trial: TrialSpec, names: Sequence[str]) -> dict[str, float]:
        """Return costs in ``MEASURES`` of the network that a retraining would train."""
        built = self._networks.build(trial.overrides)
        return {name: MEASURES[name](built.network, built.example) for name in names}
