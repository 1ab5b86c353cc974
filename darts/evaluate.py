"""Score a retrained network: ``darts evaluate checkpoint=runs/retrain/<run>``.

Keys that people use first::

    Keys: checkpoint=runs/retrain/<run> split=test root=DIR
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from darts.config import ConfigError, EvaluateConfig, Invocation, launch, one_of
from darts.data import Batch, Loader, load_split
from darts.plotting.run_figures import save_confusion
from darts.reading import JsonObject
from darts.recipes.trained import TrainedNetwork, build_on, open_data
from darts.tasks import Objective
from darts.tracking import EnergyMeter, grams_of_co2, print_summary
from darts.tracking.optional import optional
from darts.training.checkpoint import find_checkpoint
from darts.training.device import check_precision, resolve_device
from darts.training.distributed import Ranks, distributed
from darts.training.run_directory import RunDirectory
from darts.training.scoring import evaluate as score


def check(config: EvaluateConfig) -> None:
    """Raise ConfigError for invalid values, before any data is read."""
    find_checkpoint(config.checkpoint)
    check_precision(config.precision, resolve_device(config.device))


@distributed
def evaluate(config: EvaluateConfig, invocation: Invocation, ranks: Ranks) -> JsonObject:
    """Score the selected weights of a retraining; return the summary of the run directory."""
    with RunDirectory(invocation.directory, "evaluate") as files:
        if ranks.main:
            files.claim_unused(numbered=invocation.numbered, repeatable=True)
        evaluation = Evaluation(config, ranks)
        summary = evaluation.summary
        if ranks.main:
            files.begin(config, invocation.overrides)
            summary = evaluation.write(files)
    if ranks.main:
        evaluation.print_results()
    return summary


class Evaluation:
    """The scores of a network on a split."""

    def __init__(self, config: EvaluateConfig, ranks: Ranks) -> None:
        self.split, self.precision, self.ranks = config.split, config.precision, ranks
        trained = self.trained = TrainedNetwork.load(config.checkpoint)
        # Read the split file first: an error should not come after the slow reading of the data.
        from_file = config.split == "valid"
        subsets = load_split(trained.file.parent / "split.npz") if from_file else {}
        self.data = open_data(
            trained, ranks, root=config.root, batch_size=config.batch_size, workers=config.workers
        )
        loader = self.data.held_out_loader(config.split, subsets)
        if loader is None:
            name = trained.config.dataset.name
            raise ConfigError(f"split={config.split}: the retraining on {name} has no such split")
        self.net = build_on(trained, ranks.device)
        self.objective: Objective = self.data.objective()  # later with the predictions on the split
        self.metric = trained.config.metric
        one_of("metric", self.metric, self.objective.metrics)
        with torch.inference_mode():
            self.summary = self._score_split(loader)

    def _scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        objective, device = self.objective, self.ranks.device
        return score(self.net, batches, objective, device=device, precision=self.precision)

    def _score_split(self, loader: Loader) -> JsonObject:
        """Return the summary: metrics, number of samples, own seconds, joules of all ranks."""
        trained, ranks, tracking = self.trained, self.ranks, self.trained.config.tracking
        meter = EnergyMeter(tracking.energy, ranks.device, read_rapl=ranks.local_rank == 0)
        samples = 0

        def counted(batches: Iterable[Batch]) -> Iterator[Batch]:
            nonlocal samples
            for batch in batches:
                samples += self.objective.num_samples(batch)
                yield batch

        found = self._scores(counted(loader.epoch(0)))
        own = meter.read()
        joules = ranks.all_reduce_sum(own.joules)
        return {
            "name": trained.config.name,
            "checkpoint": str(trained.file),
            "metric": self.metric,
            "epoch": trained.epoch,
            **{f"{self.split}_{name}": value for name, value in found.items()},
            "samples": int(ranks.all_reduce_sum(samples)),
            "seconds": own.seconds,
            "joules": joules,
            "joules_source": own.source,
            "gco2e": grams_of_co2(joules, tracking.energy.gco2_per_kwh),
            "seed": trained.config.seed,
            "device": str(ranks.device),
            "ranks": ranks.size,
            **trained.architecture,
        }

    def write(self, files: RunDirectory) -> JsonObject:
        """Write all files of an evaluation, the summary last; return the complete summary."""
        trained = self.trained
        if trained.trees is None:
            files.write("genotype.json", trained.genotype.to_json())
        if text := self.objective.sample_outputs():
            name = f"samples_{self.split}.md"
            with optional(files.path / name):
                files.write(name, text)
        save_confusion(files.path / "confusion.svg", self.objective, self.data.target_names)
        return files.finish(self.summary)

    def print_results(self) -> None:
        """Print the scores."""
        scores = {k: v for k, v in self.summary.items() if k.startswith(f"{self.split}_")}
        counts = {"samples": self.summary["samples"], "epoch": self.trained.epoch}
        print_summary("evaluate", {**scores, **counts})


def main() -> None:
    """Entry point of ``darts-evaluate``."""
    launch("evaluate", check, evaluate)


if __name__ == "__main__":
    main()
