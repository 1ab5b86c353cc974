"""Latency models fitted to 200 cells of NAS-Bench-201, on each device of a latency table.

    python experiments/device_fits.py --table FILE

For each device and seed, models are fitted to random cells and tested on all other cells, as
``darts device fit`` does. "Same operations" is the rank correlation of the latency of a
cell with the mean latency of all other cells that have the same number of each operation, which is
about the best that a model that counts operations can reach.

The results are written to results/device_fits.json and README.md.
"""

from __future__ import annotations

import csv
import gzip
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from records import Row, grouped, mean_and_deviation, parser_of, put_table, record, table

from darts.hpo.architecture_list import read_architectures
from darts.judging.devices.fitting import count, fit_and_test
from darts.judging.rankings import agreement
from darts.spaces import AnyGenotype
from darts.spaces.nas201 import Nas201

SPACE = Nas201()
COMMAND = "python experiments/device_fits.py --table FILE"
BAR = 0.90  # Spearman correlation


def devices_of(path: Path) -> list[str]:
    """Return the names of the columns with latencies."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [name for name in next(csv.reader(text.splitlines())) if name != "arch"]


def same_operations(genotypes: list[AnyGenotype], latencies: NDArray[np.float64]) -> float:
    """Return how well the other cells with the same operations predict the rank of a cell."""
    keys = [tuple(genotype.count(name) for name in genotype.vocabulary) for genotype in genotypes]
    _, groups = np.unique(np.array(keys), axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    sums, sizes = np.bincount(groups, latencies)[groups], np.bincount(groups)[groups]
    several = sizes > 1
    others = (sums - latencies)[several] / (sizes[several] - 1)
    return agreement(others, latencies[several]).spearman


def main() -> None:
    """Fit the models, and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--table", required=True, type=Path, help="latencies of all cells")
    parser.add_argument("--devices", nargs="*", help="columns; by default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=200)
    args = parser.parse_args()
    counts: dict[str, NDArray[np.float64]] = {}
    rows: list[Row] = []
    for device in args.devices or devices_of(args.table):
        found = read_architectures(
            str(args.table), truth=device, space=SPACE.name, path_key="table", truth_key="column"
        )
        found.sort(key=lambda architecture: str(architecture.genotype))
        genotypes = [architecture.genotype for architecture in found]
        latencies = np.array([architecture.truth for architecture in found], dtype=float)
        counts = counts or count(SPACE, genotypes, classes=10, sample_shape=(3, 32, 32))
        for seed in range(args.seeds):
            begin = time.perf_counter()
            fits, accuracies = fit_and_test(
                genotypes, latencies, counts, train=args.train, device=device, seed=seed
            )
            chosen = next(iter(fits.values())).model
            rows.append(
                {
                    "device": device,
                    "seed": seed,
                    "train": args.train,
                    "tested": len(genotypes) - args.train,
                    "kind": chosen.kind,
                    "encoding": chosen.encoding,
                    "model": vars(accuracies[chosen.kind]),
                    **{name: vars(accuracy) for name, accuracy in accuracies.items()},
                    "same_operations": same_operations(genotypes, latencies),
                    "different_latencies": len(np.unique(latencies)),
                    "median_ms": float(np.median(latencies)),
                    "seconds": time.perf_counter() - begin,
                    "command": COMMAND,
                }
            )
            print(device, seed, chosen.encoding, rows[-1]["model"], flush=True)
    show(record("device_fits", ("device", "seed", "train"), rows))


def show(rows: list[Row]) -> None:
    """Write the table of all results."""
    columns = ["device", "model", "additive", "MACs", "parameters", "same operations"]
    columns += ["RMSE in ms", "median in ms"]
    lines = []
    for (device,), own in grouped(rows, "device").items():
        correlations = [
            mean_and_deviation([row[name]["spearman"] for row in own], digits=3)
            for name in ("model", "additive", "macs", "parameters")
        ]
        error = mean_and_deviation([row["model"]["rmse_ms"] for row in own])
        numbers = (f"{own[0]['same_operations']:.3f}", error, f"{own[0]['median_ms']:.2f}")
        lines.append((f"`{device}`", *correlations, *numbers))
    below = sorted({row["device"] for row in rows if row["model"]["spearman"] < BAR})
    text = f"Devices below {BAR:.2f} with any seed: {', '.join(below) or 'none'}."
    put_table("device_fits", f"{table(columns, lines)}\n\n{text}")


if __name__ == "__main__":
    main()
