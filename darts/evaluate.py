"""Score a retrained network: ``python -m darts.evaluate checkpoint=runs/retrain/<run>``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from darts.config import ConfigError, EvaluateConfig, Invocation, launch, one_of
from darts.data import Batch, Loader, load_split
from darts.data_modules import DataModule
from darts.judging.edge_importance import ImportanceFile, edge_importances, has_removable_edges
from darts.plotting.genotype import draw_edge_importances
from darts.plotting.run_figures import save_confusion
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.recipes.trained import TrainedNetwork, build_on, open_data
from darts.spaces import NetworkBase
from darts.tasks import Objective
from darts.tracking import Energy, grams_of_co2, print_summary
from darts.tracking.formats import is_fraction
from darts.tracking.optional import optional
from darts.training.checkpoint import find_checkpoint
from darts.training.device import check_precision, resolve_device
from darts.training.distributed import Ranks, distributed
from darts.training.run import energy_meter
from darts.training.run_directory import RunDirectory
from darts.training.scoring import evaluate as score


def check(config: EvaluateConfig) -> None:
    """Refuse invalid values before any data is read."""
    find_checkpoint(config.checkpoint)
    check_precision(config.precision, resolve_device(config.device))


@distributed
def evaluate(config: EvaluateConfig, invocation: Invocation, ranks: Ranks) -> JsonObject:
    """Score the selected weights of a retraining; return the summary of the run directory."""
    with RunDirectory(invocation.directory, "evaluate") as files:
        if ranks.main:
            files.claim_unused(numbered=invocation.numbered, repeatable=True)
        trained = TrainedNetwork.load(config.checkpoint)
        evaluation = measure(config, trained, ranks)
        summary = evaluation.summary
        if ranks.main:
            files.begin(config, invocation.overrides)
            summary = write_results(files, trained, evaluation)
    if ranks.main:
        print_results(trained, evaluation)
    return summary


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation."""

    split: str
    summary: JsonObject
    data: DataModule
    objective: Objective  # with the predictions on the split
    importance: ImportanceFile | None


def measure(config: EvaluateConfig, trained: TrainedNetwork, ranks: Ranks) -> Evaluation:
    """Score the network and, if configured, measure the importance of its edges.

    Raises:
        CheckpointError: If the data set has other classes or words than in training.
        ConfigError: If there is no such split, or the importance cannot be measured.
        FileError: If the split file of the retraining is needed and cannot be read.
    """
    # Read the split file first: an error should not come after the slow reading of the data.
    needs_subsets = config.split == "valid" or config.importance
    subsets = load_split(trained.file.parent / "split.npz") if needs_subsets else {}
    data = open_data(
        trained, ranks, root=config.root, batch_size=config.batch_size, workers=config.workers
    )
    loader = data.held_out_loader(config.split, subsets)
    if loader is None:
        name = trained.config.dataset.name
        raise ConfigError(f"split={config.split}: the retraining on {name} has no such split")
    net = build_on(trained, ranks.device)
    objective = data.objective()
    one_of("metric", trained.config.metric, objective.scores(ranks.device).metric_names)
    importance = None
    if config.importance:
        valid_loader = data.held_out_loader("valid", subsets)
        importance = measure_importance(config, trained, net, valid_loader, objective, ranks)
    scores, samples, energy = score_split(config, trained, net, loader, objective, ranks)
    gco2_per_kwh = trained.config.tracking.energy.gco2_per_kwh
    summary: JsonObject = {
        "name": trained.config.name,
        "checkpoint": str(trained.file),
        "metric": trained.config.metric,
        "epoch": trained.epoch,
        **{f"{config.split}_{name}": value for name, value in scores.items()},
        "samples": samples,
        "seconds": energy.seconds,
        "joules": energy.joules,
        "joules_source": energy.source,
        "gco2e": grams_of_co2(energy.joules, gco2_per_kwh),
        "seed": trained.config.seed,
        "device": str(ranks.device),
        "ranks": ranks.size,
        "genotype": str(trained.genotype),
    }
    return Evaluation(config.split, summary, data, objective, importance)


def write_results(
    files: RunDirectory, trained: TrainedNetwork, evaluation: Evaluation
) -> JsonObject:
    """Write all files of an evaluation, the summary last; return the complete summary."""
    files.write("genotype.json", trained.genotype.to_json())
    if text := evaluation.objective.sample_outputs():
        name = f"samples_{evaluation.split}.md"
        with optional(files.path / name):
            files.write(name, text)
    if trained.config.tracking.figures:
        names = evaluation.data.target_names
        save_confusion(files.path / "confusion.svg", evaluation.objective, names)
    for name in ("importance.json", "importance.svg"):  # of a killed evaluation
        (files.path / name).unlink(missing_ok=True)
    if evaluation.importance is not None:
        write_importance(files, trained, evaluation.importance)
    return files.finish(evaluation.summary)


def print_results(trained: TrainedNetwork, evaluation: Evaluation) -> None:
    """Print edges by descending importance, if measured, and the scores."""
    if evaluation.importance is not None:
        print_importance(trained.config.metric, evaluation.importance)
    scores, prefix = evaluation.summary, f"{evaluation.split}_"
    shown = {key: value for key, value in scores.items() if key.startswith(prefix)}
    print_summary("evaluate", {**shown, "samples": scores["samples"], "epoch": trained.epoch})


def score_split(
    config: EvaluateConfig,
    trained: TrainedNetwork,
    net: NetworkBase,
    loader: Loader,
    objective: Objective,
    ranks: Ranks,
) -> tuple[dict[str, float], int, Energy]:
    """Return the metrics, the number of samples, and the cost: own seconds, joules of all ranks."""
    meter = energy_meter(trained.config.tracking.energy, ranks)
    meter.start()
    samples = 0

    def counted(batches: Iterable[Batch]) -> Iterator[Batch]:
        nonlocal samples
        for batch in batches:
            samples += objective.num_samples(batch)
            yield batch

    with torch.inference_mode():
        scores = score(
            net,
            counted(loader.epoch(0)),
            objective,
            device=ranks.device,
            precision=config.precision,
        )
    energy = meter.read()
    total = Energy(energy.seconds, ranks.all_reduce_sum(energy.joules), energy.source)
    return scores, int(ranks.all_reduce_sum(samples)), total


def measure_importance(
    config: EvaluateConfig,
    trained: TrainedNetwork,
    net: NetworkBase,
    loader: Loader | None,
    objective: Objective,
    ranks: Ranks,
) -> ImportanceFile:
    """Measure how much of the steering metric is lost on validation data without each edge.

    Raises:
        ConfigError: For a network without removable edges, or a run without validation data.
    """
    if not has_removable_edges(net):
        noun = f"a network of space={trained.config.space.name}"
        raise ConfigError(
            f"importance=true: {'an ensemble' if trained.members else noun} has no edges to "
            "remove; set importance=false"
        )
    if loader is None:
        raise ConfigError("importance=true: needs validation data; the retraining held none out")
    metric = trained.config.metric

    def score_valid() -> float:
        scores = score(
            net, loader.epoch(0), objective, device=ranks.device, precision=config.precision
        )
        return scores[metric]

    higher = objective.metrics[metric].higher_is_better
    with torch.inference_mode():
        drops = edge_importances(net, trained.genotype, score_valid, higher_is_better=higher)
    samples = ranks.all_reduce_sum(sum(objective.num_samples(b) for b in loader.epoch(0)))
    return {"metric": metric, "split": "valid", "samples": int(samples), **drops}


def write_importance(
    files: RunDirectory, trained: TrainedNetwork, importance: ImportanceFile
) -> None:
    """Write importance.json and importance.svg."""
    files.write_json("importance.json", importance)
    metric = trained.config.metric
    if trained.config.tracking.figures:
        percent = is_fraction(metric)
        title = f"valid_{metric} lost without each edge{', percentage points' if percent else ''}"
        with optional(files.path / "importance.svg"):
            figure = draw_edge_importances(
                trained.genotype, importance["edges"], percent=percent, title=title
            )
            save_figure(figure, files.path / "importance.svg")


def print_importance(metric: str, importance: ImportanceFile) -> None:
    """Print edges by descending importance."""
    drops = {
        f"{cell} {edge['source']}→{edge['target']} {edge['operation']}": edge["score_drop"]
        for cell, edges in importance["edges"].items()
        for edge in edges
        if edge["score_drop"] is not None
    }
    rows = dict(sorted(drops.items(), key=lambda item: -item[1]))
    rows |= {f"all {name}": drop for name, drop in importance["operations"].items()}
    shown = {name: f"{drop:+.4g}" for name, drop in rows.items()}
    print_summary(f"valid_{metric} lost without", shown)


def main() -> None:
    """Entry point of ``darts-evaluate``."""
    launch("evaluate", check, evaluate)


if __name__ == "__main__":
    main()
