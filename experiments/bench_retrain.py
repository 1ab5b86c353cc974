"""Images per second of a retraining, compared with a plain implementation.

    python experiments/bench_retrain.py

A step is a forward pass, a backward pass, gradient clipping and SGD. ``plain`` is
tests/oracles/plain_network.py in the default memory layout, as in the published code; ``network``
is ``darts.spaces.cnn.Network`` as ``darts.retrain`` runs it. Both have the same weights and images,
and alternate in one process. Each is measured without and with the auxiliary head and drop path.
Medians of the images per second, and of the speedups within a round, are printed and written to
results/bench_retrain.json and README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmark import alternate
from records import hardware, parser_of, put_rows, record

from darts.spaces.cnn import PUBLISHED, Network
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.training.steps import optimizer_steps

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from oracles.plain_network import PlainNetwork

SHAPE = ("genotype", "channels", "cells", "batch", "size")
KEY = ("hardware", *SHAPE, "auxiliary", "drop_path", "implementation")
CASES = ((False, 0.0), (True, 0.0), (True, 0.2))  # auxiliary head, drop path


def make_steps(
    args: argparse.Namespace, auxiliary: bool, drop_path: float
) -> dict[str, Callable[[], object]]:
    """Return a training step for each implementation, each with its own network."""
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    labels = torch.randint(10, (args.batch,), device=args.device)
    objective = TASKS["classification"]().make_objective(
        ObjectiveSpec(tuple(str(label) for label in range(10)), auxiliary=0.4)
    )
    scaler = torch.amp.GradScaler(torch.device(args.device).type, enabled=False)

    def make(network_class: Any, layout: torch.memory_format) -> Callable[[], None]:
        torch.manual_seed(0)
        net = network_class(
            PUBLISHED[args.genotype].genotype,
            channels=args.channels,
            cells=args.cells,
            auxiliary=auxiliary,
            drop_path=drop_path,
        ).to(device=args.device, memory_format=layout)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)

        def step() -> None:
            loss, _ = objective.network_loss(net, (images, labels))
            optimizer_steps(loss, [(optimizer, 5.0)], scaler)

        return step

    return {
        "plain": make(PlainNetwork, torch.contiguous_format),
        "network": make(Network, torch.channels_last),
    }


def main() -> None:
    """Measure each case and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--genotype", default="DARTS_V2", choices=PUBLISHED)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    rows = []
    for auxiliary, drop_path in CASES:
        timings = alternate(make_steps(args, auxiliary, drop_path), args.repeats, args.device)
        for implementation, timing in timings.items():
            rows.append(
                {
                    "torch": torch.__version__,
                    "hardware": hardware(args.device),
                    **{key: getattr(args, key) for key in SHAPE},
                    "auxiliary": auxiliary,
                    "drop_path": drop_path,
                    "implementation": implementation,
                    "repeats": args.repeats,
                    "images_per_second": args.batch / timing["seconds"],
                    "speedup": timing["speedup"],
                }
            )
            print(f"{implementation}: {timing['seconds']:.3f} s", flush=True)
    all_rows = record("bench_retrain", KEY, rows)
    columns = {
        "hardware": "{hardware}",
        "genotype": "{genotype}",
        "C x cells, batch, pixels": "{channels} x {cells}, {batch}, {size}",
        "auxiliary head": "{head}",
        "drop path": "{drop_path}",
        "implementation": "{implementation}",
        "images per second": "{images_per_second:.1f}",
        "speedup": "{speedup:.2f}",
    }
    lines = [{**row, "head": "on" if row["auxiliary"] else "off"} for row in all_rows]
    put_rows("bench_retrain", columns, lines)


if __name__ == "__main__":
    main()
