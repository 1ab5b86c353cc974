"""Training steps of the networks of ``darts find``, compared with a plain loop of PyTorch.

    python experiments/bench_families.py [--only convnet mlp]

``plain`` trains the same network in channels_last layout: batches are rows of a tensor in memory,
then follow forward pass, loss, backward pass and optimizer step in float32. ``fp32`` and ``bf16``
are the steps of ``darts retrain`` with the settings of ``darts find``, which also augment images,
clip gradients and average weights. The data is random: 2,048 images of 32x32 pixels in color, and
4,096 rows with 20 numbers. The variants alternate in one process; medians of the samples per second
and of the speedups within a round go to results/bench_families.json and README.md. The last column
is the time of the convolutions alone (each forward and backward, as often as in a step), divided by
the time of a step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from benchmark import alternate
from records import hardware, parser_of, put_rows, record
from torch import Tensor, nn

from darts.config import FindConfig, Invocation, compose
from darts.finding.candidates import Networks
from darts.finding.setup import make_networks
from darts.recipes.commands import retrain_config
from darts.recipes.retrain import Retraining, build_network
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun
from darts.training.steps import weight_optimizer

KEY = ("hardware", "family", "variant")
PRECISIONS = ("fp32", "bf16")
STEPS = 8
"""Steps of a measurement."""


def make_data(folder: Path) -> dict[str, list[str]]:
    """Write random data; return the overrides that read each kind."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2048, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, 2048)
    for split, count in (("train", 2048), ("test", 64)):
        np.save(folder / f"{split}_x.npy", images[:count])
        np.save(folder / f"{split}_y.npy", labels[:count])
    names = ",".join(f"x{number}" for number in range(20))
    rows = [",".join(f"{value:.4f}" for value in row) for row in rng.normal(size=(4096, 20))]
    lines = [f"{row},{'abc'[number % 3]}" for number, row in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join([f"{names},label", *lines, ""]))
    return {
        "images": ["dataset=npz", f"dataset.root={folder}"],
        "rows": ["dataset=csv", f"dataset.root={folder / 'rows.csv'}"],
    }


def plain_steps(networks: Networks, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    """Return some steps of the plain loop."""
    config, genotype = networks.config, next(iter(networks.baselines.values()))
    net = build_network(genotype, config, networks.data.network_sizes(networks.space)).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    samples, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    size = len(batches[0][1])
    own = weight_optimizer(net.parameters(), config.optimizer)
    kind = torch.optim.AdamW if config.optimizer.algorithm == "adam" else torch.optim.SGD
    kept = ("lr", "momentum", "betas", "weight_decay", "nesterov")
    options = {name: value for name, value in own.defaults.items() if name in kept}
    optimizer = kind(net.parameters(), **options)

    def take() -> None:
        for _ in range(STEPS):
            chosen = torch.randperm(len(labels))[:size]
            output = net(samples[chosen])
            logits = output[0] if isinstance(output, tuple) else output
            logits = logits.mean(1) if logits.ndim == 3 else logits  # of several members
            F.cross_entropy(logits, labels[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    return take


def own_steps(networks: Networks, precision: str, folder: Path) -> Callable[[], None]:
    """Return some steps of ``darts retrain``."""
    genotype = next(iter(networks.baselines.values()))
    config = retrain_config(networks.overrides(genotype, {"precision": precision}))
    run = TrainingRun("retrain", Invocation(folder, ()), config, ranks=Ranks(config.device))
    recipe = Retraining(config, run.__enter__(), genotype)
    recipe.begin_epoch(0)
    loader = recipe.state.train_loader
    number = 0

    def take() -> None:
        nonlocal number
        for _ in range(STEPS):
            recipe.train_step(loader.batch(number // len(loader), number % len(loader)))
            number += 1

    return take


def convolution_seconds(networks: Networks, images: Tensor, dtype: torch.dtype) -> float:
    """Return how long the convolutions of a step take on their own, all layers added."""
    genotype = next(iter(networks.baselines.values()))
    net = build_network(genotype, networks.config, networks.data.network_sizes(networks.space))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    calls: list[tuple[nn.Conv2d, Tensor]] = []  # and the input of each
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda own, x, _: calls.append((own, x[0])))
    net(images)
    total = 0.0
    for module, x in calls:
        inputs = x.detach().to(dtype, memory_format=torch.channels_last)
        inputs.requires_grad_(x.requires_grad)
        weight = module.weight.detach().to(dtype).requires_grad_()

        def both(module: nn.Conv2d = module, x: Tensor = inputs, weight: Tensor = weight) -> None:
            y = F.conv2d(
                x, weight, None, module.stride, module.padding, module.dilation, module.groups
            )
            y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]

        total += alternate({"both": both}, 5, "cpu")["both"]["seconds"]
    return total


def measure(networks: Networks, folder: Path, repeats: int) -> list[dict[str, object]]:
    """Measure one family."""
    train, _ = networks.data.retrain_loaders()
    batches = [cast("tuple[Tensor, Tensor]", train.batch(0, step)) for step in range(STEPS)]
    variants: dict[str, Callable[[], object]] = {"plain": plain_steps(networks, batches)}
    for precision in PRECISIONS:
        variants[precision] = own_steps(networks, precision, folder / precision)
    samples = STEPS * len(batches[0][1])
    timings = alternate(variants, repeats, "cpu")
    dtypes = {"plain": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}
    alone = {name: convolution_seconds(networks, batches[0][0], dtypes[name]) for name in timings}
    return [
        {
            "hardware": hardware("cpu"),
            "family": networks.family.name,
            "variant": variant,
            "samples_per_second": samples / timing["seconds"],
            "speedup": timing["speedup"],
            "convolutions": STEPS * alone[variant] / timing["seconds"],
        }
        for variant, timing in timings.items()
    ]


def main() -> None:
    """Measure each family and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="FAMILY")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    all_rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for overrides in make_data(folder).values():
            config = cast("FindConfig", compose("find", overrides))
            for family, networks in make_networks(config)[1].items():
                if args.only and family not in args.only:
                    continue
                own = folder / family
                own.mkdir()
                rows = measure(networks, own, args.repeats)
                all_rows = record("bench_families", KEY, rows)
                for row in rows:
                    print(family, row["variant"], f"{row['speedup']:.2f}", flush=True)
    columns = {
        "hardware": "{hardware}",
        "family": "{family}",
        "variant": "{variant}",
        "samples per second": "{samples_per_second:,.0f}",
        "speedup": "{speedup:.2f}",
        "convolutions alone": "{convolutions:.0%}",
    }
    put_rows("bench_families", columns, all_rows)


if __name__ == "__main__":
    main()
