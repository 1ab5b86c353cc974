"""Score a retrained network: ``python -m darts.evaluate checkpoint=runs/retrain/<run>``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from darts.config import (
    ConfigError,
    EvaluateConfig,
    Invocation,
    RetrainConfig,
    as_yaml,
    launch,
    rebuild,
)
from darts.data import load_split
from darts.data_modules.data_module import make_data_module
from darts.judging.edge_importance import has_edges, importances
from darts.plotting.figures import save_figure
from darts.plotting.genotype import draw_importances
from darts.plotting.run import draw_confusions
from darts.retrain import build_network
from darts.spaces import parse_genotype
from darts.tracking import closing_table, environment, grams_of_co2
from darts.tracking.files import write_atomically, write_json
from darts.tracking.formats import is_fraction
from darts.training.checkpoint import CheckpointError, load_checkpoint
from darts.training.device import check_precision, resolve_device, seed_everything
from darts.training.distributed import Ranks, distributed
from darts.training.run_directory import meter_of
from darts.training.scoring import evaluate as score


def check(config: EvaluateConfig) -> None:
    """Refuse, before any data is read, what no type rules out."""
    checkpoint_file(config.checkpoint)
    check_precision(config.precision, resolve_device(config.device))


def checkpoint_file(reference: str) -> Path:
    """The checkpoint that a file name or a run directory stands for.

    Raises:
        ConfigError: when it is neither.
    """
    path = Path(reference)
    file = path / "checkpoint.pt" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"checkpoint={reference!r} is neither a checkpoint file nor the directory of a "
            "retrain run"
        )
    return file


@distributed
def evaluate(config: EvaluateConfig, call: Invocation, ranks: Ranks) -> dict[str, Any]:
    """Score the weights that the retraining chose; the summary is also in the run directory."""
    device = ranks.device
    if ranks.main and (call.directory / "config.yaml").exists():
        raise ConfigError(f"{call.directory} already holds a run; choose another hydra.run.dir")
    file = checkpoint_file(config.checkpoint)
    saved = load_checkpoint(file, "retrain")
    if saved["chosen"] is None:
        raise CheckpointError(f"{file} is of a run that has not ended its first epoch")
    trained = rebuild(RetrainConfig, saved["config"])
    if config.root is not None:
        trained.dataset.root = config.root
    trained.loader.eval_batch_size = config.batch_size or trained.loader.eval_batch_size
    trained.loader.workers = config.workers
    seed_everything(trained.seed)

    data_module = make_data_module(trained, ranks)
    if list(data_module.names) != saved["names"]:
        raise CheckpointError(
            f"{file} was trained on {len(saved['names'])} other {data_module.told_apart} than the "
            f"{len(data_module.names)} of {trained.dataset.name} in {trained.dataset.root}"
        )
    parts = load_split(file.parent / "split.npz") if config.part == "valid" else {}
    batches = data_module.held(config.part, parts)
    if batches is None:
        name = trained.dataset.name
        raise ConfigError(f"part={config.part}: {name} has no such split in this run")

    genotype = parse_genotype(trained.genotype)
    objective = trained.task.objective(data_module.names)
    net = build_network(genotype, trained, data_module.sizes(trained.space))
    # As in training: the order in memory decides the last bits of a score.
    net = net.to(device, memory_format=torch.channels_last)
    net.load_state_dict(saved["chosen"]["net"])
    meter = meter_of(trained.tracking.energy, ranks)
    meter.start()
    if config.importance:
        lost = lost_without(net, genotype, objective, data_module, file, trained, config, ranks)
    samples = 0

    def counted(found: Iterable[Any]) -> Iterator[Any]:
        nonlocal samples
        for batch in found:
            samples += objective.samples(batch)
            yield batch

    with torch.inference_mode():
        scores = score(
            net,
            counted(batches.epoch(0)),
            objective,
            device=device,
            precision=config.precision,
        )
    energy = meter.read()
    joules = ranks.all_reduce_sum(energy.joules)

    env = environment()
    summary = {
        "command": "evaluate",
        "name": trained.name,
        "checkpoint": str(file),
        "metric": trained.metric,
        "epoch": saved["chosen"]["epoch"],
        **{f"{config.part}_{name}": value for name, value in scores.items()},
        "samples": int(ranks.all_reduce_sum(samples)),
        "seconds": energy.seconds,
        "joules": joules,
        "joules_source": energy.source,
        "gco2e": grams_of_co2(joules, trained.tracking.energy.gco2_per_kwh),
        "seed": trained.seed,
        "device": str(device),
        "ranks": ranks.size,
        "genotype": str(genotype),
        "git_revision": env.get("git_revision"),
    }
    if not ranks.main:
        return summary
    call.directory.mkdir(parents=True, exist_ok=True)
    write_atomically(call.directory / "config.yaml", as_yaml(config))
    write_atomically(call.directory / "genotype.json", genotype.to_json())
    began = {"command": "evaluate", "overrides": list(call.overrides)}
    write_json(call.directory / "overrides.json", began)
    write_json(call.directory / "env.json", env)
    write_json(call.directory / "summary.json", summary)
    if samples_told := objective.told():
        write_atomically(call.directory / f"samples_{config.part}.md", samples_told)
    if trained.tracking.pictures:
        draw_confusions(call.directory / "confusion.svg", objective, data_module.names)
    if config.importance:
        told = {"metric": trained.metric, "part": "valid", **lost}
        write_json(call.directory / "importance.json", told)
        if trained.tracking.pictures:
            percent = is_fraction(trained.metric)
            title = f"valid_{trained.metric} lost without each edge"
            title += ", percentage points" if percent else ""
            figure = draw_importances(genotype, lost["edges"], percent=percent, title=title)
            save_figure(figure, call.directory / "importance.svg")
        show_importances(trained.metric, lost)
    shown = {k: v for k, v in summary.items() if k.startswith(config.part + "_")}
    closing_table("evaluate", {**shown, "samples": summary["samples"], "epoch": summary["epoch"]})
    return summary


def lost_without(
    net: Any,
    genotype: Any,
    objective: Any,
    data_module: Any,
    file: Path,
    trained: RetrainConfig,
    config: EvaluateConfig,
    ranks: Ranks,
) -> dict[str, Any]:
    """What the steering score loses on validation data without each edge, see ``importances``.

    ``samples`` is added, the number of those data.

    Raises:
        ConfigError: for a network without edges, or a run without validation data.
    """
    if not has_edges(net):
        raise ConfigError(
            f"importance=true: networks of space={trained.space.name} have no edges that could be "
            "taken out"
        )
    batches = data_module.held("valid", load_split(file.parent / "split.npz"))
    if batches is None:
        raise ConfigError("importance=true needs validation data, and this run held none out")

    how: Any = {"device": ranks.device, "precision": config.precision}

    def scored() -> float:
        return score(net, batches.epoch(0), objective, **how)[trained.metric]

    better = objective.metrics[trained.metric].higher_is_better
    with torch.inference_mode():
        found = importances(net, genotype, scored, higher_is_better=better)
    samples = ranks.all_reduce_sum(sum(objective.samples(batch) for batch in batches.epoch(0)))
    return {"samples": int(samples), **found}


def show_importances(metric: str, lost: dict[str, Any]) -> None:
    """Print what was lost, most first."""
    edges = [
        (cell, edge)
        for cell, own in lost["edges"].items()
        for edge in own
        if edge["lost"] is not None
    ]
    rows = {
        f"{cell} {edge['source']}→{edge['target']} {edge['operation']}": f"{edge['lost']:+.4g}"
        for cell, edge in sorted(edges, key=lambda pair: -pair[1]["lost"])
    }
    rows |= {f"all {name}": f"{loss:+.4g}" for name, loss in lost["operations"].items()}
    closing_table(f"valid_{metric} lost without", rows)


def main() -> None:
    """Entry point of ``darts-evaluate``."""
    launch("evaluate", check, evaluate)


if __name__ == "__main__":
    main()
