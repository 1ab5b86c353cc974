"""``darts.find`` and other ways to a network on data that resembles no published benchmark.

    python experiments/unseen.py prepare --data DIR --out runs/unseen
    python experiments/unseen.py run --out runs/unseen --minutes 10 --seeds 0 1
    python experiments/unseen.py table

``--data`` holds the published data in folders ``cifar10``, ``fashion_mnist`` and ``fsdd``. Each way
gets the same arrays and the same time. ``--only`` selects data sets, ``--ways`` selects ways.
Finished rows are not repeated, and an interrupted run of ``darts.find`` is resumed. The results are
written to results/unseen.json, the table to docs/unseen.md.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from own_data_baselines import Samples
from own_data_expert import train_on
from own_data_result import Limits, Result
from own_data_samples import correct_samples, pack
from records import HERE, Row, grouped, hardware, record, table
from runs import run
from unseen_networks import fine_tune, random_cell, resnet18, train_network
from unseen_sets import UNSEEN, load_split
from ways import cell, mean_ranks, ways_parser

from darts.writing import write_atomically

KEY = ("data", "way", "seed", "minutes", "device", "hardware")
WATTS = 10  # estimate per busy core, as in darts.find
DATA_SETS = {dataset.name: dataset for dataset in UNSEEN}


def read_samples(folder: Path, split: str) -> Samples:
    """Return samples, float32, and labels of a split; uint8 pixels are scaled to [0, 1]."""
    x, y = load_split(folder, split)
    scale = 255 if x.dtype == np.uint8 else 1
    return torch.from_numpy(x).float() / scale, torch.from_numpy(y.astype(np.int64))


def _expert(train: Samples, test: Samples, classes: int, limits: Limits) -> Result:
    return train_on(train, test, classes=classes, limits=limits, begin=limits.clock())


NETWORKS: dict[str, Callable[[Samples, Samples, int, Limits], Result]] = {
    "expert": _expert,
    "resnet18": partial(train_network, resnet18),
    "random_cell": partial(train_network, random_cell),
    "lite0": fine_tune,
}
"""Ways that train one network in this process."""

SEARCHES = {"find": (), "find_pretrained": ("pretrained=auto",)}
"""Overrides of the ways that run ``darts.find``."""

WAYS = (*SEARCHES, *NETWORKS)

PRETRAINED = ("find_pretrained", "lite0")
"""Ways with pretrained weights, which have no rank among the others."""


def train(folder: Path, key: Row) -> Row:
    """Train the network of a way; return its scores."""
    train_part, test_part = (read_samples(folder, split) for split in ("train", "test"))
    classes = int(train_part[1].max()) + 1
    begin, processor = time.monotonic(), time.process_time()
    limits = Limits(60 * key["minutes"], 0, key["seed"], key["device"])
    result = NETWORKS[key["way"]](train_part, test_part, classes, limits)
    assert result.correct is not None
    used = time.process_time() - processor
    return {
        "test": result.test,
        "samples": result.samples,
        "correct": pack(result.correct),
        "weights": result.weights,
        "epochs": result.epochs,
        "seconds": round(time.monotonic() - begin, 1),
        "joules": round(WATTS * used),
    }


def find(folder: Path, key: Row, out: Path) -> Row:
    """Run ``darts.find``; return the scores of its answer."""
    directory = out / key["way"] / f"{key['minutes']:g}_minutes" / f"{key['data']}-{key['seed']}"
    summary = run(
        "find",
        directory,
        "dataset=challenge",
        f"dataset.root={folder.resolve()}",
        f"budget.minutes={key['minutes']:g}",
        f"seed={key['seed']}",
        f"device={key['device']}",
        *SEARCHES[key["way"]],
    )
    correct = correct_samples(directory, key["device"])
    kept = ("family", "setting", "winner_seconds", "epochs", "joules")
    return {
        "test": summary["test_accuracy"],
        "samples": len(correct),
        "correct": pack(correct),
        "weights": summary.get("parameters"),
        **{name: summary.get(name) for name in kept},
        "seconds": round(summary["seconds"], 1),
    }


def run_all(args: argparse.Namespace) -> None:
    """Run the missing rows."""
    done = [tuple(row[name] for name in KEY) for row in record("unseen", KEY, [])]
    selected = itertools.product(args.seeds, args.only or DATA_SETS, args.ways or WAYS)
    for seed, name, way in selected:
        values = (name, way, seed, args.minutes, args.device, hardware("cpu"))
        key: Row = dict(zip(KEY, values, strict=True))
        if tuple(key.values()) in done:
            continue
        folder = args.out / "data" / name
        row = find(folder, key, args.out) if way in SEARCHES else train(folder, key)
        record("unseen", KEY, [{**key, **row}])
        print(f"{name} {way} seed {seed}: {row['test']:.4f}, {row['seconds']:.0f} s", flush=True)


def write_table(args: argparse.Namespace) -> None:
    """Write the table of the results with a budget into docs/unseen.md.

    Ways are compared on the same processor, the one of the last row. The mean rank is over the sets
    on which the expert was measured, among the untrained ways that were measured on all of them.
    """
    rows = [row for row in record("unseen", KEY, []) if row["minutes"] == args.minutes]
    rows = [row for row in rows if row["hardware"] == rows[-1]["hardware"]]
    names = [*DATA_SETS]
    rows.sort(key=lambda row: names.index(row["data"]))
    lines = []
    scores = {name: grouped(own, "way") for (name,), own in grouped(rows, "data").items()}
    ranked_sets = [name for name, by_way in scores.items() if ("expert",) in by_way]
    ranked = [
        way
        for way in WAYS
        if way not in PRETRAINED and all((way,) in scores[name] for name in ranked_sets)
    ]
    for name, by_way in scores.items():
        ours = by_way.get(("find",), [])
        lines.append([f"`{name}`", *(cell(by_way.get((way,), []), ours) for way in WAYS)])
    if ranked_sets:
        ranks = mean_ranks([[scores[name][way,] for way in ranked] for name in ranked_sets])
        by_rank = dict(zip(ranked, ranks, strict=True))
        cells = (by_rank.get(way, "") for way in WAYS)
        lines.append([f"mean rank on {len(ranked_sets)} sets", *cells])
    for title, unit in (("seconds", "seconds"), ("joules", "joules")):
        values = [[row[unit] for row in rows if row["way"] == way and row[unit]] for way in WAYS]
        means = (f"{statistics.mean(own):,.0f}" if own else "" for own in values)
        lines.append([title, *means])
    page = HERE.parent / "docs" / "unseen.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
    after = rest.partition("<!-- end of table -->")[2]
    text = table(["data", *WAYS], lines)
    print(text)
    write_atomically(page, f"{before}<!-- table -->\n{text}\n<!-- end of table -->{after}")


def main() -> None:
    """Run one of the commands."""
    parser = ways_parser(__doc__, sets=DATA_SETS, ways=WAYS, out="runs/unseen", minutes=10.0)
    parser.add_argument("--data", default=Path("data"), type=Path, help="the published data")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.command == "prepare":
        for name in args.only or DATA_SETS:
            DATA_SETS[name].prepare(args.data, args.out / "data" / name)
            print(f"{args.out / 'data' / name}: {DATA_SETS[name].content}", flush=True)
    elif args.command == "run":
        run_all(args)
    else:
        write_table(args)


if __name__ == "__main__":
    main()
