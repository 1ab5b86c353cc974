"""Record the learning curves of many candidates of ``darts.find``, for ``replay.py``.

    python experiments/record_curves.py --data DIR --only photos cover --seconds 300 --workers 2

The candidates are the baselines of ``darts.find`` and variants of them: other settings, and
neighbors of their architectures. Each begins with random weights, also those with other settings,
which continue the leader in ``darts.find``. Each trains with one thread for the same time.
``--data`` and ``--out`` are those of ``own_data.py``, whose folders are used. An interrupted
recording is resumed; with larger ``--seconds``, complete runs continue. The curves are written to
results/curves/<data>.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import cast

from own_data import prepared
from own_data_sets import OVERRIDES, DataSet
from own_data_table import DATA_SETS
from records import HERE, Row, command, hardware

from darts.config import FindConfig, compose
from darts.find_command import choose_precision
from darts.finding.candidates import Candidate, Start
from darts.finding.decisions import FILE, Decisions
from darts.finding.proposals import Pool
from darts.finding.setup import make_networks
from darts.finding.slices import ENDLESS
from darts.running.jobs import Job
from darts.running.processes import ProcessExecutor
from darts.tracking.metrics import read_metrics
from darts.writing import write_atomically

CURVES = "curves"
VARIANTS = 3  # of each baseline: settings and neighbors
MAX_POINTS = 500  # of a curve; improvements of the score are always kept


def make_pool(dataset: DataSet, folder: Path, seed: int) -> Pool:
    """Return where the candidates of ``darts.find`` come from on a prepared data set."""
    overrides = [*OVERRIDES[dataset.kind], f"dataset.root={folder.resolve()}", "device=cpu"]
    config = cast("FindConfig", compose("find", [f"seed={seed}", *overrides]))
    facts, networks = make_networks(config)
    return Pool(config, networks, facts)


def draw(pool: Pool, count: int) -> list[Candidate]:
    """Return the baselines and variants of each of them; the same ones in each process."""
    baselines = pool.baselines()
    chosen = baselines[:count]
    complete = False
    while len(chosen) < count and not complete:
        complete = True
        for leader in baselines:
            number = min(VARIANTS, count - len(chosen))
            found = pool.variants(leader, Start(), chosen)  # settings begin with random weights
            variants = list(itertools.islice(found, number))
            chosen += variants
            complete = complete and not variants
    return chosen


def curve(directory: Path, metric: str, sign: int) -> dict[str, list[float]]:
    """Return seconds, epochs, validation scores and losses of a run, one entry per epoch.

    Args:
        directory: The run directory.
        metric: Name of the steering metric.
        sign: 1 if higher scores are better, otherwise -1.
    """
    names = ("seconds", "epoch", f"valid_{metric}", "valid_loss")
    rows = read_metrics(directory / "metrics.jsonl")
    points = [[float(row[name]) for name in names] for row in rows if names[2] in row]
    points = [point for point in points if math.isfinite(point[2])]
    every, best = math.ceil(len(points) / MAX_POINTS), -math.inf
    kept = []
    for index, point in enumerate(points):
        if index % every == 0 or sign * point[2] > best:
            kept.append(point)
        best = max(best, sign * point[2])
    if points and kept[-1] is not points[-1]:
        kept.append(points[-1])
    keys = ("seconds", "epochs", "scores", "losses")
    columns = zip(*kept, strict=True) if kept else [()] * len(keys)
    return {
        key: [float(f"{value:.5g}") for value in column]
        for key, column in zip(keys, columns, strict=True)
    }


def record_curves(args: argparse.Namespace, dataset: DataSet, folder: Path) -> None:
    """Train the candidates on a data set and write their curves."""
    pool = make_pool(dataset, folder, args.seed)
    first = next(iter(pool.networks.values())).config
    metric = first.metric
    length = (f"epochs={ENDLESS}", f"max_seconds={args.seconds:g}")
    runs = args.out / CURVES / dataset.name
    runs.mkdir(parents=True, exist_ok=True)
    choose_precision(pool.networks, pool.facts.kind, Decisions(runs / FILE))
    sign = 1 if first.task.metrics[metric].higher_is_better else -1
    rows: list[Row] = []
    candidates = draw(pool, args.count)
    with ProcessExecutor(args.workers, runs / "workers") as executor:
        futures = []
        for candidate in candidates:
            networks = pool.networks[candidate.family]
            overrides = networks.overrides(candidate.genotype, candidate.setting.values)
            directory = runs / candidate.name
            job = Job(candidate.name, "retrain", directory, (*overrides, *length), length, 1)
            futures.append(executor.submit(job))
        for candidate, future in zip(candidates, futures, strict=True):
            outcome = future.result()
            score = outcome.problem
            if outcome.summary is not None:
                score = f"{metric} {outcome.summary[f'valid_{metric}']:.4f}"
                rows.append(describe(candidate, future.job.directory, metric, sign))
            print(f"{dataset.name} {candidate.name}: {score}", flush=True)
    table = {
        "data": dataset.name,
        "metric": metric,
        "higher_is_better": sign == 1,
        "seconds": args.seconds,
        "first_epochs": first.optimizer.warmup_epochs + 1,
        "command": command(),
        "hardware": f"1 of {args.workers} workers; {hardware('cpu')}",
        "candidates": rows,
    }
    write_curves(HERE / "results" / CURVES / f"{dataset.name}.json", table)


def describe(candidate: Candidate, directory: Path, metric: str, sign: int) -> Row:
    """Return a candidate and its curve."""
    return {
        "name": candidate.name,
        "family": candidate.family,
        "origin": candidate.origin,
        "setting": candidate.setting.name,
        "genotype": candidate.genotype,
        **curve(directory, metric, sign),
    }


def write_curves(path: Path, table: Row) -> None:
    """Write the curves of a data set as JSON, with one line per candidate."""
    lines = ",\n  ".join(json.dumps(row) for row in table["candidates"])
    head = json.dumps({**table, "candidates": []}, indent=1).removesuffix("[]\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{head}[\n  {lines}\n ]\n}}\n")


def main() -> None:
    """Record the curves of the selected data sets, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the published data")
    parser.add_argument("--out", default=Path("runs/own_data"), type=Path)
    parser.add_argument("--only", nargs="+", choices=DATA_SETS, metavar="NAME", required=True)
    parser.add_argument("--seconds", type=float, default=300.0, help="of each training run")
    parser.add_argument("--count", type=int, default=40, help="candidates per data set")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for dataset, folder in prepared(args):
        record_curves(args, dataset, folder)


if __name__ == "__main__":
    main()
