"""How far the finite-difference product is from the exact one on a ReLU supernet.

    python experiments/bilevel_products.py

Both second-order products of ``darts.bilevel.unrolled`` are computed for the same batches of the
digits, on a supernet at its first weights and after some epochs of search, over batch sizes and
lengths of the perturbation. Writes experiments/results/bilevel_products.json and prints a table of
medians over batches.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from darts.bilevel import PRODUCTS, compare_products, first_order, unrolled
from darts.data import Augmentation, Batches, load, stratified_split
from darts.spaces import cnn
from darts.tracking.files import write_json

RESULTS = Path(__file__).parent / "results" / "bilevel_products.json"
KEYS = ("product_cosine", "product_relative_difference", "gradient_cosine", "product_share")


def loss(net: Any, batch: Any) -> torch.Tensor:
    """Cross entropy of a batch."""
    return F.cross_entropy(net(batch[0]), batch[1])


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=5, help="pairs of batches per figure")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of search in between")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)

    source = load("digits")
    halves = stratified_split(source.train.labels, [0.5, 0.5], seed=given.seed)

    def batches(part: int, size: int) -> Batches:
        return Batches(
            source.train,
            halves[part],
            batch_size=size,
            seed=given.seed,
            stream=str(part),
            mean=source.mean,
            std=source.std,
            augmentation=Augmentation(padding=1, flip=False),
            shuffle=True,
            drop_last=True,
            device="cpu",
        )

    net = cnn.EdgewiseSupernet(channels=8, cells=3, classes=10, in_channels=1)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    arch_optimizer = torch.optim.Adam(net.alphas.values(), lr=0.01, betas=(0.5, 0.999))

    def epoch(number: int) -> None:
        pairs = zip(batches(0, 64).epoch(number), batches(1, 64).epoch(number), strict=False)
        for train, valid in pairs:
            for name, gradient in first_order(net, loss, train, valid, optimizer).items():
                net.alphas[name].grad = gradient
            arch_optimizer.step()
            arch_optimizer.zero_grad()
            optimizer.zero_grad()
            loss(net, train).backward()
            arch_optimizer.zero_grad()
            optimizer.step()

    rows = []
    for trained in (0, given.epochs):
        for number in range(trained):
            epoch(number)
        for size in (16, 64, 256):
            for epsilon in (1.0, 0.1, 0.01, 0.001):
                reports = []
                for place in range(given.batches):
                    pair = [batches(part, size).batch(100 + place, 0) for part in (0, 1)]
                    reports.append(
                        compare_products(net, loss, pair[0], pair[1], optimizer, epsilon=epsilon)
                    )
                medians = {key: statistics.median(r[key] for r in reports) for key in KEYS}
                row = {"epochs": trained, "batch": size, "epsilon": epsilon, **medians}
                rows.append(row)
                print(row, flush=True)
    pair = [batches(part, 64).batch(0, 0) for part in (0, 1)]
    seconds: dict[str, list[float]] = {"first_order": [], **{name: [] for name in PRODUCTS}}
    for _ in range(given.batches):
        for name, times in seconds.items():
            start = time.perf_counter()
            if name == "first_order":
                first_order(net, loss, pair[0], pair[1], optimizer)
            else:
                unrolled(net, loss, pair[0], pair[1], optimizer, hvp=name)
            times.append(time.perf_counter() - start)
    ratios = {
        name: statistics.median(
            t / first for t, first in zip(times, seconds["first_order"], strict=True)
        )
        for name, times in seconds.items()
    }
    print("time of one gradient of the alphas at batch 64, over the first-order one:", ratios)
    write_json(
        RESULTS,
        {
            "command": " ".join(["python", "experiments/bilevel_products.py", *sys.argv[1:]]),
            "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
            "torch": torch.__version__,
            "seed": given.seed,
            "batches": given.batches,
            "time_over_first_order": ratios,
            "rows": rows,
        },
    )
    print(
        "| epochs | batch | epsilon | cosine of products | relative difference "
        "| cosine of gradients | share |\n|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['epochs']} | {row['batch']} | {row['epsilon']:g} "
            f"| {row['product_cosine']:.3f} | {row['product_relative_difference']:.3f} "
            f"| {row['gradient_cosine']:.4f} | {row['product_share']:.3f} |"
        )


if __name__ == "__main__":
    main()
