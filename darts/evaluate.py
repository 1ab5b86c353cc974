"""Score a retrained network: ``python -m darts.evaluate checkpoint=runs/retrain/<run>``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from darts.config import ConfigError, EvaluateConfig, Invocation, launch
from darts.data import Batch, Loader, load_split
from darts.data_modules import DataModule, make_data_module
from darts.judging.edge_importance import EdgeImportances, edge_importances, has_removable_edges
from darts.plotting.genotype import draw_edge_importances
from darts.plotting.run_figures import save_confusion
from darts.plotting.style import save_figure
from darts.reading import JsonObject
from darts.recipes.trained import TrainedNetwork, find_checkpoint
from darts.spaces import NetworkBase
from darts.tasks import Objective
from darts.tracking import Energy, grams_of_co2, print_summary
from darts.tracking.formats import is_fraction
from darts.tracking.optional import optional
from darts.training.checkpoint import CheckpointError
from darts.training.device import check_precision, resolve_device, seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.run import energy_meter
from darts.training.run_directory import RunDirectory
from darts.training.scoring import evaluate as score


class ImportanceFile(EdgeImportances):
    """Content of ``importance.json``."""

    metric: str
    split: str
    samples: int


def check(config: EvaluateConfig) -> None:
    """Refuse invalid values before any data is read."""
    find_checkpoint(config.checkpoint)
    check_precision(config.precision, resolve_device(config.device))


@distributed
def evaluate(config: EvaluateConfig, invocation: Invocation, ranks: Ranks) -> JsonObject:
    """Score the selected weights of a retraining; return the summary of the run directory."""
    files = RunDirectory(invocation.directory, "evaluate")
    if ranks.main:
        files.require_unused()
    trained = TrainedNetwork.load(config.checkpoint)
    data = open_data(config, trained, ranks)
    subsets = load_split(trained.file.parent / "split.npz") if config.split == "valid" else {}
    loader = data.held_out_loader(config.split, subsets)
    if loader is None:
        name = trained.config.dataset.name
        raise ConfigError(f"split={config.split}: the retraining on {name} has no such split")
    net = trained.build().to(ranks.device)
    # As in training: the memory layout affects the last bits of a score.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = trained.config.task.objective(data.target_names)
    importance = None
    if config.importance:
        importance = measure_importance(config, trained, net, data, objective, ranks)
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
    if not ranks.main:
        return summary
    files.begin(config, invocation.overrides)
    files.write("genotype.json", trained.genotype.to_json())
    summary = files.finish(summary)
    if text := objective.sample_outputs():
        files.write(f"samples_{config.split}.md", text)
    if trained.config.tracking.figures:
        save_confusion(files.path / "confusion.svg", objective, data.target_names)
    if importance is not None:
        write_importance(files, trained, importance)
    shown = {key: value for key, value in summary.items() if key.startswith(f"{config.split}_")}
    print_summary("evaluate", {**shown, "samples": summary["samples"], "epoch": trained.epoch})
    return summary


def open_data(config: EvaluateConfig, trained: TrainedNetwork, ranks: Ranks) -> DataModule:
    """Return the data of the retraining, with the configured root and batch size.

    Raises:
        CheckpointError: When the data set has other classes or words than in training.
    """
    dataset, loader = trained.config.dataset, trained.config.loader
    dataset.root = config.root or dataset.root
    loader.eval_batch_size = config.batch_size or loader.eval_batch_size
    loader.workers = config.workers
    seed_everything(trained.config.seed)
    data = make_data_module(trained.config, ranks)
    if tuple(data.target_names) != trained.target_names:
        raise CheckpointError(
            f"{trained.file}: trained on {len(trained.target_names)} {data.target_noun}, which "
            f"differ from the {len(data.target_names)} of {dataset.name} in {dataset.root}"
        )
    return data


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
    data: DataModule,
    objective: Objective,
    ranks: Ranks,
) -> ImportanceFile:
    """Measure how much of the steering metric is lost on validation data without each edge.

    Raises:
        ConfigError: For a network without removable edges, or a run without validation data.
    """
    if not has_removable_edges(net):
        raise ConfigError(
            f"importance=true: networks of space={trained.config.space.name} have no edges to "
            "remove; set importance=false"
        )
    loader = data.held_out_loader("valid", load_split(trained.file.parent / "split.npz"))
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
    """Write importance.json and importance.svg, and print edges by descending importance."""
    files.write_json("importance.json", importance)
    metric = trained.config.metric
    if trained.config.tracking.figures:
        percent = is_fraction(metric)
        title = f"valid_{metric} lost without each edge{', percentage points' if percent else ''}"
        with optional(path := files.path / "importance.svg"):
            figure = draw_edge_importances(
                trained.genotype, importance["edges"], percent=percent, title=title
            )
            save_figure(figure, path)
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
