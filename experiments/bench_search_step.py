"""How long a step of the search takes, against the published way of computing it.

    python experiments/bench_search_step.py

A step is one gradient of the alphas and one step of the weights. ``published`` runs it as the
original description does: plain memory layout; the first-order gradient of the alphas by a backward
pass through everything; the second-order one on a copy of the network made for the step, with the
weights moved in place and back. ``edgewise`` is what ``darts.search`` does with the same network.
Both alternate in one process; medians of the times and of the ratios are printed and written to
experiments/results/bench_search_step.json.

Imports nothing but torch and the parts of darts that need nothing else.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.bilevel import GRADIENTS
from darts.spaces import cnn

RESULTS = Path(__file__).parent / "results" / "bench_search_step.json"
Batch = tuple[Tensor, Tensor]


def loss(net: Any, batch: Batch) -> Tensor:
    """Cross entropy of a batch."""
    return F.cross_entropy(net(batch[0]), batch[1])


def weight_optimizer(net: Any) -> torch.optim.SGD:
    """The published optimiser of the weights."""
    return torch.optim.SGD(net.weight_parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)


def weight_step(net: Any, optimizer: torch.optim.SGD, batch: Batch, *, alphas: bool) -> None:
    """One step of the weights; the published code computes the alphas' gradients as well."""
    optimizer.zero_grad(set_to_none=True)
    if alphas:
        loss(net, batch).backward()
    else:
        weights = {name: alpha.detach().softmax(-1) for name, alpha in net.alphas.items()}
        F.cross_entropy(net(batch[0], weights), batch[1]).backward()
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


def steps(arguments: argparse.Namespace, order: int) -> dict[str, Callable[[], None]]:
    """The two ways of computing a step, each with a network of its own."""
    size = arguments.size
    images = torch.randn(2, arguments.batch, 3, size, size, device=arguments.device)
    labels = torch.randint(10, (2, arguments.batch), device=arguments.device)

    def make(layout: torch.memory_format) -> tuple[Any, torch.optim.SGD, list[Batch]]:
        torch.manual_seed(0)
        net = cnn.EdgewiseSupernet(channels=arguments.channels, cells=arguments.cells)
        net = net.to(device=arguments.device, memory_format=layout)  # type: ignore[call-overload]
        batches = [
            (x.contiguous(memory_format=layout), y) for x, y in zip(images, labels, strict=True)
        ]
        return net, weight_optimizer(net), batches

    old, old_optimizer, old_batches = make(torch.contiguous_format)
    new, new_optimizer, new_batches = make(torch.channels_last)

    def published() -> None:
        if order == 1:
            loss(old, old_batches[1]).backward()
        else:
            published_second_order(old, old_optimizer, old_batches[0], old_batches[1])
        weight_step(old, old_optimizer, old_batches[0], alphas=True)

    def edgewise() -> None:
        gradient = GRADIENTS["first_order" if order == 1 else "unrolled"]
        gradient(new, loss, new_batches[0], new_batches[1], new_optimizer)
        weight_step(new, new_optimizer, new_batches[0], alphas=False)

    return {"published": published, "edgewise": edgewise}


def measure(ways: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, Any]:
    """Alternate the ways; medians of seconds, and of the ratio to the first in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(repeats + 1):
        for name, way in ways.items():
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            start = time.perf_counter()
            way()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if round_ > 0:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    base = next(iter(ways))
    return {
        name: {
            "seconds": statistics.median(times),
            "speedup": statistics.median(b / t for b, t in zip(seconds[base], times, strict=True)),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    """Measure both orders, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "command": " ".join(["python", "experiments/bench_search_step.py", *sys.argv[1:]]),
        "hardware": torch.cuda.get_device_name()
        if arguments.device.startswith("cuda")
        else f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "torch": torch.__version__,
        "orders": {},
    }
    print("| order | way | seconds | times faster |\n|---|---|---|---|")
    for order in (1, 2):
        measured = measure(steps(arguments, order), arguments.repeats, arguments.device)
        result["orders"][str(order)] = measured
        for name, row in measured.items():
            print(f"| {order} | {name} | {row['seconds']:.3f} | {row['speedup']:.2f} |", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
