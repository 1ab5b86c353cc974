"""How many images a second a network is retrained at, against the published way of computing it.

    python experiments/bench_retrain.py

One step is forward, backward, clipping and SGD. ``plain`` is experiments/plain_network.py in the
plain memory layout, as the published code runs it; ``network`` is ``darts.spaces.cnn.Network`` as
``darts.retrain`` runs it. Both have the same weights and see the same images, and alternate in one
process. For each context of the auxiliary head and of drop path, medians of images a second and of
the ratios within a round are printed and written to results/bench_retrain.json and README.md.

Imports nothing but torch and the parts of darts that need nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from benchmark import alternate, command, hardware, put_table, record, table
from oracles.plain_network import PlainNetwork

from darts.spaces.cnn import PUBLISHED, Network
from darts.tasks import TASKS
from darts.training.steps import optimizer_step

KEY = (
    *("hardware", "genotype", "channels", "cells", "batch", "size", "auxiliary", "drop_path"),
    "way",
)
SETTINGS = ((False, 0.0), (True, 0.0), (True, 0.2))  # auxiliary head, drop path


def ways(
    arguments: argparse.Namespace, auxiliary: bool, drop_path: float
) -> dict[str, Callable[[], object]]:
    """The two ways of computing a step, each with a network of its own."""
    size, device = arguments.size, arguments.device
    images = torch.randn(arguments.batch, 3, size, size, device=device)
    labels = torch.randint(10, (arguments.batch,), device=device)
    objective = TASKS["classification"]().objective(range(10), auxiliary=0.4)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=False)

    def make(kind: Any, layout: torch.memory_format) -> Callable[[], None]:
        torch.manual_seed(0)
        net = kind(
            PUBLISHED[arguments.genotype].genotype,
            channels=arguments.channels,
            cells=arguments.cells,
            auxiliary=auxiliary,
            drop_path=drop_path,
        ).to(device=device, memory_format=layout)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)

        def step() -> None:
            loss, _ = objective.network_loss(net, (images, labels))
            optimizer_step(loss, optimizer, scaler, clip=5.0)

        return step

    return {
        "plain": make(PlainNetwork, torch.contiguous_format),
        "network": make(Network, torch.channels_last),
    }


def main() -> None:
    """Measure each context, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genotype", default="DARTS_V2", choices=PUBLISHED)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    shape = {k: getattr(arguments, k) for k in ("genotype", "channels", "cells", "batch", "size")}
    rows = []
    for auxiliary, drop_path in SETTINGS:
        steps = ways(arguments, auxiliary, drop_path)
        for way, timed in alternate(steps, arguments.repeats, arguments.device).items():
            rows.append(
                {
                    "command": command(),
                    "torch": torch.__version__,
                    "hardware": hardware(arguments.device),
                    **shape,
                    "auxiliary": auxiliary,
                    "drop_path": drop_path,
                    "way": way,
                    "repeats": arguments.repeats,
                    "images_per_second": arguments.batch / timed["seconds"],
                    "speedup": timed["speedup"],
                }
            )
            print(f"{way}: {timed['seconds']:.3f} s", flush=True)
    columns = (
        *("hardware", "genotype", "C x cells, batch, pixels", "auxiliary head", "drop path", "way"),
        *("images a second", "times faster"),
    )
    lines = [
        (
            *(row["hardware"], row["genotype"]),
            f"{row['channels']} x {row['cells']}, {row['batch']}, {row['size']}",
            *("on" if row["auxiliary"] else "off", row["drop_path"], row["way"]),
            *(f"{row['images_per_second']:.1f}", f"{row['speedup']:.2f}"),
        )
        for row in record("bench_retrain", KEY, rows)
    ]
    put_table("bench_retrain", table(columns, lines))


if __name__ == "__main__":
    main()
