"""Batch-norm statistics of averaged weights: averaged like the weights, or recomputed.

    python experiments/unseen.py prepare --data DIR --out runs/unseen
    python experiments/averaged_statistics.py --data runs/unseen/data --seeds 0 1 2

A baseline of ``darts.find`` trains with its recipe, but at a constant learning rate, and then with
a rate that falls to 0. After each of the two, a polynomial average of the weights is scored on
held-out training samples: with averaged statistics, and with the means over some training batches.
Finished rows are not repeated. The results are in results/averaged_statistics.json and README.md.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from records import Row, grouped, mean_and_deviation, parser_of, put_table, record, table
from torch import nn

from darts.config import FindConfig, compose
from darts.finding.setup import make_networks
from darts.recipes.retrain import build_network
from darts.spaces.network import FittingData, fit_layers
from darts.training.averaging import Averaging, recompute_statistics
from darts.training.scoring import evaluate
from darts.training.steps import set_learning_rate, weight_optimizer

SETS = {  # candidate, epochs at a constant rate, epochs in which the rate falls
    "game_of_life": ("resnet-resnet", 16, 16),
    "photos": ("convnet-plain_32", 4, 4),
    "fashion": ("convnet-plain_16", 4, 4),
}
SAMPLES = (64, 512, 4096)
KEY = ("data", "rate", "seed")


def train(name: str, folder: Path, seed: int) -> list[Row]:
    """Train one network; return its scores after the constant rate and after the fall."""
    overrides = ["dataset=challenge", f"dataset.root={folder / name}", f"seed={seed}", "device=cpu"]
    candidate, *lengths = SETS[name]
    family, _, baseline = str(candidate).partition("-")
    networks = make_networks(cast("FindConfig", compose("find", overrides)))[1][family]
    config, data = networks.config, networks.data
    torch.manual_seed(seed)
    loader, held_out = data.retrain_loaders()
    assert held_out is not None
    net = build_network(networks.baselines[baseline], config, data.network_sizes(config.space))
    fit_layers(net, FittingData(loader, data.objective().supernet_loss))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = data.objective(label_smoothing=config.label_smoothing)
    optimizer = weight_optimizer(net.parameters(), config.optimizer)
    averaging = Averaging(net, power=config.average_power)

    def score(scored: nn.Module) -> float:
        scores = evaluate(scored, held_out.epoch(0), objective, device=torch.device("cpu"))
        return scores["accuracy"]

    rows = []
    steady, falling = (int(length) * len(loader) for length in lengths)
    for step in range(steady + falling):
        rise = min(1.0, (step + 1) / (config.optimizer.warmup_epochs * len(loader) + 1))
        fall = min(1.0, (steady + falling - step) / falling)
        set_learning_rate(optimizer, config.optimizer.lr * rise * fall)
        net.train()
        loss, _ = objective.network_loss(net, loader.batch(*divmod(step, len(loader))))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), config.optimizer.clip)
        optimizer.step()
        averaging.step()
        if step + 1 in (steady, steady + falling):
            rate = "constant" if step + 1 == steady else "fallen"
            row: Row = {"data": name, "rate": rate, "seed": seed}
            row |= {"weights": score(net), "averaged": score(averaging.scored_net)}
            for samples in SAMPLES:
                own = copy.deepcopy(averaging.scored_net)
                steps = min(max(samples // config.loader.batch_size, 1), len(loader))
                batches = (loader.batch(0, index) for index in range(steps))
                recompute_statistics(own, batches, objective.predict)
                row[f"{samples}"] = score(own)
            rows.append(row)
    return rows


def write_table() -> None:
    """Write the table of all results."""
    names = ("weights", "averaged", *map(str, SAMPLES))
    lines = []
    for (name, rate), rows in grouped(
        record("averaged_statistics", KEY, []), "data", "rate"
    ).items():
        cells = [mean_and_deviation([100 * row[key] for row in rows]) for key in names]
        lines.append([f"`{name}`", SETS[name][0], rate, *cells, len(rows)])
    put_table("averaged_statistics", table(("data", "network", "rate", *names, "seeds"), lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks that are not in the results, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args(arguments)
    done = {(row["data"], row["seed"]) for row in record("averaged_statistics", KEY, [])}
    for seed, name in itertools.product(args.seeds, args.only):
        if (name, seed) not in done:
            record("averaged_statistics", KEY, train(name, args.data, seed))
            print(f"{name} seed {seed}", flush=True)
    write_table()


if __name__ == "__main__":
    main()
