"""Batch sizes and learning rates of the networks that ``darts.find`` trains on images.

    python experiments/batch_sizes.py --own runs/own_data/data --seeds 0
    python experiments/batch_sizes.py --table

``--own`` is a folder that ``own_data.py prepare`` has written. The first baseline of ``darts.find``
trains for the same epochs with each combination, in bfloat16 and with one thread; two runs at the
same time. The score is the validation accuracy after the last epoch. The recipe takes the ratio of
learning rate and batch size from this table (``darts.recipes.rules.LR_PER_SAMPLE``). Finished rows
are not repeated. The results are in results/batch_sizes.json and README.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from records import Row, command, hardware, mean_and_deviation, put_table, record, table

from darts.config import FindConfig, compose
from darts.finding.setup import make_networks
from darts.recipes.rules import Values
from darts.running.jobs import Job
from darts.running.processes import ProcessExecutor

SETS = {  # mirrored images, epochs
    "photos": (True, 20),
    "added_clothes": (True, 16),
    "added_digits": (False, 16),
    "glyphs": (False, 20),
}
SIZES = (32, 64, 128)
RATIOS = (0.1 / 128, 0.1 / 64, 0.1 / 32)
"""Learning rate divided by the batch size."""
KEY = ("data", "size", "ratio", "seed", "epochs")


def job(name: str, args: argparse.Namespace, size: int, ratio: float, seed: int) -> Job:
    """Return the training of the first baseline with a batch size and a learning rate."""
    mirrored, epochs = SETS[name]
    root = f"dataset.root={args.own.resolve() / name}"
    words = ["dataset=imagefolder", root, f"seed={seed}", "device=cpu"]
    networks = next(iter(make_networks(cast("FindConfig", compose("find", words)))[1].values()))
    changes: Values = {
        "loader.batch_size": size,
        "optimizer.lr": ratio * size,
        "dataset.flip": mirrored,
        "mirror": mirrored,
        "precision": "bf16",
        "selection": "last",
        "epochs": epochs,
    }
    overrides = networks.overrides(next(iter(networks.baselines.values())), changes)
    run = f"{name}-{size}-{ratio:.5f}-{seed}"
    return Job(run, "retrain", args.out.resolve() / run, overrides)


def write_table() -> None:
    """Write the table of all results."""
    rows = record("batch_sizes", KEY, [])
    lines = []
    for name, size in itertools.product(SETS, SIZES):
        own = [row for row in rows if (row["data"], row["size"]) == (name, size)]
        if own:
            values = [[r for r in own if r["ratio"] == ratio] for ratio in RATIOS]
            cells = [mean_and_deviation([100 * r["valid"] for r in v]) if v else "" for v in values]
            rate = sum(row["samples_per_second"] for row in own) / len(own)
            seeds = len({row["seed"] for row in own})
            lines.append([f"`{name}`", own[0]["epochs"], size, *cells, f"{rate:.0f}", seeds])
    columns = [f"lr {32 * ratio:g} per 32" for ratio in RATIOS]
    put_table(
        "batch_sizes", table(("data", "epochs", "batch", *columns, "images / s", "seeds"), lines)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks that are not in the results, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--own", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/batch_sizes"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args(arguments)
    done = {tuple(row[key] for key in KEY[:4]) for row in record("batch_sizes", KEY, [])}
    todo = [
        (name, size, ratio, seed)
        for seed, name, size, ratio in itertools.product(args.seeds, args.only, SIZES, RATIOS)
        if not args.table and (name, size, ratio, seed) not in done
    ]
    if todo:
        with ProcessExecutor(2, args.out / "workers") as executor:
            jobs = [job(name, args, *others) for name, *others in todo]
            futures = [executor.submit(one) for one in jobs]
            for (name, size, ratio, seed), future in zip(todo, futures, strict=True):
                summary = future.result().summary
                if summary is None:
                    raise SystemExit(f"{future.job.name}: {future.result().problem}")
                trained = 0.8 * summary["epochs"] * images(args.own / name)
                row: Row = {
                    "data": name,
                    "size": size,
                    "ratio": ratio,
                    "seed": seed,
                    "epochs": summary["epochs"],
                    "valid": summary["valid_accuracy"],
                    "samples_per_second": trained / summary["seconds"],
                    "command": command(),
                    "hardware": hardware("cpu"),
                }
                record("batch_sizes", KEY, [row])
                print(future.job.name, f"{row['valid']:.4f}", flush=True)
    write_table()


def images(folder: Path) -> int:
    """Return the number of training images of a data set."""
    return sum(1 for path in (folder / "train").rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
