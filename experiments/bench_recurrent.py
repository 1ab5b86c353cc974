"""How many tokens a second recurrent cells go through, forward and backward.

    python experiments/bench_recurrent.py

The search cell is computed in three ways that alternate in one process: ``edgewise``, edge by edge
and candidate by candidate; ``published``, all edges into a node in one product and candidates one
by one (experiments/plain_recurrent.py); ``fast``, ``darts.spaces.recurrent.SearchCell``. The mixing
weights are constants, as in a step of the weights. The discrete cell is computed node by node
(``plain``) and as ``darts.spaces.recurrent.DiscreteCell`` does (``network``), beside
``torch.nn.LSTM`` with as many units and far fewer weights. All drop out as the published recipe.
Embeddings and decoder are left out. Medians of tokens a second and of the ratios within a round are
printed and written to results/bench_recurrent.json and README.md.

Imports nothing but torch and the parts of darts that need nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from benchmark import alternate, command, hardware, put_table, record, table
from plain_recurrent import PlainCell, PlainSearchCell
from torch import nn

from darts.spaces.recurrent import PUBLISHED, DiscreteCell, Dropouts, EdgewiseCell, SearchCell

KEY = ("hardware", "cell", "hidden", "steps", "batch", "way")
DROPOUTS = Dropouts(input=0.75, hidden=0.25)


def search_ways(arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """The ways to compute the cell of the supernet."""
    hidden, device = arguments.hidden, arguments.device
    inputs = torch.randn(arguments.steps, arguments.batch, hidden, device=device)
    weights = torch.randn(36, 5, device=device).softmax(-1)

    def make(kind: Any) -> Callable[[], None]:
        cell = kind(hidden, hidden, 8, DROPOUTS).to(device)
        return lambda: step(cell, inputs, None, weights)

    kinds = {"edgewise": EdgewiseCell, "published": PlainSearchCell, "fast": SearchCell}
    return {way: make(kind) for way, kind in kinds.items() if way in arguments.ways}


def discrete_ways(arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """The ways to compute the cell of a genotype, and another cell of its width."""
    hidden, device = arguments.hidden, arguments.device
    inputs = torch.randn(arguments.steps, arguments.batch, hidden, device=device)
    genotype = PUBLISHED[arguments.genotype].genotype
    cells = {
        "plain": PlainCell(genotype, hidden, hidden, DROPOUTS),
        "network": DiscreteCell(genotype, hidden, hidden, DROPOUTS),
        "LSTM": nn.LSTM(hidden, hidden),
    }

    def make(cell: nn.Module) -> Callable[[], None]:
        cell.to(device)
        return lambda: step(cell, inputs)

    return {way: make(cell) for way, cell in cells.items()}


def step(cell: nn.Module, inputs: torch.Tensor, *more: Any) -> None:
    """One forward and one backward pass; gradients are thrown away."""
    cell.zero_grad()
    outputs, _ = cell(inputs, *more)
    outputs.square().mean().backward()


def main() -> None:
    """Measure both kinds of cell, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genotype", default="DARTS_RNN_V2", choices=PUBLISHED)
    parser.add_argument("--hidden", type=int, default=300)
    parser.add_argument("--steps", type=int, default=35)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=["edgewise", "published", "fast"])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    shape = {key: getattr(arguments, key) for key in ("hidden", "steps", "batch")}
    tokens = arguments.steps * arguments.batch
    rows = []
    for cell, ways in (
        ("search", search_ways(arguments)),
        (arguments.genotype, discrete_ways(arguments)),
    ):
        for way, timed in alternate(ways, arguments.repeats, arguments.device).items():
            rows.append(
                {
                    "command": command(),
                    "torch": torch.__version__,
                    "hardware": hardware(arguments.device),
                    "cell": cell,
                    **shape,
                    "way": way,
                    "repeats": arguments.repeats,
                    "tokens_per_second": tokens / timed["seconds"],
                    "speedup": timed["speedup"],
                }
            )
            print(f"{cell}, {way}: {timed['seconds']:.3f} s", flush=True)
    columns = (
        *("hardware", "cell", "units, steps, batch", "way", "tokens a second", "times faster"),
    )
    lines = [
        (
            *(row["hardware"], row["cell"]),
            f"{row['hidden']}, {row['steps']}, {row['batch']}",
            *(row["way"], f"{row['tokens_per_second']:.0f}", f"{row['speedup']:.2f}"),
        )
        for row in record("bench_recurrent", KEY, rows)
    ]
    put_table("bench_recurrent", table(columns, lines))


if __name__ == "__main__":
    main()
