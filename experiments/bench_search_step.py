"""How long a step of the search takes and how much memory, against the published way.

    python experiments/bench_search_step.py
    python experiments/bench_search_step.py --device cuda --precision bf16

A step is one gradient of the alphas and one step of the weights. Three ways of the same mathematics
alternate in one process:

* ``published``: the edge-wise network as the original description runs it: plain memory layout, the
  first-order gradient of the alphas by a backward pass through everything, the second-order one on
  a copy of the network made for the step, with the weights moved in place and back.
* ``edgewise``: the edge-wise network with the gradients of ``darts.bilevel``, which ask for nothing
  else, in channels_last layout.
* ``fast``: ``cnn.Supernet`` with the same gradients, as ``darts.search`` runs it.

Peak memory is measured in a process of its own for each way. The data path is timed as well:
making the two batches of a step from images in memory, augmented. Rows go to
results/bench_search_step.json and into the table of README.md.

Imports nothing but torch and the parts of darts that need nothing else.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from benchmark import (
    alternate,
    command,
    hardware,
    in_new_process,
    peak_megabytes,
    put_table,
    record,
    seconds_of,
    table,
)
from torch import Tensor

from darts.bilevel import GRADIENTS
from darts.data import Augmentation, Batches, MemoryImages
from darts.spaces import cnn

WAYS = ("published", "edgewise", "fast")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
KEY = ("hardware", "precision", "options", "channels", "cells", "batch", "size", "order", "way")
Batch = tuple[Tensor, Tensor]


def loss(net: Any, batch: Batch) -> Tensor:
    """Cross entropy of a batch."""
    return F.cross_entropy(net(batch[0]), batch[1])


def weight_optimizer(net: Any) -> torch.optim.SGD:
    """The published optimizer of the weights."""
    return torch.optim.SGD(net.weight_parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)


def weight_step(
    net: Any,
    optimizer: torch.optim.SGD,
    batch: Batch,
    context: AbstractContextManager[None],
    *,
    alphas: bool,
) -> None:
    """One step of the weights; the published code computes the alphas' gradients as well."""
    optimizer.zero_grad(set_to_none=True)
    with context:
        if alphas:
            value = loss(net, batch)
        else:
            weights = {name: alpha.detach().softmax(-1) for name, alpha in net.alphas.items()}
            value = F.cross_entropy(net(batch[0], weights), batch[1])
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.weight_parameters(), 5.0)
    optimizer.step()


def published_second_order(
    net: Any, optimizer: torch.optim.SGD, train: Batch, valid: Batch
) -> None:
    """Second order on a fresh copy of the network, the finite difference in place."""
    parameters = net.weight_parameters()
    gradients = torch.autograd.grad(loss(net, train), parameters)
    copied = copy.deepcopy(net)
    with torch.no_grad():
        for new, old, gradient in zip(
            copied.weight_parameters(), parameters, gradients, strict=True
        ):
            momentum = 0.9 * optimizer.state.get(old, {}).get("momentum_buffer", 0.0)
            new.sub_(0.025 * (momentum + gradient + 3e-4 * old))
    loss(copied, valid).backward()
    vector = [p.grad for p in copied.weight_parameters() if p.grad is not None]
    scale = 0.01 / torch.cat([v.reshape(-1) for v in vector]).norm()
    alphas = list(net.alphas.values())
    for factor, measured in ((scale, True), (-2 * scale, True), (scale, False)):
        with torch.no_grad():
            for parameter, direction in zip(parameters, vector, strict=True):
                parameter.add_(factor * direction)
        if measured:
            torch.autograd.grad(loss(net, train), alphas)


def make_step(arguments: argparse.Namespace, way: str, order: int) -> Callable[[], None]:
    """One way of computing a step, with a network of its own."""
    device, size = arguments.device, arguments.size
    generator = torch.Generator().manual_seed(0)
    layout = torch.contiguous_format if way == "published" else torch.channels_last
    train, valid = (
        (
            torch.randn(arguments.batch, 3, size, size, generator=generator)
            .to(device)
            .contiguous(memory_format=layout),
            torch.randint(10, (arguments.batch,), generator=generator).to(device),
        )
        for _ in range(2)
    )
    torch.manual_seed(0)
    kind = cnn.Supernet if way == "fast" else cnn.EdgewiseSupernet
    net: Any = kind(channels=arguments.channels, cells=arguments.cells)
    net = net.to(device=device, memory_format=layout)
    if way == "fast" and arguments.compile:
        net.compile_regions()
    if way == "fast" and arguments.memory == "checkpoint":
        net.recompute_cells()
    optimizer = weight_optimizer(net)

    def context() -> AbstractContextManager[None]:
        if arguments.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(device).type, DTYPES[arguments.precision])

    def published() -> None:
        if order == 1:
            with context():
                value = loss(net, valid)
            value.backward()
        else:
            with context():
                published_second_order(net, optimizer, train, valid)
        weight_step(net, optimizer, train, context(), alphas=True)

    def ours() -> None:
        gradient = GRADIENTS["first_order" if order == 1 else "unrolled"]()
        with context():
            gradient(net, loss, train, valid, optimizer)
        weight_step(net, optimizer, train, context(), alphas=False)

    return published if way == "published" else ours


def data_seconds(arguments: argparse.Namespace) -> float:
    """Time to make the two batches of a step: read, cropped, flipped and normalized."""
    size = arguments.size
    images = MemoryImages(
        torch.randint(256, (4096, 3, size, size), dtype=torch.uint8), torch.zeros(4096).long()
    )
    batches = [
        Batches(
            images,
            torch.arange(4096),
            batch_size=arguments.batch,
            seed=0,
            stream=stream,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            augmentation=Augmentation(crop="pad", padding=4, flip=True, cutout=0),
            shuffle=True,
            drop_last=True,
            device=arguments.device,
        )
        for stream in ("weights", "alphas")
    ]

    def both() -> None:
        for one in batches:
            one.batch(0, 0)

    return alternate({"data": both}, 9, arguments.device)["data"]["seconds"]


def memory_of(arguments: argparse.Namespace, way: str, order: int) -> float:
    """Peak megabytes of three steps in a process of their own."""
    sizes = [f"--{k}={getattr(arguments, k)}" for k in ("channels", "cells", "batch", "size")]
    kept = [f"--{k}={getattr(arguments, k)}" for k in ("device", "precision", "memory", "threads")]
    flags = ["--compile"] if arguments.compile else []
    only = ["--memory-of", way, "--orders", str(order)]
    return float(in_new_process(*sizes, *kept, *flags, *only))


def measure(arguments: argparse.Namespace, order: int) -> list[dict[str, Any]]:
    """The rows of one order."""
    steps: dict[str, Callable[[], object]]
    steps = {way: make_step(arguments, way, order) for way in arguments.ways}
    timed = alternate(steps, arguments.repeats, arguments.device)
    del steps
    data = data_seconds(arguments)
    options = " ".join(
        ["compile"] * arguments.compile + ["checkpoint"] * (arguments.memory == "checkpoint")
    )
    rows = []
    for way in arguments.ways:
        rows.append(
            {
                "command": command(),
                "torch": torch.__version__,
                "hardware": hardware(arguments.device),
                "precision": arguments.precision,
                "options": options,
                "channels": arguments.channels,
                "cells": arguments.cells,
                "batch": arguments.batch,
                "size": arguments.size,
                "order": order,
                "way": way,
                "repeats": arguments.repeats,
                "seconds": timed[way]["seconds"],
                # Against the published way, if it ran in the same rounds.
                "speedup": timed[way]["speedup"] if "published" in arguments.ways else None,
                "peak_mb": memory_of(arguments, way, order),
                "data_seconds": data,
                # 50 epochs on half of the 50,000 images of CIFAR-10, scoring left out.
                "search_hours": 50 * (25_000 // arguments.batch) * timed[way]["seconds"] / 3600,
            }
        )
        print(f"order {order}, {way}: {rows[-1]['seconds']:.3f} s", flush=True)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """All recorded rows as the table of README.md."""
    columns = (
        *("hardware", "precision", "C x cells, batch, pixels", "order", "way", "s a step"),
        *("times faster", "peak MB", "of published", "data %", "search h"),
    )
    published = {
        tuple(row[k] for k in KEY[:-1] if k != "options"): row["peak_mb"]
        for row in rows
        if row["way"] == "published"
    }
    lines = []
    for row in rows:
        base = published.get(tuple(row[k] for k in KEY[:-1] if k != "options"))
        lines.append(
            (
                row["hardware"],
                f"{row['precision']} {row['options']}".strip(),
                f"{row['channels']} x {row['cells']}, {row['batch']}, {row['size']}",
                row["order"],
                row["way"],
                f"{row['seconds']:.3f}",
                "" if row["speedup"] is None else f"{row['speedup']:.2f}",
                f"{row['peak_mb']:.0f}",
                f"{row['peak_mb'] / base:.0%}" if base else "",
                f"{row['data_seconds'] / row['seconds']:.1%}",
                f"{row['search_hours']:.1f}",
            )
        )
    put_table("bench_search_step", table(columns, lines))


def main() -> None:
    """Measure both orders, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", choices=("full", "checkpoint"), default="full")
    parser.add_argument("--orders", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        step = make_step(arguments, arguments.memory_of, arguments.orders[0])
        for _ in range(3):
            seconds_of(step, arguments.device)
        print(json.dumps(peak_megabytes(arguments.device)))
        return
    for order in arguments.orders:
        rows = record("bench_search_step", KEY, measure(arguments, order))
    show(rows)


if __name__ == "__main__":
    main()
