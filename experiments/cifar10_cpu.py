"""The genotype of a search on CIFAR-10 on two CPU cores, compared with random genotypes.

    python experiments/cifar10_cpu.py --root data

Searches with ``experiment=cifar10_cpu``, retrains and evaluates the resulting genotype, and then
retrains random genotypes with the same recipe. The number of channels of each random genotype is
chosen so that its number of weights is closest to the network found by the search. A
finished run is not repeated. The results are written to results/cifar10_cpu.json and printed as a
table.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import torch
from records import HERE, command, mean_and_deviation, parser_of, table
from runs import run

from darts.spaces import Genotype, cnn
from darts.training.cost import count_parameters
from darts.writing import write_json

RESULTS = HERE / "results" / "cifar10_cpu.json"
CHANNELS, CELLS, CLASSES = 12, 5, 10  # of conf/experiment/retrain/cifar10_cpu.yaml


def count_weights(genotype: Genotype, channels: int) -> int:
    """Return the number of weights of the retrained network with this number of channels."""
    net = cnn.Network(genotype, channels=channels, cells=CELLS, classes=CLASSES, auxiliary=False)
    return count_parameters(net.parameters())


def main() -> None:
    """Run what is missing and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--root", default="data", help="folder of CIFAR-10")
    parser.add_argument("--runs", default="runs/cifar10_cpu", help="folder of the runs")
    parser.add_argument("--random", type=int, default=5, help="number of random genotypes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="of search and retraining")
    args = parser.parse_args()
    runs = Path(args.runs)
    common = [f"dataset.root={args.root}", f"seed={args.seed}", *args.overrides]

    recipe = ["experiment=cifar10_cpu", *common]
    search = run("search", runs / "search", *recipe, log=False)
    retrain = run("retrain", runs / "retrain", f"genotype={runs / 'search'}", *recipe, log=False)
    run("evaluate", runs / "evaluate", f"checkpoint={runs / 'retrain'}", log=False)

    rows = [{**retrain, "name": "search", "channels": CHANNELS}]
    for index in range(args.random):
        generator = torch.Generator().manual_seed(args.seed * 1000 + index)
        genotype = cnn.Cnn().random(generator)
        channels = min(
            range(4, 41), key=lambda c: abs(count_weights(genotype, c) - retrain["parameters"])
        )
        file = runs / f"random{index}.json"
        runs.mkdir(parents=True, exist_ok=True)
        file.write_text(genotype.to_json(), encoding="utf-8")
        summary = run(
            "retrain",
            runs / f"random{index}",
            f"genotype={file}",
            f"space.channels={channels}",
            *recipe,
            log=False,
        )
        rows.append({**summary, "name": f"random {index}", "channels": channels})

    keys = ("name", "channels", "parameters", "macs", "valid_accuracy", "test_accuracy", "seconds")
    rows = [{key: row[key] for key in (*keys, "genotype")} for row in rows]
    result = {
        "command": command(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "torch": torch.__version__,
        "seed": args.seed,
        "search_valid_accuracy": search["valid_accuracy"],
        "search_seconds": search["seconds"],
        "end_to_end_seconds": search["seconds"] + retrain["seconds"],
        "rows": rows,
    }
    write_json(RESULTS, result)
    columns = ("network", "channels", "weights", "MACs", "validation %", "test %", "seconds")
    lines = [
        (
            row["name"],
            row["channels"],
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{100 * row['valid_accuracy']:.2f}",
            f"{100 * row['test_accuracy']:.2f}",
            f"{row['seconds']:.0f}",
        )
        for row in rows
    ]
    print(table(columns, lines))
    if len(rows) > 1:
        scores = [100 * row["test_accuracy"] for row in rows[1:]]
        print(f"random: {mean_and_deviation(scores)} % test")
    print(json.dumps({key: result[key] for key in ("end_to_end_seconds", "hardware", "torch")}))


if __name__ == "__main__":
    main()
