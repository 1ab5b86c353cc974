"""Compare the finite-difference and the exact second-order product on a ReLU supernet.

    python experiments/bilevel_products.py

Computes the product of the second-order gradient (docs/bilevel.md) in both ways for the same
batches of the digits: with the initial supernet and after some epochs of search, for several batch
sizes and several ``epsilon`` of the finite difference. Medians over batches are written to
results/bilevel_products.json and printed as a table.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from records import HERE, command, parser_of, table

from darts.bilevel import PRODUCTS, compare_products, first_order, unrolled
from darts.data import SampleLoader, load
from darts.data.augment import Augmentation
from darts.data.loader import LoaderOptions
from darts.data.split import stratified_split
from darts.spaces import cnn
from darts.writing import write_json

RESULTS = HERE / "results" / "bilevel_products.json"
KEYS = ("product_cosine", "product_relative_difference", "gradient_cosine", "product_share")


def loss(net: Any, batch: Any) -> torch.Tensor:
    """Return the cross-entropy of a batch."""
    return F.cross_entropy(net(batch[0]), batch[1])


def main() -> None:
    """Measure, write the results and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--batches", type=int, default=5, help="pairs of batches per median")
    parser.add_argument(
        "--epochs", type=int, default=8, help="epochs of search before the second measurement"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    source = load("digits")
    subsets = stratified_split(source.train.labels, [0.5, 0.5], seed=args.seed)

    def loader(subset: int, size: int) -> SampleLoader:
        device = torch.device("cpu")
        return SampleLoader(
            source.train,
            subsets[subset],
            LoaderOptions(
                size, args.seed, str(subset), shuffle=True, drop_last=True, device=device
            ),
            mean=source.mean,
            std=source.std,
            augmentation=Augmentation(crop="pad", padding=1, flip=False, cutout=0),
        )

    net = cnn.EdgewiseSupernet(channels=8, cells=3, classes=10, in_channels=1)
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    arch_optimizer = torch.optim.Adam(net.alphas.values(), lr=0.01, betas=(0.5, 0.999))

    def search_epoch(number: int) -> None:
        pairs = zip(loader(0, 64).epoch(number), loader(1, 64).epoch(number), strict=False)
        for train, valid in pairs:
            for name, gradient in first_order(net, loss, train, valid, optimizer).items():
                net.alphas[name].grad = gradient
            arch_optimizer.step()
            arch_optimizer.zero_grad()
            optimizer.zero_grad()
            torch.autograd.backward(loss(net, train))
            arch_optimizer.zero_grad()  # the weight step does not update the alphas
            optimizer.step()

    rows = []
    for epochs in (0, args.epochs):
        for number in range(epochs):
            search_epoch(number)
        for size in (16, 64, 256):
            for epsilon in (1.0, 0.1, 0.01, 0.001):
                reports = []
                for number in range(args.batches):
                    pair = [loader(subset, size).batch(100 + number, 0) for subset in (0, 1)]
                    reports.append(
                        compare_products(net, loss, pair[0], pair[1], optimizer, epsilon=epsilon)
                    )
                medians = {key: statistics.median(r[key] for r in reports) for key in KEYS}
                row = {"epochs": epochs, "batch": size, "epsilon": epsilon, **medians}
                rows.append(row)
                print(row, flush=True)
    pair = [loader(subset, 64).batch(0, 0) for subset in (0, 1)]
    seconds: dict[str, list[float]] = {"first_order": [], **{name: [] for name in PRODUCTS}}
    for _ in range(args.batches):
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
    print("time of one gradient at batch size 64, relative to first order:", ratios)
    write_json(
        RESULTS,
        {
            "command": command(),
            "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
            "torch": torch.__version__,
            "seed": args.seed,
            "batches": args.batches,
            "time_over_first_order": ratios,
            "rows": rows,
        },
    )
    columns = ("epochs", "batch", "epsilon", *KEYS)
    lines = [[f"{row[name]:.4g}" for name in columns] for row in rows]
    print(table(columns, lines))


if __name__ == "__main__":
    main()
