"""Time and memory of a search step, compared with the published implementation.

    python experiments/bench_search_step.py
    python experiments/bench_search_step.py --device cuda --precision bf16

A search step is one architecture step and one weight step. Three implementations of the same
mathematics alternate in one process:

* ``published``: the edge-wise supernet as in the published code, in the default memory layout. The
  first-order gradient of the alphas is a backward pass through all parameters; the second-order
  gradient takes the virtual step on a copy of the network and shifts the weights in place.
* ``edgewise``: the edge-wise supernet in channels_last layout. ``darts.bilevel`` computes only the
  gradients that are needed.
* ``fast``: ``cnn.Supernet`` with the same gradients, as ``darts.search`` runs it.

The peak memory of each is measured in its own process. The script also measures the time to make
the two augmented batches of a step from images in memory. The results are written to
results/bench_search_step.json and README.md.
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
from benchmark import alternate, peak_megabytes, run_in_new_process, time_once
from records import Row, hardware, parser_of, put_rows, record
from torch import Tensor

from darts.bilevel import first_order, unrolled
from darts.data import MemoryImages, SampleLoader
from darts.data.augment import Augmentation
from darts.data.loader import LoaderOptions
from darts.spaces import cnn

IMPLEMENTATIONS = ("published", "edgewise", "fast")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
CASE = ("hardware", "precision", "channels", "cells", "batch", "size", "order")
KEY = (*CASE, "options", "implementation")
Batch = tuple[Tensor, Tensor]


def loss(net: Any, batch: Batch) -> Tensor:
    """Return the cross-entropy of a batch."""
    return F.cross_entropy(net(batch[0]), batch[1])


def weight_optimizer(net: Any) -> torch.optim.SGD:
    """Return the weight optimizer of the published recipe."""
    return torch.optim.SGD(net.weight_parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)


def weight_step(
    net: Any,
    optimizer: torch.optim.SGD,
    batch: Batch,
    context: AbstractContextManager[None],
    *,
    alpha_gradients: bool,
) -> None:
    """Take one weight step.

    Args:
        net: A supernet.
        optimizer: Optimizer of its weights.
        batch: Training images and labels.
        context: Context of the forward pass, for mixed precision.
        alpha_gradients: Whether to compute also the gradients of the alphas, as the published code
            does.
    """
    optimizer.zero_grad(set_to_none=True)
    with context:
        if alpha_gradients:
            value = loss(net, batch)
        else:
            weights = {name: alpha.detach().softmax(-1) for name, alpha in net.alphas.items()}
            value = F.cross_entropy(net(batch[0], weights), batch[1])
    torch.autograd.backward(value)
    torch.nn.utils.clip_grad_norm_(net.weight_parameters(), 5.0)
    optimizer.step()


def published_second_order(
    net: Any, optimizer: torch.optim.SGD, train: Batch, valid: Batch
) -> None:
    """Compute the second-order gradient on a copy of the network, as the published code does."""
    parameters = net.weight_parameters()
    gradients = torch.autograd.grad(loss(net, train), parameters)
    copied = copy.deepcopy(net)
    with torch.no_grad():
        for new, old, gradient in zip(
            copied.weight_parameters(), parameters, gradients, strict=True
        ):
            momentum = 0.9 * optimizer.state.get(old, {}).get("momentum_buffer", 0.0)
            new.sub_(0.025 * (momentum + gradient + 3e-4 * old))
    torch.autograd.backward(loss(copied, valid))
    valid_gradient = [p.grad for p in copied.weight_parameters() if p.grad is not None]
    scale = 0.01 / torch.cat([v.reshape(-1) for v in valid_gradient]).norm()
    alphas = list(net.alphas.values())
    for factor, is_evaluated in ((scale, True), (-2 * scale, True), (scale, False)):
        with torch.no_grad():
            for parameter, direction in zip(parameters, valid_gradient, strict=True):
                parameter.add_(factor * direction)
        if is_evaluated:
            torch.autograd.grad(loss(net, train), alphas)


def make_step(args: argparse.Namespace, implementation: str, order: int) -> Callable[[], None]:
    """Return a search step of one implementation, with its own network."""
    device, size = args.device, args.size
    generator = torch.Generator().manual_seed(0)
    layout = torch.contiguous_format if implementation == "published" else torch.channels_last
    train, valid = (
        (
            torch.randn(args.batch, 3, size, size, generator=generator)
            .to(device)
            .contiguous(memory_format=layout),
            torch.randint(10, (args.batch,), generator=generator).to(device),
        )
        for _ in range(2)
    )
    torch.manual_seed(0)
    net_class = cnn.Supernet if implementation == "fast" else cnn.EdgewiseSupernet
    net: Any = net_class(channels=args.channels, cells=args.cells)
    net = net.to(device=device, memory_format=layout)
    if implementation == "fast" and args.memory == "checkpoint":
        net.recompute_cells()
    optimizer = weight_optimizer(net)

    def context() -> AbstractContextManager[None]:
        if args.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(device).type, DTYPES[args.precision])

    def published_step() -> None:
        if order == 1:
            with context():
                value = loss(net, valid)
            torch.autograd.backward(value)
        else:
            with context():
                published_second_order(net, optimizer, train, valid)
        weight_step(net, optimizer, train, context(), alpha_gradients=True)

    def package_step() -> None:
        gradient = first_order if order == 1 else unrolled
        with context():
            gradient(net, loss, train, valid, optimizer)
        weight_step(net, optimizer, train, context(), alpha_gradients=False)

    return published_step if implementation == "published" else package_step


def data_seconds(args: argparse.Namespace) -> float:
    """Return the median seconds to make the two batches of a step: read, crop, flip, normalize."""
    size = args.size
    images = MemoryImages(
        torch.randint(256, (4096, 3, size, size), dtype=torch.uint8), torch.zeros(4096).long()
    )
    loaders = [
        SampleLoader(
            images,
            torch.arange(4096),
            LoaderOptions(
                args.batch, 0, name, shuffle=True, drop_last=True, device=torch.device(args.device)
            ),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            augmentation=Augmentation(crop="pad", padding=4, flip=True, cutout=0),
        )
        for name in ("weights", "alphas")
    ]

    def both() -> None:
        for loader in loaders:
            loader.batch(0, 0)

    return alternate({"data": both}, 9, args.device)["data"]["seconds"]


def measure_memory(args: argparse.Namespace, implementation: str, order: int) -> float:
    """Return the peak memory in MiB of three steps in a new process."""
    keys = ("channels", "cells", "batch", "size", "device", "precision", "memory", "threads")
    options = [f"--{key}={getattr(args, key)}" for key in keys]
    options += ["--memory-of", implementation, "--orders", str(order)]
    return float(run_in_new_process(*options))


def measure(args: argparse.Namespace, order: int) -> list[Row]:
    """Return a row for each implementation, for one order of the gradient."""
    steps: dict[str, Callable[[], object]]
    steps = {name: make_step(args, name, order) for name in args.implementations}
    timings = alternate(steps, args.repeats, args.device)
    del steps
    data = data_seconds(args)
    options = "checkpoint" if args.memory == "checkpoint" else ""
    rows = []
    for name in args.implementations:
        rows.append(
            {
                "torch": torch.__version__,
                "hardware": hardware(args.device),
                "precision": args.precision,
                "options": options,
                "channels": args.channels,
                "cells": args.cells,
                "batch": args.batch,
                "size": args.size,
                "order": order,
                "implementation": name,
                "repeats": args.repeats,
                "seconds": timings[name]["seconds"],
                # Compared with the published implementation, if it ran in the same rounds.
                "speedup": timings[name]["speedup"]
                if "published" in args.implementations
                else None,
                "peak_mb": measure_memory(args, name, order),
                "data_seconds": data,
                # 50 epochs on half of the 50,000 images of CIFAR-10, without validation.
                "search_hours": 50 * (25_000 // args.batch) * timings[name]["seconds"] / 3600,
            }
        )
        print(f"order {order}, {name}: {rows[-1]['seconds']:.3f} s", flush=True)
    return rows


def write_table(rows: list[Row]) -> None:
    """Write all recorded rows as a table to README.md."""
    published = {
        tuple(row[k] for k in CASE): row["peak_mb"]
        for row in rows
        if row["implementation"] == "published"
    }
    lines = []
    for row in rows:
        base, speedup = published.get(tuple(row[k] for k in CASE)), row["speedup"]
        lines.append(
            {
                **row,
                "numbers": f"{row['precision']} {row['options']}".strip(),
                "speedup": "" if speedup is None else f"{speedup:.2f}",
                "memory": f"{row['peak_mb'] / base:.0%}" if base else "",
                "data": row["data_seconds"] / row["seconds"],
            }
        )
    columns = {
        "hardware": "{hardware}",
        "precision": "{numbers}",
        "C x cells, batch, pixels": "{channels} x {cells}, {batch}, {size}",
        "order": "{order}",
        "implementation": "{implementation}",
        "s per step": "{seconds:.3f}",
        "speedup": "{speedup}",
        "peak MB": "{peak_mb:.0f}",
        "of published": "{memory}",
        "data %": "{data:.1%}",
        "search h": "{search_hours:.1f}",
    }
    put_rows("bench_search_step", columns, lines)


def main() -> None:
    """Measure both orders and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--memory", choices=("full", "checkpoint"), default="full")
    parser.add_argument("--orders", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    parser.add_argument(
        "--implementations", nargs="+", choices=IMPLEMENTATIONS, default=list(IMPLEMENTATIONS)
    )
    parser.add_argument("--memory-of", choices=IMPLEMENTATIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        step = make_step(args, args.memory_of, args.orders[0])
        for _ in range(3):
            time_once(step, args.device)
        print(json.dumps(peak_megabytes(args.device)))
        return
    for order in args.orders:
        rows = record("bench_search_step", KEY, measure(args, order))
    write_table(rows)


if __name__ == "__main__":
    main()
