"""Class weights in the loss, on images and texts with 20 times as many samples of one class.

    python experiments/class_weights.py --data DIR --seeds 0 1 2 3 4

``--data`` holds the published data in folders ``cifar10`` and ``agnews``. The images are 2,000
ships and 100 trucks of CIFAR-10, the texts 1,400 business and 70 technology items of AG News. The
first baseline of ``darts.find`` trains on each with its recipe, with equal and with balanced
weights; the epoch with the best balanced accuracy on validation data is scored on a test split with
as many samples of both classes. The results are in results/class_weights.json and README.md.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from own_data_images import read_published
from own_data_sets import write_csv
from records import Row, grouped, mean_and_deviation, parser_of, put_table, record, table
from runs import run

from darts.config import FindConfig, compose
from darts.finding.setup import make_networks
from darts.recipes.commands import merge_overrides

TRAINED = {"images": (2000, 100), "texts": (1400, 70)}
TESTED = {"images": 1000, "texts": 400}
EPOCHS = 15
KEY = ("data", "weights", "seed")
SCORES = ("balanced_accuracy", "auroc")


def chosen(labels: NDArray[np.int64], classes: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Return the positions of the first samples of each class."""
    pairs = zip(classes, counts, strict=True)
    return [row for c, n in pairs for row in np.flatnonzero(labels == c)[:n].tolist()]


def write_images(data: Path, folder: Path) -> list[str]:
    """Write ships and trucks as arrays; return the overrides of the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"train": TRAINED["images"], "test": (TESTED["images"],) * 2}
    for split, (images, labels) in read_published("cifar10", data / "cifar10").items():
        rows = chosen(labels, (8, 9), counts[split])
        np.save(folder / f"{split}_x.npy", images[rows].transpose(0, 3, 1, 2))
        np.save(folder / f"{split}_y.npy", labels[rows] - 8)
    return ["dataset=challenge", f"dataset.root={folder}", "dataset.flip=true"]


def write_texts(data: Path, folder: Path) -> list[str]:
    """Write business and technology items as tables; return the overrides of the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    with (data / "agnews" / "test.csv").open(encoding="utf-8", newline="") as file:
        items = [(row[0], f"{row[1]} {row[2]}") for row in csv.reader(file)]
    labels = np.array([int(label) for label, _ in items])
    tested = chosen(labels, (3, 4), (TESTED["texts"],) * 2)
    labels[tested] = 0
    splits = {"train": chosen(labels, (3, 4), TRAINED["texts"]), "test": tested}
    for split, rows in splits.items():
        write_csv(folder / f"{split}.csv", ("label", "text"), [items[row] for row in rows])
    return ["task=text_classification", "dataset=documents", f"dataset.root={folder}"]


def train(words: Sequence[str], weights: str, seed: int, directory: Path) -> Row:
    """Train the first baseline of ``darts.find``; return its scores on the test split."""
    config = compose("find", [*words, f"seed={seed}", "metric=balanced_accuracy"])
    networks = next(iter(make_networks(cast("FindConfig", config))[1].values()))
    overrides = networks.overrides(
        next(iter(networks.baselines.values())),
        {"epochs": EPOCHS, "optimizer.cooldown": 0.6, "task.class_weights": weights},
    )
    summary = run("retrain", directory, *merge_overrides([*overrides, "evaluate_test=true"]))
    return {f"test_{name}": summary[f"test_{name}"] for name in SCORES}


def main() -> None:
    """Run the missing rows, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/class_weights"))
    args = parser.parse_args()
    out = args.out.resolve()
    data = {
        "images": write_images(args.data, out / "data" / "images"),
        "texts": write_texts(args.data, out / "data" / "texts"),
    }
    done = [tuple(row[name] for name in KEY) for row in record("class_weights", KEY, [])]
    for key in itertools.product(data, ("none", "balanced"), args.seeds):
        if key not in done:
            name, weights, seed = key
            row = train(data[name], weights, seed, out / f"{name}-{weights}-{seed}")
            record("class_weights", KEY, [dict(zip(KEY, key, strict=True)) | row])
    groups = grouped(record("class_weights", KEY, []), "data", "weights")
    lines = [
        [*key, *(mean_and_deviation([100 * row[f"test_{s}"] for row in rows]) for s in SCORES)]
        for key, rows in groups.items()
    ]
    put_table("class_weights", table(["data", "weights", *(f"{s} %" for s in SCORES)], lines))


if __name__ == "__main__":
    main()
