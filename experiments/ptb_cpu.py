"""A searched recurrent cell compared with an LSTM of the same size on the Penn Treebank.

    python experiments/ptb_cpu.py --root DIR --genotype runs/search/<run>

Trains each network for the same processor time (``--minutes``) with the same data, windows,
objective and optimizer. The learning rate follows a cosine schedule over this time. The weights
with the best validation perplexity are evaluated once on the test split. The width of the LSTM is
chosen so that its number of weights is closest to the searched network. The results are
written to results/ptb_cpu.json and README.md.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from records import Row, parser_of, put_rows, record
from torch import Tensor, nn

from darts.config import WeightOptimizerConfig
from darts.data import Window, WindowLoader, load
from darts.data.corpus import Corpus
from darts.data.loader import LoaderOptions
from darts.spaces.lookup import find_genotype
from darts.spaces.network import LanguageModelOutput
from darts.spaces.recurrent import DropoutRates, Genotype, Network
from darts.spaces.recurrent.cell import ModelSettings, locked_dropout
from darts.spaces.recurrent.network import EmbeddingDecoder
from darts.tasks.language_model import LanguageModel
from darts.tasks.task import ObjectiveSpec
from darts.training.cost import count_parameters
from darts.training.device import loss_scaler, seed_everything
from darts.training.schedules import cosine
from darts.training.scoring import evaluate
from darts.training.steps import optimizer_steps, set_learning_rate, weight_optimizer

KEY = ("network", "minutes", "seed", "units")
CPU = torch.device("cpu")


class LstmNetwork(nn.Module):
    """A language model with one LSTM layer; its state concatenates hidden and cell state.

    Args:
        vocab_size: Number of tokens of the vocabulary.
        width: Size of embeddings and states. Embedding and decoder share their weights.
        dropouts: As for ``Network``.
    """

    def __init__(self, vocab_size: int, width: int, dropouts: DropoutRates) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.embedding = EmbeddingDecoder(vocab_size, ModelSettings(width, width, dropouts))
        self.lstm = nn.LSTM(width, width)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Predict the next tokens, as ``Network.forward``; ``hidden`` is ``(B, 2 * width)``."""
        inputs = self.embedding.embed(tokens)
        inputs = locked_dropout(self, inputs, self.dropouts.input)
        state = None if hidden is None else tuple(x[None].contiguous() for x in hidden.chunk(2, 1))
        outputs, (last, memory) = self.lstm(inputs, state)
        return self.embedding.decode(outputs, torch.cat([last[0], memory[0]], dim=1))


def make_lstm(weights: int, vocab_size: int, dropouts: DropoutRates) -> LstmNetwork:
    """Return the LSTM whose number of weights is closest to ``weights``."""
    sizes = range(8, 1024)
    # Embedding, bias of the decoder, matrices and biases of the gates.
    width = min(sizes, key=lambda w: abs(w * vocab_size + vocab_size + 8 * w * w + 8 * w - weights))
    return LstmNetwork(vocab_size, width, dropouts)


def windows(corpus: Corpus, split: str, columns: int, args: argparse.Namespace) -> WindowLoader:
    """Return the loader of a split for ``columns`` parallel columns of text."""
    shuffle = split == "train"
    options = LoaderOptions(columns, args.seed, split, shuffle, drop_last=shuffle, device=CPU)
    return WindowLoader(getattr(corpus, split), options, args.window)


def endless(loader: WindowLoader) -> Iterator[tuple[int, Window]]:
    """Yield all windows with their epoch, without end."""
    epoch = 0
    while True:
        for window in loader.epoch(epoch):
            yield epoch, window
        epoch += 1


def train(net: Any, corpus: Corpus, args: argparse.Namespace) -> Row:
    """Train for ``--minutes`` of processor time, and return the scores of the best weights.

    The weights are scored on the validation split after each epoch, and the best ones on the test
    split.
    """
    objective = LanguageModel(temporal=1e-3).make_objective(ObjectiveSpec(corpus.vocabulary))
    config = WeightOptimizerConfig(
        algorithm=args.optimizer, lr=args.lr, momentum=args.momentum, weight_decay=args.decay
    )
    optimizer = weight_optimizer(net.parameters(), config)
    scaler = loss_scaler("fp32", CPU)
    loader = windows(corpus, "train", args.batch, args)
    valid = windows(corpus, "valid", 10, args)
    budget, spent, begin = 60 * args.minutes, 0.0, time.process_time()
    best, best_weights, last = float("inf"), net.state_dict(), 0
    history: list[float] = []
    steps = 0
    for epoch, window in endless(loader):
        spent = time.process_time() - begin
        if epoch > last or spent >= budget:
            perplexity = evaluate(net, valid.epoch(0), objective, device=CPU)["perplexity"]
            history.append(round(perplexity, 2))
            print(
                f"{type(net).__name__} epoch {last + 1}: {perplexity:.1f}, {spent:.0f} s",
                flush=True,
            )
            if perplexity < best:
                best, best_weights = perplexity, copy.deepcopy(net.state_dict())
            last = epoch
            if spent >= budget:
                break
        set_learning_rate(optimizer, cosine(int(spent), int(budget) + 1, args.lr, 0.0))
        net.train()
        loss, _ = objective.network_loss(net, window)
        optimizer_steps(loss, [(optimizer, args.clip)], scaler)
        steps += 1
    net.load_state_dict(best_weights)
    test = evaluate(net, windows(corpus, "test", 1, args).epoch(0), objective, device=CPU)
    return {
        "valid_perplexity": best,
        "test_perplexity": test["perplexity"],
        "history": history,
        "steps": steps,
        "epochs": round(steps / len(loader), 2),
    }


def main() -> None:
    """Train the networks and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder of the Penn Treebank")
    parser.add_argument("--genotype", default="DARTS_RNN_V2")
    parser.add_argument("--networks", nargs="*", default=["cell", "lstm"])
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=40.0, help="of processor time")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--window", type=int, default=35)
    parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adam"])
    parser.add_argument("--lr", type=float, default=20.0)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--decay", type=float, default=1e-6)
    parser.add_argument("--clip", type=float, default=0.25)
    parser.add_argument("--dropout", type=float, default=0.25, help="of embeddings and outputs")
    parser.add_argument("--hidden-dropout", type=float, default=0.1, help="inside the cell")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    corpus = load("ptb", root=args.root, download=False, level="word")
    name, genotype = find_genotype(args.genotype)
    if not isinstance(genotype, Genotype):
        parser.error(f"--genotype={args.genotype} is not a genotype of a recurrent cell")
    vocab_size = len(corpus.vocabulary)
    lstm_dropouts = DropoutRates(embedding=args.dropout, output=args.dropout)
    cell_dropouts = DropoutRates(
        embedding=args.dropout, output=args.dropout, hidden=args.hidden_dropout
    )
    for network in args.networks:
        seed_everything(args.seed)
        settings = ModelSettings(args.units, args.units, cell_dropouts)
        net: Any = Network(genotype, vocab_size, settings)
        weights = count_parameters(net.parameters())
        if network == "lstm":
            net = make_lstm(weights, vocab_size, lstm_dropouts)
        row = {
            "network": f"cell {name}" if network == "cell" else "LSTM",
            "genotype": str(genotype) if network == "cell" else None,
            "units": args.units if network == "cell" else net.lstm.hidden_size,
            "weights": count_parameters(net.parameters()),
            "minutes": args.minutes,
            "seed": args.seed,
            "settings": {
                key: value
                for key, value in vars(args).items()
                if key not in ("root", "genotype", "networks")
            },
            **train(net, corpus, args),
            "command": "python experiments/ptb_cpu.py --root DIR --genotype RUN",
        }
        record("ptb_cpu", KEY, [row])
    columns = {
        "network": "{network}",
        "units": "{units}",
        "weights": "{weights:,}",
        "minutes": "{minutes:g}",
        "epochs": "{epochs}",
        "validation perplexity": "{valid_perplexity:.1f}",
        "test perplexity": "{test_perplexity:.1f}",
    }
    put_rows("ptb_cpu", columns, record("ptb_cpu", KEY, []))


if __name__ == "__main__":
    main()
