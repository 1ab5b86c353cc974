"""What evaluations use: the commands that trials run, the benchmark's table, a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from darts import retrain, search
from darts.config import ConfigError, Invocation, TuneConfig, compose
from darts.data_modules.data_module import DataModule, make_data_module
from darts.judging import nas201_table
from darts.judging.one_shot import OneShot
from darts.searching.expected_cost import MEASURES
from darts.strategies.judge import Candidate
from darts.training.distributed import Ranks

_COMMANDS: Mapping[str, Any] = {
    "retrain": (retrain.check, retrain.retrain),
    "search": (search.check, search.search),
}


def trial_config(target: str, overrides: Sequence[str]) -> Any:
    """The checked configuration of a trial.

    Raises:
        ConfigError: as the command itself would print it.
    """
    config = compose(target, overrides)
    _COMMANDS[target][0](config)
    return config


def run_command(target: str, overrides: Sequence[str], directory: Path, **more: Any) -> Any:
    """Run a command in this process; its summary."""
    config = trial_config(target, overrides)
    return _COMMANDS[target][1](config, Invocation(directory, tuple(overrides)), **more)


def knows_truth(config: TuneConfig, architecture: Any) -> bool:
    """Whether there is a table, and it tells of the architectures that are searched."""
    told = architecture is not None and architecture.name == "nas201"
    return config.benchmark.table is not None and told


class TrialTools:
    """``darts.strategies.judge.Tools`` of one worker; what is loaded once serves all its trials.

    Args:
        config: of the study.
    """

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._supernets: dict[tuple[str, int], OneShot] = {}
        self._feeds: dict[str, DataModule] = {}

    def train(self, candidate: Candidate) -> Mapping[str, Any]:
        """Run the trial's command in the candidate's directory."""
        summary: Mapping[str, Any] = run_command(
            *(self._config.target, candidate.overrides, candidate.directory),
            watch=candidate.watch,
        )
        return summary

    @cached_property
    def table(self) -> nas201_table.Table:
        """The benchmark's table (``ConfigError`` without one)."""
        if self._config.benchmark.table is None:
            raise ConfigError("evaluation=table needs benchmark.table=FILE")
        return nas201_table.load(self._config.benchmark.table)

    def truth(self, genotype: Any) -> dict[str, Any]:
        """What the table tells of a training in full: ``test_accuracy``, its rank and regret."""
        config = self._config.benchmark
        which = {"dataset": config.dataset, "split": "test", "epochs": config.epochs}
        return {
            "test_accuracy": self.table.accuracy(genotype, **which) / 100,
            "true_rank": self.table.rank(genotype, **which),
            "true_regret": self.table.regret(genotype, **which) / 100,
            "architectures": nas201_table.ARCHITECTURES,
        }

    def known(self, genotype: Any, *, split: str, epochs: int) -> float:
        """Accuracy in percent by the table."""
        dataset = self._config.benchmark.dataset
        return self.table.accuracy(genotype, dataset=dataset, split=split, epochs=epochs)

    def inherited(self, checkpoint: str, genotype: Any, calibration: int) -> Mapping[str, float]:
        """Validation scores of a genotype with a searched supernet's weights."""
        key = (checkpoint, calibration)
        if key not in self._supernets:
            self._supernets[key] = OneShot(Path(checkpoint), calibration)
        return self._supernets[key].scores(genotype)

    def size(self, candidate: Candidate, names: Sequence[str]) -> dict[str, float]:
        """Costs of the network that a candidate would train, an image, by ``MEASURES``."""
        config = trial_config("retrain", candidate.overrides)
        name = str(config.dataset)
        if name not in self._feeds:
            self._feeds[name] = make_data_module(config, Ranks(config.device))
        data_module = self._feeds[name]
        example = data_module.example()
        _, genotype = retrain.find_genotype(config.genotype)
        net = retrain.build_network(genotype, config, data_module.sizes(config.space)).to(
            example.device
        )
        net.eval()
        return {name: MEASURES[name](net, example) for name in names}
