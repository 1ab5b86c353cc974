"""The searched supernet as rules of discretization see it that take their time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from darts.searching.searcher import Searcher
from darts.training.steps import set_learning_rate


class Decision:
    """What ``darts.methods.discretization.Trained`` asks for.

    Args:
        searcher: after its last epoch.
        train_batches: of the weights.
        valid_batches: of the alphas.
        score_batches: of the alphas' data, for scores.
        state: what an interrupted decision has left; is filled.
        save: writes a checkpoint and leaves if that was asked for.
        pause: the same, if a checkpoint is due or leaving was asked for.
        say: tells the user.
    """

    def __init__(
        self,
        searcher: Searcher,
        train_batches: Any,
        valid_batches: Any,
        score_batches: Any,
        *,
        state: dict[str, Any],
        save: Callable[[], None],
        pause: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._searcher = searcher
        self._train_batches, self._valid_batches = train_batches, valid_batches
        self._score_batches = score_batches
        self.context = searcher.context
        self.state = state
        self.save, self.pause, self.say = save, pause, say

    def expected(self) -> dict[str, Tensor]:
        """By group the probabilities of the operations kept."""
        return self._searcher.expected()

    def score(self, batches: int = 0, only: Mapping[str, Tensor] | None = None) -> float:
        """The steering metric of what the masks keep; more is better."""
        config = self._searcher.config
        part: Iterable[Any] = self._score_batches.epoch(0)
        score = self._searcher.score(islice(part, batches or None), only)[config.metric]
        higher = self._searcher.objective.metrics[config.metric].higher_is_better
        return score if higher else -score

    def train(self, epochs: int, lr: float) -> None:
        """Train weights and alphas of what the masks keep, at a constant learning rate."""
        searcher = self._searcher
        set_learning_rate(searcher.optimizer, lr)
        searcher.net.train()
        for _ in range(epochs):
            number = self.state.get("epochs", searcher.config.epochs)
            valid_stream = self._valid_batches.stream(number * len(self._train_batches))
            for batch, valid in zip(self._train_batches.epoch(number), valid_stream, strict=False):
                if searcher.config.bilevel.updates_alphas:
                    searcher.arch_step(batch, valid)
                searcher.weight_step(batch)
            self.state["epochs"] = number + 1
