"""True accuracies and latencies of all cells of NAS-Bench-201, for the scripts that need both."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import records
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from runs import run

from darts.hpo.architecture_list import read_architectures
from darts.judging.devices.latency_model import load_model
from darts.judging.limits.front_budgets import is_useful
from darts.judging.nas201_table import load
from darts.spaces.lookup import find_genotype


class Truth(NamedTuple):
    """Latencies in milliseconds and accuracies in percent of all cells, by their text."""

    latencies: dict[str, float]
    accuracies: dict[str, float]

    def best_within(self, limit: float) -> float:
        """Return the best accuracy of all cells with a true latency of at most ``limit``."""
        return max(self.accuracies[cell] for cell, ms in self.latencies.items() if ms <= limit)


def parser_of(description: str | None, out: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that the scripts share.

    Args:
        description: Docstring of the script.
        out: Default folder of its runs.
    """
    parser = records.parser_of(description)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--nas201", type=Path, required=True, help="table of NAS-Bench-201")
    parser.add_argument("--latencies", type=Path, required=True, help="latencies of all cells")
    parser.add_argument("--device", default="raspi4", help="column of the latencies")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--unverified", action="store_true", help="accept another CIFAR-10")
    return parser


def use_one_thread() -> None:
    """Let this process and its runs use one thread."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def data_of(args: argparse.Namespace) -> list[str]:
    """Return the overrides that select the data."""
    unverified = ["dataset.verify=false"] if args.unverified else []
    return [f"dataset.root={args.data.resolve()}", *unverified]


def read_truth(args: argparse.Namespace) -> Truth:
    """Read both tables."""
    measured = read_architectures(
        str(args.latencies), truth=args.device, space="nas201", path_key="table", truth_key="column"
    )
    accuracies = load(args.nas201)
    latencies, scores = {}, {}
    for cell in measured:
        text = str(cell.genotype)
        latencies[text] = float(cell.truth or 0.0)
        scores[text] = accuracies.accuracy(
            cell.genotype, dataset="cifar10", split="test", epochs=200
        )
    return Truth(latencies, scores)


def predict_useful_cells(model: Path, truth: Truth) -> dict[str, float]:
    """Return the predicted latencies of all cells whose operations all have an effect."""
    predictor = load_model(model)
    cells = {text: find_genotype(text)[1] for text in truth.latencies}
    return {text: predictor.predict(cell) for text, cell in cells.items() if is_useful(cell)}


def fit_model(args: argparse.Namespace) -> Path:
    """Fit a latency model to 200 random cells of the device; return its file."""
    model = Path(args.out / f"{args.device}.json")
    run(
        "device",
        args.out / f"fit-{args.device}",
        "action=fit",
        "space=nas201",
        f"table={args.latencies.resolve()}",
        f"column={args.device}",
        "train=200",
        f"out={model}",
    )
    return model


def draw_truth(truth: Truth, device: str) -> tuple[Figure, Axes]:
    """Return a figure with all cells and their true front."""
    latencies = np.array(list(truth.latencies.values()))
    accuracies = np.array(list(truth.accuracies.values()))
    order = np.argsort(latencies, kind="stable")
    front = np.maximum.accumulate(accuracies[order])
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.scatter(latencies, accuracies, s=2, color="0.8", rasterized=True, label="all cells")
    axes.step(latencies[order], front, where="post", color="C0", label="true front")
    axes.set(xlabel=f"latency on {device} in ms", ylabel="test accuracy in %")
    axes.set_ylim(float(np.quantile(accuracies, 0.1)), 95)
    return figure, axes


def save(figure: Figure, axes: Axes, path: Path) -> None:
    """Write a figure of ``draw_truth`` with its legend."""
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150, metadata={"Date": None})
    plt.close(figure)
