"""Tools of judges: train, look up scores in a table, score with a supernet, measure costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from functools import cache
from pathlib import Path

from darts.config import BenchmarkConfig
from darts.hpo.trial_networks import TrialNetworks, UntrainedSetup
from darts.judging.benchmark import Benchmark
from darts.judging.one_shot import OneShotScorer
from darts.reading import JsonObject
from darts.recipes.commands import retrain_config
from darts.running.execution import InlineExecutor
from darts.running.jobs import Executor, Job, RunFailed
from darts.searching.expected_cost import MEASURES
from darts.spaces import AnyGenotype, space_of
from darts.strategies.judges import TrialSpec
from darts.tracking.metrics import read_metrics

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
        self._networks = TrialNetworks()

    def train(self, trial: TrialSpec) -> JsonObject:
        """Execute the run of a trial, or continue it; return its summary.

        Raise RunFailed, CancelledError if the run was stopped, ExecutorError if it could not be
        executed, and what ``trial.on_epoch`` raises, which stops the run.
        """
        directory = trial.directory
        job = Job(directory.name, self._target, directory, tuple(trial.overrides))
        future, epoch = self._executor.submit(job), 0
        on_epoch = trial.on_epoch or (lambda epoch, scores: None)
        try:
            while True:
                # Before the last look: a run that ends meanwhile may have written another row.
                has_ended = bool(wait([future], _POLL).done)
                for row in epoch_rows(directory)[epoch:]:
                    epoch += 1
                    on_epoch(epoch, scores_of(row))
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

    def network_costs(self, trial: TrialSpec, names: Sequence[str]) -> dict[str, float]:
        """Return costs in ``MEASURES`` of the network that a retraining would train."""
        built = self._networks.build(trial.overrides)
        return {name: MEASURES[name](built.network, built.example) for name in names}


def epoch_rows(directory: Path) -> list[JsonObject]:
    """Return the rows of ``metrics.jsonl`` of a run so far, one for each epoch."""
    file = directory / "metrics.jsonl"
    rows = read_metrics(file) if file.exists() else []
    return [row for row in rows if row.get("epoch") is not None]


def scores_of(row: JsonObject) -> dict[str, float]:
    """Return the validation scores in a row of ``metrics.jsonl`` by name.

    The file has null for nan and for infinity; both become nan.
    """
    prefix = "valid_"
    return {
        name.removeprefix(prefix): math.nan if value is None else float(value)
        for name, value in row.items()
        if name.startswith(prefix)
    }
