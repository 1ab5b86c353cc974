"""The supernet as discretizations see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from torch import Tensor

from darts.data import Batch, Loader
from darts.searching.searcher import Searcher
from darts.training.checkpoint import StateDict
from darts.training.steps import set_learning_rate


class SupernetAdapter:
    """The ``SearchedSupernet`` of a searcher after its last epoch.

    The loaders have the batches that train the weights, those that train the alphas, and the
    validation batches for scores. ``state`` is changed in place.
    """

    def __init__(
        self,
        searcher: Searcher,
        train_loader: Loader,
        valid_loader: Loader,
        score_loader: Loader,
        *,
        state: StateDict,
        save: Callable[[], None],
        save_if_due: Callable[[], None],
        info: Callable[[str], None],
    ) -> None:
        self._searcher = searcher
        self._train_loader, self._valid_loader = train_loader, valid_loader
        self._score_loader = score_loader
        self.context = searcher.context
        self.state = state
        self.save, self.save_if_due, self.info = save, save_if_due, info

    def probabilities(self) -> dict[str, Tensor]:
        return self._searcher.probabilities()

    def score(self, batches: int = 0, only: Mapping[str, Tensor] | None = None) -> float:
        """Return the steering metric of the supernet, negated if lower is better."""
        searcher, metric = self._searcher, self._searcher.config.metric
        data: Iterable[Batch] = islice(self._score_loader.epoch(0), batches or None)
        score = searcher.score(data, only)[metric]
        return score if searcher.objective.metrics[metric].higher_is_better else -score

    def train(self, epochs: int, lr: float) -> None:
        searcher = self._searcher
        if "epochs" not in self.state:  # begin with a new state of the optimizer of the weights
            searcher.optimizer.state.clear()
        set_learning_rate(searcher.optimizer, lr)
        searcher.net.train()
        for _ in range(epochs):
            epoch = self.state.get("epochs", searcher.config.epochs)
            valid_batches = self._valid_loader.stream(epoch * len(self._train_loader))
            for batch in self._train_loader.epoch(epoch):
                searcher.train_step(batch, next(valid_batches))
            self.state["epochs"] = epoch + 1
