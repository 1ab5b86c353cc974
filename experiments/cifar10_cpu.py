"""CIFAR-10 from search to test score on two CPU cores, and five random genotypes beside it.

    python experiments/cifar10_cpu.py --root data

searches with ``experiment=cifar10_cpu``, retrains and evaluates what was found, then retrains
random genotypes with the same recipe, each at the number of channels that brings its weights
closest to those of the found network. A run that is already there is not run again. The results go
to experiments/results/cifar10_cpu.json and, as a table, to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from darts.spaces import Genotype, cnn
from darts.tracking.files import read_json, write_json
from darts.training.cost import count_parameters

RESULTS = Path(__file__).parent / "results" / "cifar10_cpu.json"
CELLS, CLASSES = 5, 10  # as in conf/experiment/retrain/cifar10_cpu.yaml


def command(name: str, directory: Path, *overrides: str) -> dict[str, Any]:
    """Run a command unless its directory is complete already; returns its summary."""
    if not (directory / "summary.json").exists():
        if (directory / "overrides.json").exists():
            overrides = (f"resume={directory}",)
        else:
            overrides = (*overrides, f"hydra.run.dir={directory}")
        subprocess.run([sys.executable, "-m", f"darts.{name}", *overrides], check=True)
    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary


def weights_at(genotype: Genotype, channels: int) -> int:
    """Weights of the retrained network at so many channels."""
    net = cnn.Network(genotype, channels=channels, cells=CELLS, classes=CLASSES, auxiliary=False)
    return count_parameters(net.parameters())


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data", help="folder that holds or will hold CIFAR-10")
    parser.add_argument("--runs", default="runs/cifar10_cpu", help="folder of the runs")
    parser.add_argument("--random", type=int, default=5, help="how many random genotypes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="passed to search and retrain")
    given = parser.parse_args()
    runs = Path(given.runs)
    common = [f"dataset.root={given.root}", f"seed={given.seed}", *given.overrides]

    recipe = ["experiment=cifar10_cpu", *common]
    search = command("search", runs / "search", *recipe)
    found = command("retrain", runs / "found", f"genotype={runs / 'search'}", *recipe)
    command("evaluate", runs / "evaluate", f"checkpoint={runs / 'found'}")

    rows = [{**found, "name": "found", "channels": 12}]
    for index in range(given.random):
        generator = torch.Generator().manual_seed(given.seed * 1000 + index)
        genotype = cnn.random_genotype(generator)
        channels = min(
            range(4, 41), key=lambda c: abs(weights_at(genotype, c) - found["parameters"])
        )
        file = runs / f"random{index}.json"
        runs.mkdir(parents=True, exist_ok=True)
        file.write_text(genotype.to_json(), encoding="utf-8")
        summary = command(
            "retrain",
            runs / f"random{index}",
            f"genotype={file}",
            f"space.channels={channels}",
            *recipe,
        )
        rows.append({**summary, "name": f"random {index}", "channels": channels})

    keys = ("name", "channels", "parameters", "macs", "valid_accuracy", "test_accuracy", "seconds")
    table = [{key: row[key] for key in (*keys, "genotype")} for row in rows]
    result = {
        "command": " ".join(["python", "experiments/cifar10_cpu.py", *sys.argv[1:]]),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "torch": torch.__version__,
        "seed": given.seed,
        "search_valid_accuracy": search["valid_accuracy"],
        "search_seconds": search["seconds"],
        "end_to_end_seconds": search["seconds"] + found["seconds"],
        "rows": table,
    }
    write_json(RESULTS, result)
    print("| network | channels | weights | MACs | validation % | test % | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in table:
        print(
            f"| {row['name']} | {row['channels']} | {row['parameters']:,} | {row['macs']:,} "
            f"| {100 * row['valid_accuracy']:.2f} | {100 * row['test_accuracy']:.2f} "
            f"| {row['seconds']:.0f} |"
        )
    scores = [100 * row["test_accuracy"] for row in table[1:]]
    if len(scores) > 1:
        print(f"random: {statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} % test")
    print(json.dumps({key: result[key] for key in ("end_to_end_seconds", "hardware", "torch")}))


if __name__ == "__main__":
    main()
