"""What each move of a trained network gains, and whether a gradient predicts it.

    python experiments/unseen.py prepare --data DIR --out runs/unseen
    python experiments/move_gains.py --data runs/unseen/data/photos --epochs 10 --more 4

A baseline trains for ``--epochs``. From its checkpoint, the baseline itself and the network of each
move train for ``--more`` epochs, with ``--seeds`` orders of the samples. The gain of a move is the
difference of the validation loss to the baseline after equal epochs; a positive gain is better.

The gradient of a move is the squared norm of the gradient of the validation loss with respect to
what is new in its network, before the first step. Moves that keep the function have the parent's
gradient in all other weights, so it is the difference of two squared norms. Its rank correlation
with the gain says whether one backward pass could replace the training of candidates.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from records import Row, hardware, parser_of, put_table, record, table
from runs import run
from scipy.stats import spearmanr

from darts.config import FindConfig, compose
from darts.finding.candidates import Networks
from darts.finding.setup import make_networks
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype
from darts.spaces.moves import Move
from darts.training.checkpoint import FILE, load_checkpoint

KEY = ("data", "baseline", "move", "seed", "epochs", "more", "hardware")
BATCHES = 8  # of validation samples


def squared_gradient(networks: Networks, genotype: AnyGenotype, run_directory: Path) -> float:
    """Return the squared norm of the gradient of a network with the weights of a run."""
    config, data = networks.config, networks.data
    saved = load_checkpoint(run_directory / FILE, "retrain")
    baseline = networks.space.genotype.parse(saved["config"]["genotype"])
    torch.manual_seed(0)
    net = build_network(genotype, config, data.network_sizes(networks.space)).eval()
    net.load_state_dict(
        networks.space.inherited_tensors(genotype, baseline, net.state_dict(), saved["net"])
    )
    loader = data.retrain_loaders()[1]
    assert loader is not None
    objective = data.objective()
    for step in range(min(BATCHES, len(loader))):
        loss, _ = objective.network_loss(net, loader.batch(0, step))
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = (parameter.grad for parameter in net.parameters() if parameter.grad is not None)
    return sum(float(gradient.square().sum()) for gradient in gradients)


def measure(
    folder: Path, out: Path, baseline: str, epochs: int, more: int, seeds: Sequence[int]
) -> None:
    """Measure all moves of one baseline on one data set; finished rows are not repeated."""
    data = ("dataset=challenge", f"dataset.root={folder.resolve()}", "device=cpu")
    config = cast("FindConfig", compose("find", [*data, "precision=bf16"]))
    _, families = make_networks(config)
    networks = families["convnet"]
    parent = networks.baselines[baseline]
    directory = out / f"{folder.name}-{baseline}-{epochs}"
    run("retrain", directory, *networks.overrides(parent), f"epochs={epochs}")
    before = squared_gradient(networks, parent, directory)
    moves = [Move("none", parent), *networks.space.moves(parent)]
    for move, seed in itertools.product(moves, seeds):
        key: Row = {"data": folder.name, "baseline": baseline, "move": move.name, "seed": seed}
        key |= {"epochs": epochs, "more": more, "hardware": hardware("cpu")}
        rows = record("move_gains", KEY, [])
        if any(all(row[name] == key[name] for name in KEY) for row in rows):
            continue
        name = f"{directory.name}-{move.name.replace(' ', '_')}-{seed}"
        words = (f"epochs={more}", f"start={directory}", "optimizer.warmup_epochs=0")
        overrides = (*networks.overrides(move.genotype), *words, f"seed={seed}")
        summary = run("retrain", out / name, *overrides)
        gradient = squared_gradient(networks, move.genotype, directory) - before
        scores = {key: summary[f"valid_{key}"] for key in ("loss", "accuracy")}
        costs = {name: summary[name] for name in ("macs", "parameters", "seconds")}
        own = {"keeps_function": move.keeps_function, "gradient": gradient}
        record("move_gains", KEY, [{**key, **scores, **costs, **own}])


def write_tables() -> None:
    """Write a row for each move, and the rank correlations, to README.md."""
    rows = record("move_gains", KEY, [])
    lines = []
    groups = itertools.groupby(rows, lambda row: (row["data"], row["baseline"]))
    for (data, baseline), group in groups:
        own = list(group)
        by_move = {move: [r for r in own if r["move"] == move] for move in {r["move"] for r in own}}
        level = {r["seed"]: r for r in by_move.pop("none")}
        gains = {
            move: [
                (level[r["seed"]]["loss"] - r["loss"], r["accuracy"] - level[r["seed"]]["accuracy"])
                for r in each
                if r["seed"] in level
            ]
            for move, each in by_move.items()
        }
        kept = [move for move, each in by_move.items() if each[0]["keeps_function"]]
        loss = [statistics.mean(gain for gain, _ in gains[move]) for move in kept]
        rank = spearmanr([by_move[move][0]["gradient"] for move in kept], loss).statistic
        for move in sorted(gains, key=lambda move: -statistics.mean(g for g, _ in gains[move])):
            loss_gain, accuracy_gain = map(statistics.mean, zip(*gains[move], strict=True))
            cost = by_move[move][0]["macs"] / next(iter(level.values()))["macs"]
            gradient = f"{by_move[move][0]['gradient']:.3g}" if move in kept else ""
            shown = (f"{loss_gain:+.4f}", f"{100 * accuracy_gain:+.2f}", gradient, f"{cost:.2f}")
            lines.append([f"`{data}`", baseline, move, *shown, len(gains[move])])
        print(f"{data} {baseline}: rank correlation of gradient and gain {rank:.2f}")
    columns = [
        "data",
        "baseline",
        "move",
        "gain in loss",
        "in accuracy",
        "gradient",
        "MACs",
        "seeds",
    ]
    put_table("move_gains", table(columns, lines))


def main() -> None:
    """Measure moves, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/move_gains"))
    parser.add_argument("--baseline", default="plain_32")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--more", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    for folder in args.data:
        measure(folder, args.out, args.baseline, args.epochs, args.more, args.seeds)
    write_tables()


if __name__ == "__main__":
    main()
