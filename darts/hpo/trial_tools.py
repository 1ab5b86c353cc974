"""Operations that judges need: train, look up a table, score with a supernet, measure costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from darts.config import ConfigError, RetrainConfig, TuneConfig
from darts.data_modules import DataModule, make_data_module
from darts.hpo.commands import run_command, trial_config
from darts.judging import nas201_table
from darts.judging.benchmark import Benchmark
from darts.judging.one_shot import OneShotScorer
from darts.recipes.retrain import build_network
from darts.searching.expected_cost import MEASURES
from darts.spaces import AnyGenotype, Space
from darts.spaces.lookup import find_genotype
from darts.spaces.nas201.genotype import ARCHITECTURES
from darts.strategies.judges import TrialSpec
from darts.tracking import JsonObject
from darts.training.distributed import Ranks


def table_covers(config: TuneConfig, architecture: Space | None) -> bool:
    """Return whether there is a benchmark table of the space that the study searches."""
    in_table = architecture is not None and architecture.name == "nas201"
    return config.benchmark.table is not None and in_table


class TrialTools:
    """The ``darts.strategies.judges.JudgeTools`` of one worker.

    Tables, supernets and data are loaded once for all trials of the worker.

    Args:
        config: configuration of the study.
    """

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._supernets: dict[tuple[str, int], OneShotScorer] = {}
        self._data_modules: dict[str, DataModule] = {}

    def train(self, trial: TrialSpec) -> JsonObject:
        """Run the trial's command in the trial's directory and return its summary."""
        return run_command(
            self._config.target, trial.overrides, trial.directory, on_epoch=trial.on_epoch
        )

    @cached_property
    def table(self) -> nas201_table.Table:
        """The benchmark table.

        Raises:
            ConfigError: if ``benchmark.table`` is not set.
        """
        if self._config.benchmark.table is None:
            raise ConfigError("judge=table needs benchmark.table=FILE")
        return nas201_table.load(self._config.benchmark.table)

    @cached_property
    def _benchmark(self) -> Benchmark:
        config = self._config.benchmark
        return Benchmark(self.table, config.dataset, config.epochs)

    def true_scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return the table's result of a full training.

        Returns:
            ``test_accuracy`` and ``true_regret`` as fractions, ``true_rank``, and the number of
            ``architectures`` in the table.
        """
        scores = self._benchmark.scores(genotype)
        return {
            "test_accuracy": scores["true_accuracy"],
            "true_rank": scores["true_rank"],
            "true_regret": scores["true_regret"],
            "architectures": ARCHITECTURES,
        }

    def table_accuracy(self, genotype: AnyGenotype, *, split: str, epochs: int) -> float:
        """Return the accuracy of an architecture in the benchmark table, in percent."""
        dataset = self._config.benchmark.dataset
        return self.table.accuracy(str(genotype), dataset=dataset, split=split, epochs=epochs)

    def supernet_scores(
        self, checkpoint: str, genotype: AnyGenotype, calibration: int
    ) -> Mapping[str, float]:
        """Return the validation scores of a genotype with the weights of a supernet."""
        key = (checkpoint, calibration)
        if key not in self._supernets:
            self._supernets[key] = OneShotScorer(Path(checkpoint), calibration)
        return self._supernets[key].scores(genotype)

    def network_costs(self, trial: TrialSpec, names: Sequence[str]) -> dict[str, float]:
        """Measure costs of the network that a trial would train, for one sample.

        Args:
            trial: trial of ``darts.retrain``.
            names: keys of ``MEASURES``.
        """
        config = trial_config("retrain", trial.overrides)
        assert isinstance(config, RetrainConfig)
        dataset = str(config.dataset)
        if dataset not in self._data_modules:
            self._data_modules[dataset] = make_data_module(config, Ranks(config.device))
        data_module = self._data_modules[dataset]
        example = data_module.example_input()
        _, genotype = find_genotype(config.genotype)
        sizes = data_module.network_sizes(config.space)
        net = build_network(genotype, config, sizes).to(example.device)
        net.eval()
        return {name: MEASURES[name](net, example) for name in names}
