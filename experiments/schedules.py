"""Schedules of the learning rate that can be continued, compared with the cosine of known length.

    python experiments/schedules.py --own runs/own_data/data --seeds 0 1 2
    python experiments/schedules.py --table

``--own`` is a folder that ``own_data.py prepare`` has written. Each network trains for the same
epochs with the recipe of ``darts.find`` for its data, with one of these schedules:

* ``cosine``: a linear rise in the first tenth of the steps, then a half cosine to 0. Its length
  must be known before.
* ``average``: constant after the rise; the score comes from a polynomial average of the weights.
* ``decay``: constant, and a linear fall to 0 in the last 30 % of the steps.
* ``schedule_free``: the optimizer of the package schedulefree (arXiv:2405.15682) with the same
  learning rate.

Networks for images and recordings train in bfloat16. The score comes from the last epoch on
held-out data, and the best one of all epochs. Finished rows are not repeated. The results are in
results/schedules.json and README.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from own_data_sets import OVERRIDES
from records import Row, mean_and_deviation, parser_of, put_table, record, table
from torch import nn

from darts.config import FindConfig, compose
from darts.finding.setup import make_networks
from darts.recipes.retrain import build_network
from darts.spaces.network import FittingData, fit_layers
from darts.training.averaging import Averaging, recompute_statistics
from darts.training.device import precision_context
from darts.training.schedules import warmup_cosine
from darts.training.scoring import evaluate
from darts.training.steps import set_learning_rate, weight_optimizer

SETS = {  # kind of data, candidate, epochs
    "cover": ("table", "mlp-mlp_256x2", 30),
    "friedman": ("numbers", "mlp-mlp_256x2", 60),
    "news_2000": ("documents", "documents_128-word_vectors", 20),
    "chars_60k": ("characters", "text_128-lstm_1", 12),
    "spoken_digits": ("recordings", "convnet-plain_16", 12),
    "glyphs": ("images", "convnet-plain_16", 10),
    "photos": ("images", "convnet-plain_32", 12),
}
SCHEDULES = ("cosine", "average", "decay", "schedule_free")
KEY = ("data", "schedule", "seed", "epochs")
RISE = 0.1
FALL = 0.3


def train(name: str, folder: Path, schedule: str, seed: int) -> Row:
    """Train one network; return its scores after the last and after the best epoch."""
    kind, candidate, epochs = SETS[name]
    overrides = [*OVERRIDES[kind], f"dataset.root={folder / name}", f"seed={seed}", "device=cpu"]
    if name == "photos":
        overrides += ["dataset.flip=true", "mirror=true"]
    find = cast("FindConfig", compose("find", overrides))
    _, families = make_networks(find)
    family, _, baseline = candidate.partition("-")
    networks = families[family]
    config, data = networks.config, networks.data
    torch.manual_seed(seed)
    loader, scored = data.retrain_loaders()
    assert scored is not None
    genotype = networks.baselines[baseline]
    net = build_network(genotype, config, data.network_sizes(config.space))
    fit_layers(net, FittingData(loader, data.objective().supernet_loss))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = data.objective(label_smoothing=config.label_smoothing)
    optimizer: Any = weight_optimizer(net.parameters(), config.optimizer)
    if schedule == "schedule_free":
        optimizer = schedule_free(net, config.optimizer.algorithm, config.optimizer)
    device = torch.device("cpu")
    precision = "bf16" if kind in ("images", "recordings") else "fp32"
    power = config.average_power if schedule == "average" else 0.0
    averaging = Averaging(net, power=power)
    total, scores = epochs * len(loader), []
    for epoch in range(epochs):
        net.train()
        switch(optimizer, "train")
        for step, batch in enumerate(loader.epoch(epoch)):
            position = epoch * len(loader) + step
            if schedule != "schedule_free":
                rate = learning_rate(schedule, position, total, config.optimizer.lr)
                set_learning_rate(optimizer, rate)
            with precision_context(precision, device):
                loss, _ = objective.network_loss(net, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), config.optimizer.clip)
            optimizer.step()
            averaging.step()
        switch(optimizer, "eval")
        if schedule == "schedule_free":
            batches = (loader.batch(0, index) for index in range(min(len(loader), 30)))
            recompute_statistics(net, batches, objective.predict)
        result = evaluate(
            averaging.scored_net, scored.epoch(0), objective, device=device, precision=precision
        )
        scores.append(result[config.metric])
    best = max if objective.metrics[config.metric].higher_is_better else min
    return {
        "data": name,
        "schedule": schedule,
        "seed": seed,
        "epochs": epochs,
        "metric": config.metric,
        "last": scores[-1],
        "best": best(scores),
    }


def learning_rate(schedule: str, step: int, steps: int, high: float) -> float:
    """Return the learning rate of a step of ``cosine``, ``average`` or ``decay``."""
    if schedule == "cosine":
        return warmup_cosine(step, steps, RISE, high, 0.0)
    rising = RISE * steps
    rate = high * min(1.0, (step + 1) / (rising + 1))
    if schedule == "decay":
        rate *= min(1.0, (steps - step) / (FALL * steps))
    return rate


def schedule_free(net: nn.Module, algorithm: str, options: Any) -> Any:
    """Return the optimizer of the package schedulefree with the same options."""
    import schedulefree

    if algorithm == "adam":
        return schedulefree.AdamWScheduleFree(
            net.parameters(), lr=options.lr, weight_decay=options.weight_decay, warmup_steps=100
        )
    # Its learning rate is the rate of SGD with momentum times 1 / (1 - momentum).
    return schedulefree.SGDScheduleFree(
        net.parameters(),
        lr=options.lr / (1 - options.momentum),
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        warmup_steps=100,
    )


def switch(optimizer: Any, mode: str) -> None:
    """Switch a schedule-free optimizer between the weights of training and of evaluation."""
    getattr(optimizer, mode, lambda: None)()


def write_table() -> None:
    """Write the table of all results."""
    rows = record("schedules", KEY, [])
    lines = []
    for name in SETS:
        own = [row for row in rows if row["data"] == name]
        if not own:
            continue
        cells = []
        for schedule in SCHEDULES:
            values = [row["last"] for row in own if row["schedule"] == schedule]
            scale = 100 if own[0]["metric"] in ("accuracy", "macro_f1") else 1
            cells.append(mean_and_deviation([scale * v for v in values]) if values else "")
        seeds = len({row["seed"] for row in own})
        lines.append([f"`{name}`", own[0]["metric"], own[0]["epochs"], *cells, seeds])
    columns = ("data", "score", "epochs", *SCHEDULES, "seeds")
    put_table("schedules", table(columns, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks that are not in the results, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--own", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args(arguments)
    for seed, name, schedule in itertools.product(args.seeds, args.only, SCHEDULES):
        done = {(row["data"], row["schedule"], row["seed"]) for row in record("schedules", KEY, [])}
        if args.table or (name, schedule, seed) in done:
            continue
        row = train(name, args.own, schedule, seed)
        record("schedules", KEY, [row])
        print(name, schedule, seed, f"{row['last']:.4f} (best {row['best']:.4f})", flush=True)
    write_table()


if __name__ == "__main__":
    main()
