"""One elastic supernet in place of a training run for each budget.

    python experiments/unseen.py prepare --data DIR --out runs/unseen
    python experiments/elastic_study.py --data runs/unseen/data --out runs/elastic

An elastic supernet (``method=sandwich space=elastic``) is trained for ``--minutes``. Its front has
five budgets of MACs, from the smallest network, with 1/15 of the MACs, to the largest. The test
accuracy of each network of the front is compared:

* ``shared``: with the weights of the supernet;
* ``tuned``: after 1/20 of the time of fine-tuning;
* ``alone``: trained alone from scratch, for the whole time;
* ``short``: the same, for 1/5 of the time, so that five networks take as long as the supernet.

All training runs have the same samples, augmentation and optimizer, and a learning rate that falls
to 0 with the epochs. The number of epochs follows from four epochs that are timed before. With
``--random N``, N random networks are also trained alone for 1/5 of the time, and their validation
accuracy is correlated with their accuracy in the supernet. Finished runs are not repeated. The
results are written to results/elastic_study.json, the table to README.md.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from front_study import hypervolume
from records import Row, grouped, hardware, parser_of, put_table, record, table
from runs import run

from darts.judging.rankings import agreement
from darts.spaces.elastic import Elastic, Genotype
from darts.training.cost import count_macs

KEY = ("data", "seed", "minutes", "point", "hardware")
SHAPES = {"photos": (3, 32, 32), "fashion": (1, 28, 28)}
POINTS = 5
OPTIMIZER = (
    "optimizer.algorithm=sgd",
    "optimizer.nesterov=true",
    "optimizer.schedule=cosine",
    "optimizer.lr_min=0",
    "optimizer.weight_decay=5e-4",
    "optimizer.warmup_epochs=1",
    "optimizer.timescale=null",
    "loader.batch_size=64",
)
ALONE = (
    "space=elastic",
    "validation=0.2",
    "selection=last",
    "average_power=0",
    "label_smoothing=0",
)
LR, TUNING_LR = 0.1, 0.02
WAYS = ("shared", "tuned", "alone", "short")
COLUMNS = ("data", "seeds", "share of MACs", *WAYS)


class Study:
    """The runs on one data set with one seed.

    Args:
        args: Arguments of the command.
        data: Name of the data set.
        seed: Seed of all runs.
    """

    def __init__(self, args: Any, data: str, seed: int) -> None:
        self.args, self.data, self.seed = args, data, seed
        self.folder = args.out / f"{args.minutes:g}_minutes" / f"{data}-{seed}"
        self.seconds = 60.0 * args.minutes
        self.space = Elastic(channels=args.channels, cells=args.cells)

    def macs(self, genotype: Genotype) -> int:
        channels, *sides = SHAPES[self.data]
        net = self.space.network(genotype, classes=10, in_channels=channels)
        return count_macs(net, torch.zeros(1, channels, *sides))

    def run(self, command: str, name: str, *overrides: str) -> dict[str, Any]:
        common = (
            "dataset=challenge",
            f"dataset.root={(self.args.data / self.data).resolve()}",
            "dataset.flip=true",
            "dataset.crop=pad",
            f"space.channels={self.space.channels}",
            f"precision={self.args.precision}",
            f"seed={self.seed}",
            "tracking.figures=false",
            "tracking.tensorboard=false",
        )
        return run(command, self.folder / name, *OPTIMIZER, *common, *overrides)

    def epochs(self, command: str, name: str, seconds: float, *overrides: str) -> int:
        """Return the number of epochs that take some seconds, from the fastest of a few epochs."""
        self.run(command, f"{name}-timed", *overrides, "epochs=4")
        text = (self.folder / f"{name}-timed" / "metrics.jsonl").read_text(encoding="utf-8")
        ends = [float(json.loads(line)["seconds"]) for line in text.splitlines()[-4:]]
        return max(round(seconds / min(b - a for a, b in pairwise(ends))), 1)

    def supernet(self) -> list[dict[str, str]]:
        """Train the supernet; return the rows of its front."""
        smallest, largest = map(self.macs, self.space.extremes())
        words = (
            "space=elastic",
            f"space.cells={self.space.cells}",
            "method=sandwich",
            f"optimizer.lr={LR}",
        )
        probe = ("discretize.samples=1", "discretize.population=2")
        epochs = self.epochs("search", "supernet", self.seconds, *words, *probe)
        front = ("front.cost=macs", f"front.points={POINTS}", f"front.most={largest}")
        least = f"front.least={smallest}"
        self.run("search", "supernet", *words, *front, least, f"epochs={epochs}")
        with (self.folder / "supernet" / "front.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def trained(self, name: str, genotype: str, share: float, *overrides: str) -> dict[str, Any]:
        """Train one network for a share of the time; return its summary."""
        words = (*ALONE, f"genotype={genotype}", *overrides)
        if not any(word.startswith("optimizer.lr=") for word in words):
            words = (*words, f"optimizer.lr={LR}")
        epochs = self.epochs("retrain", name, share * self.seconds, *words, "evaluate_test=false")
        return self.run("retrain", name, *words, f"epochs={epochs}")

    def measure(self, point: int, row: dict[str, str]) -> Row:
        """Return the test accuracies of one network of the front in percent."""
        path, genotype = self.folder / "supernet" / "front" / str(point), row["genotype"]
        folder = self.folder / f"{point}-shared"
        shared = run("evaluate", folder, f"checkpoint={path}")
        start = (f"start={path}", f"optimizer.lr={TUNING_LR}")
        summaries = {
            "shared": shared,
            "tuned": self.trained(f"{point}-tuned", genotype, 1 / 20, *start),
            "alone": self.trained(f"{point}-alone", genotype, 1),
            "short": self.trained(f"{point}-short", genotype, 1 / 5),
        }
        scores = {name: 100 * found["test_accuracy"] for name, found in summaries.items()}
        largest = self.macs(self.space.extremes()[1])
        return {"macs": float(row["macs"]), "share": float(row["macs"]) / largest, **scores}

    def correlation(self, count: int) -> float:
        """Return the rank correlation of random networks in the supernet and trained alone."""
        draw = torch.Generator().manual_seed(self.seed)
        drawn = {str(self.space.random(draw).canonical()): None for _ in range(10 * count)}
        texts = list(drawn)[:count]
        alone = [
            self.trained(f"random-{n}", text, 1 / 5, "evaluate_test=false")["valid_accuracy"]
            for n, text in enumerate(texts)
        ]
        file = self.folder / "genotypes.txt"
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        judge = ("judge=supernet", f"judge.checkpoint={self.folder / 'supernet'}")
        self.run("judge", "judged", "space=elastic", *judge, f"genotypes={file}")
        with (self.folder / "judged" / "scores.csv").open(encoding="utf-8", newline="") as lines:
            scores = {r["genotype"]: float(r["valid_accuracy"]) for r in csv.DictReader(lines)}
        return agreement(np.array([scores[text] for text in texts]), np.array(alone)).spearman


def area(rows: Sequence[Row], way: str) -> float:
    """Return the hypervolume of a way: the share of MACs up to 1, and accuracies above 50 %."""
    return hypervolume(((row["share"], row[way]) for row in rows), 1.0, 50.0) / 50


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/elastic"))
    parser.add_argument("--only", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--minutes", type=float, default=20.0, help="time of the supernet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--random", type=int, default=0, help="random networks to correlate")
    args = parser.parse_args()
    for data in args.only:
        for seed in args.seeds:
            study = Study(args, data, seed)
            key = {"data": data, "seed": seed, "minutes": args.minutes}
            for point, row in enumerate(study.supernet(), 1):
                found = study.measure(point, row)
                print(data, seed, point, found, flush=True)
                record("elastic_study", KEY, [{**key, "point": point, **found}])
            if args.random:
                found = {"spearman": study.correlation(args.random), "networks": args.random}
                print(data, seed, found, flush=True)
                record("elastic_study", KEY, [{**key, "point": 0, **found}])
    rows = record("elastic_study", KEY, [])
    own = [r for r in rows if r["minutes"] == args.minutes and r["hardware"] == hardware("cpu")]
    lines = []
    for (data, _), group in grouped([r for r in own if r["point"]], "data", "point").items():
        means = (
            sum(r[n] for r in group) / len(group) for n in ("shared", "tuned", "alone", "short")
        )
        share = sum(r["share"] for r in group) / len(group)
        lines.append([f"`{data}`", len(group), f"{share:.2f}", *(f"{mean:.2f}" for mean in means)])
    put_table("elastic_study", table(COLUMNS, lines))
    for (data, seed), group in grouped([r for r in own if r["point"]], "data", "seed").items():
        areas = {way: round(area(group, way), 4) for way in WAYS}
        print(data, seed, "hypervolumes", areas)


if __name__ == "__main__":
    main()
