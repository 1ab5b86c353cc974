"""A searched recurrent cell against an LSTM of as many weights, on the Penn Treebank.

    python experiments/ptb_cpu.py --root DIR --genotype runs/search/<run>

trains each network for the same processor time (``--minutes``) in the same way: same data, windows,
objective, optimizer and dropout, learning rate on a cosine over the time. The weights with the best
validation perplexity are kept, and scored once on the test part. The LSTM is as wide as gives it
the weights of the other. Writes results/ptb_cpu.json and the table in README.md.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchmark import hardware, put_table, record, table
from torch import Tensor, nn

from darts.config.schema import WeightOptimizerConfig
from darts.data import Corpus, Window, Windows, load
from darts.spaces.find import find_genotype
from darts.spaces.recurrent import Dropouts, Network
from darts.spaces.recurrent.dropout import locked_dropout
from darts.spaces.recurrent.words import Output, Words
from darts.tasks.language_model import LanguageObjective
from darts.training.cost import count_parameters
from darts.training.device import loss_scaler, seed_everything
from darts.training.scoring import evaluate
from darts.training.steps import cosine, optimizer_step, set_learning_rate, weight_optimizer

KEY = ("network", "minutes", "seed", "units")
CPU = torch.device("cpu")


class LstmNetwork(nn.Module):
    """A language model of one LSTM layer; its state is hidden and memory side by side.

    Args:
        vocabulary: number of tokens.
        width: of embeddings and states, which share the weights of embedding and decoder.
        dropouts: as of ``Network``.
    """

    def __init__(self, vocabulary: int, width: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.words = Words(vocabulary, width, width, True, dropouts)
        self.lstm = nn.LSTM(width, width)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> Output:
        """Say what follows, as ``Network.forward``; ``hidden`` is ``(B, 2 * width)``."""
        inputs = self.words.embed(tokens)
        inputs = locked_dropout(inputs, self.dropouts.input, self.training)
        state = None if hidden is None else tuple(x[None].contiguous() for x in hidden.chunk(2, 1))
        raw, (last, memory) = self.lstm(inputs, state)
        return self.words.decode(raw, torch.cat([last[0], memory[0]], dim=1))


def lstm_of(weights: int, vocabulary: int, dropouts: Dropouts) -> LstmNetwork:
    """The LSTM whose number of weights is nearest."""
    sizes = range(8, 1024)
    width = min(sizes, key=lambda w: abs(w * vocabulary + vocabulary + 8 * w * w + 8 * w - weights))
    return LstmNetwork(vocabulary, width, dropouts)


def windows(corpus: Corpus, part: str, columns: int, given: argparse.Namespace) -> Windows:
    """A part of the text, shifted from epoch to epoch in training."""
    return Windows(
        getattr(corpus, part),
        columns=columns,
        length=given.window,
        seed=given.seed,
        stream=part,
        shift=part == "train",
        device=CPU,
    )


def endless(batches: Windows) -> Iterator[tuple[int, Window]]:
    """All windows, with the number of the epoch."""
    epoch = 0
    while True:
        for window in batches.epoch(epoch):
            yield epoch, window
        epoch += 1


def trained(net: Any, corpus: Corpus, given: argparse.Namespace) -> dict[str, Any]:
    """Train for so many minutes of processor time; scores of the best weights."""
    objective = LanguageObjective(temporal=1e-3)
    config = WeightOptimizerConfig(
        kind=given.optimizer, lr=given.lr, momentum=given.momentum, weight_decay=given.decay
    )
    optimizer = weight_optimizer(net.parameters(), config)
    scaler = loss_scaler("fp32", CPU)
    batches, valid = (
        windows(corpus, "train", given.batch, given),
        windows(corpus, "valid", 10, given),
    )
    budget, spent, begin = 60 * given.minutes, 0.0, time.process_time()
    best, chosen, last = float("inf"), net.state_dict(), 0
    history: list[float] = []
    steps = 0
    for epoch, window in endless(batches):
        spent = time.process_time() - begin
        if epoch > last or spent >= budget:
            found = evaluate(net, valid.epoch(0), objective, device=CPU)["perplexity"]
            history.append(round(found, 2))
            print(f"{type(net).__name__} epoch {last + 1}: {found:.1f}, {spent:.0f} s", flush=True)
            if found < best:
                best, chosen = found, copy.deepcopy(net.state_dict())
            last = epoch
            if spent >= budget:
                break
        set_learning_rate(optimizer, cosine(int(spent), int(budget) + 1, given.lr, 0.0))
        net.train()
        loss, _ = objective.network_loss(net, window)
        optimizer_step(loss, optimizer, scaler, clip=given.clip)
        steps += 1
    net.load_state_dict(chosen)
    tested = evaluate(net, windows(corpus, "test", 1, given).epoch(0), objective, device=CPU)
    return {
        "valid_perplexity": best,
        "test_perplexity": tested["perplexity"],
        "history": history,
        "steps": steps,
        "epochs": round(steps / len(batches), 2),
    }


def main() -> None:
    """Train what is asked for, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", required=True, type=Path, help="folder of the Penn Treebank")
    parser.add_argument("--genotype", default="DARTS_RNN_V2")
    parser.add_argument("--networks", nargs="*", default=["cell", "lstm"])
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--window", type=int, default=35)
    parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adam"])
    parser.add_argument("--lr", type=float, default=20.0)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--decay", type=float, default=1e-6)
    parser.add_argument("--clip", type=float, default=0.25)
    parser.add_argument("--dropout", type=float, default=0.25, help="of embeddings and outputs")
    parser.add_argument("--hidden-dropout", type=float, default=0.1, help="of a cell's products")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    corpus = load("ptb", root=given.root, download=False)
    name, genotype = find_genotype(given.genotype)
    count = len(corpus.vocabulary)
    around = Dropouts(embedding=given.dropout, output=given.dropout)
    inside = Dropouts(embedding=given.dropout, output=given.dropout, hidden=given.hidden_dropout)
    for kind in given.networks:
        seed_everything(given.seed)
        sizes = {"embedding": given.units, "hidden": given.units}
        net: Any = Network(genotype, count, **sizes, dropouts=inside)
        weights = count_parameters(net.parameters())
        if kind == "lstm":
            net = lstm_of(weights, count, around)
        row = {
            "network": f"cell {name}" if kind == "cell" else "LSTM",
            "genotype": str(genotype) if kind == "cell" else None,
            "units": given.units if kind == "cell" else net.lstm.hidden_size,
            "weights": count_parameters(net.parameters()),
            "minutes": given.minutes,
            "seed": given.seed,
            "settings": {
                key: value
                for key, value in vars(given).items()
                if key not in ("root", "genotype", "networks")
            },
            **trained(net, corpus, given),
            "command": "python experiments/ptb_cpu.py --root DIR --genotype RUN",
            "hardware": hardware("cpu"),
        }
        record("ptb_cpu", KEY, [row])
    columns = ("network", "units", "weights", "minutes", "epochs", "valid", "test perplexity")
    lines = [
        (
            *(row["network"], row["units"], f"{row['weights']:,}", f"{row['minutes']:g}"),
            *(row["epochs"], f"{row['valid_perplexity']:.1f}", f"{row['test_perplexity']:.1f}"),
        )
        for row in record("ptb_cpu", KEY, [])
    ]
    put_table("ptb_cpu", table(columns, lines))


if __name__ == "__main__":
    main()
