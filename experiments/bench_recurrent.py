"""Tokens per second of recurrent cells, forward and backward.

    python experiments/bench_recurrent.py

Three implementations of the supernet's cell alternate in one process: ``edgewise`` computes one
edge and one candidate at a time; ``published`` (plain_recurrent.py) computes all edges into a node
in one product and one candidate at a time; ``fast`` is ``darts.spaces.recurrent.MixedCell``. The
mixing weights are constants, as in a weight step. The cell of a genotype is computed node by node
(``plain``) and by ``darts.spaces.recurrent.DiscreteCell`` (``network``), and compared with a
``torch.nn.LSTM`` of the same width, which has far fewer weights. All cells except the LSTM use the
dropout of the published recipe. Embedding and decoder are not included. Medians of the tokens per
second, and of the speedups within a round, are printed and written to results/bench_recurrent.json
and README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmark import alternate
from plain_recurrent import PlainCell, PlainMixedCell
from records import hardware, parser_of, put_rows, record
from torch import nn

from darts.spaces.recurrent import PUBLISHED, DiscreteCell, DropoutRates, MixedCell
from darts.spaces.recurrent.cell import ModelSettings

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from oracles.recurrent_supernet import EdgewiseCell

KEY = ("hardware", "cell", "hidden", "steps", "batch", "implementation")
DROPOUTS = DropoutRates(input=0.75, hidden=0.25)


def mixed_cell_steps(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return a forward and backward pass for each implementation of the supernet's cell."""
    settings, device = ModelSettings(args.hidden, args.hidden, DROPOUTS), args.device
    inputs = torch.randn(args.steps, args.batch, args.hidden, device=device)
    weights = torch.randn(36, 5, device=device).softmax(-1)  # (edges, operations) of 8 nodes

    def make(cell_class: Any) -> Callable[[], None]:
        cell = cell_class(settings, 8).to(device)
        return lambda: step(cell, inputs, None, weights)

    classes = {"edgewise": EdgewiseCell, "published": PlainMixedCell, "fast": MixedCell}
    return {name: make(classes[name]) for name in classes if name in args.implementations}


def discrete_cell_steps(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return a forward and backward pass for each kind of a genotype's cell, and for an LSTM."""
    hidden, device = args.hidden, args.device
    inputs = torch.randn(args.steps, args.batch, hidden, device=device)
    genotype = PUBLISHED[args.genotype].genotype
    settings = ModelSettings(hidden, hidden, DROPOUTS)
    cells = {
        "plain": PlainCell(genotype, settings),
        "network": DiscreteCell(genotype, settings),
        "LSTM": nn.LSTM(hidden, hidden),
    }

    def make(cell: nn.Module) -> Callable[[], None]:
        cell.to(device)
        return lambda: step(cell, inputs)

    return {name: make(cell) for name, cell in cells.items()}


def step(cell: nn.Module, inputs: torch.Tensor, *more: Any) -> None:
    """Run one forward and one backward pass."""
    cell.zero_grad()
    outputs, _ = cell(inputs, *more)
    torch.autograd.backward(outputs.square().mean())


def main() -> None:
    """Measure both cells and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--genotype", default="DARTS_RNN_V2", choices=PUBLISHED)
    parser.add_argument("--hidden", type=int, default=300, help="width of the cell")
    parser.add_argument("--steps", type=int, default=35, help="tokens per sequence")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5, help="rounds of measurements")
    parser.add_argument(
        "--implementations",
        nargs="+",
        default=["edgewise", "published", "fast"],
        help="of the supernet's cell",
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("hidden", "steps", "batch")}
    tokens = args.steps * args.batch
    rows = []
    for cell, steps in (
        ("search", mixed_cell_steps(args)),
        (args.genotype, discrete_cell_steps(args)),
    ):
        for implementation, timing in alternate(steps, args.repeats, args.device).items():
            rows.append(
                {
                    "torch": torch.__version__,
                    "hardware": hardware(args.device),
                    "cell": cell,
                    **shape,
                    "implementation": implementation,
                    "repeats": args.repeats,
                    "tokens_per_second": tokens / timing["seconds"],
                    "speedup": timing["speedup"],
                }
            )
            print(f"{cell}, {implementation}: {timing['seconds']:.3f} s", flush=True)
    columns = {
        "hardware": "{hardware}",
        "cell": "{cell}",
        "units, steps, batch": "{hidden}, {steps}, {batch}",
        "implementation": "{implementation}",
        "tokens per second": "{tokens_per_second:.0f}",
        "speedup": "{speedup:.2f}",
    }
    put_rows("bench_recurrent", columns, record("bench_recurrent", KEY, rows))


if __name__ == "__main__":
    main()
