"""Learning rate and its fall, of the networks that ``darts.find`` trains on images.

    python experiments/learning_rates.py --own runs/own_data/data --seeds 0
    python experiments/learning_rates.py --table

``--own`` is a folder that ``own_data.py prepare`` has written. The first baseline of ``darts.find``
trains for the same epochs with each combination of a learning rate, divided by the batch size, its
slow decay (``optimizer.timescale``), and a share of the epochs at the end in which it falls. The
runs use bfloat16 and one thread, two at the same time. The score is the validation accuracy after
the last epoch, of the average of the weights. From this table follows when the rate falls in
``darts.finding.final_run``. Finished rows are not repeated. The results are in
results/learning_rates.json and README.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from records import Row, mean_and_deviation, parser_of, put_table, record, table

from darts.config import FindConfig, compose
from darts.finding.setup import make_networks
from darts.recipes.commands import merge_overrides
from darts.recipes.rules import TIMESCALE, Values
from darts.running.jobs import Job
from darts.running.processes import ProcessExecutor

SETS = {  # mirrored images, epochs
    "photos": (True, 30),
    "glyphs": (False, 30),
    "added_clothes": (True, 16),
    "added_digits": (False, 20),
    "fashion": (True, 6),
}
RATIOS = (0.1 / 64, 0.1 / 32)
"""Learning rate divided by the batch size."""
COOLDOWNS = (0.0, 0.3, 0.6, 0.9)
"""Shares of the epochs in which the rate falls."""
TIMESCALES = (0, TIMESCALE)
"""Steps after which the rate is divided by the square root of two; 0: it does not decay."""
KEY = ("data", "ratio", "timescale", "cooldown", "seed", "epochs")


def job(
    name: str, args: argparse.Namespace, ratio: float, timescale: int, cooldown: float, seed: int
) -> Job:
    """Return the training of the first baseline with a learning rate and its fall."""
    mirrored, epochs = SETS[name]
    root = f"dataset.root={args.own.resolve() / name}"
    words = ["dataset=imagefolder", root, f"seed={seed}", "device=cpu"]
    networks = next(iter(make_networks(cast("FindConfig", compose("find", words)))[1].values()))
    changes: Values = {
        "optimizer.lr": ratio * networks.config.loader.batch_size,
        "optimizer.cooldown": cooldown,
        "dataset.flip": mirrored,
        "mirror": mirrored,
        "precision": "bf16",
        "selection": "last",
        "epochs": epochs,
    }
    overrides = networks.overrides(next(iter(networks.baselines.values())), changes)
    words = merge_overrides([*overrides, f"optimizer.timescale={timescale or 'null'}"])
    run = f"{name}-{ratio:.5f}-{timescale}-{cooldown}-{seed}"
    return Job(run, "retrain", args.out.resolve() / run, tuple(words))


def write_table() -> None:
    """Write the table of all results."""
    rows = record("learning_rates", KEY, [])
    lines = []
    for setting in itertools.product(SETS, RATIOS, TIMESCALES):
        own = [row for row in rows if tuple(row[key] for key in KEY[:3]) == setting]
        if own:
            values = [[r for r in own if r["cooldown"] == share] for share in COOLDOWNS]
            cells = [mean_and_deviation([100 * r["valid"] for r in v]) if v else "" for v in values]
            seeds = len({row["seed"] for row in own})
            name, ratio, timescale = setting
            names = (f"`{name}`", own[0]["epochs"], f"{32 * ratio:g}", timescale or "")
            lines.append([*names, *cells, seeds])
    columns = [f"falls in the last {100 * share:.0f} %" for share in COOLDOWNS[1:]]
    settings = ("data", "epochs", "rate per 32 images", "timescale")
    head = (*settings, "without a fall", *columns, "seeds")
    put_table("learning_rates", table(head, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks that are not in the results, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--own", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/learning_rates"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--timescales", nargs="+", type=int, choices=TIMESCALES, default=TIMESCALES)
    parser.add_argument("--cooldowns", nargs="+", type=float, default=COOLDOWNS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args(arguments)
    done = {tuple(row[key] for key in KEY[:5]) for row in record("learning_rates", KEY, [])}
    settings = itertools.product(
        args.only, args.ratios, args.timescales, args.cooldowns, args.seeds
    )
    todo = [setting for setting in settings if not args.table and setting not in done]
    if todo:
        with ProcessExecutor(2, args.out / "workers") as executor:
            jobs = [job(name, args, *others) for name, *others in todo]
            futures = [executor.submit(one) for one in jobs]
            for setting, future in zip(todo, futures, strict=True):
                summary = future.result().summary
                if summary is None:
                    raise SystemExit(f"{future.job.name}: {future.result().problem}")
                row: Row = {
                    **dict(zip(KEY, setting, strict=False)),
                    "epochs": summary["epochs"],
                    "valid": summary["valid_accuracy"],
                    "seconds": summary["seconds"],
                }
                record("learning_rates", KEY, [row])
                print(future.job.name, f"{row['valid']:.4f}", flush=True)
    write_table()


if __name__ == "__main__":
    main()
