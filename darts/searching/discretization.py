"""The supernet as discretizations see it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from torch import Tensor

from darts.data import Batch
from darts.data_modules.data_module import SearchLoaders
from darts.searching.paths import path_score
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype, ByGroup
from darts.training.checkpoint import StateDict
from darts.training.loop import TrainingLoop
from darts.training.steps import set_learning_rate


class SupernetAdapter:
    """The ``SearchedSupernet`` of a searcher after its last epoch.

    ``state`` is changed in place.
    """

    def __init__(
        self, searcher: Searcher, loaders: SearchLoaders, loop: TrainingLoop, state: StateDict
    ) -> None:
        self._searcher, self._loaders = searcher, loaders
        self.context, self.state = searcher.context, state
        self.save, self.save_if_due, self.info = loop.save, loop.save_if_due, loop.console.info

    def probabilities(self) -> dict[str, Tensor]:
        return self._searcher.probabilities()

    def score(self, batches: int = 0, only: ByGroup | None = None) -> float:
        """Return the steering metric of the supernet, negated if lower is better."""
        searcher, metric = self._searcher, self._searcher.config.metric
        data: Iterable[Batch] = islice(self._loaders.scoring.epoch(0), batches or None)
        score = searcher.score(data, only)[metric]
        return score if searcher.objective.metrics[metric].higher_is_better else -score

    def score_path(self, genotype: AnyGenotype, batches: int = 0) -> float:
        """Return the steering metric of the path of a genotype, negated if lower is better."""
        searcher, loaders, config = self._searcher, self._loaders, self._searcher.config
        calibration = loaders.calibration(config.collapse.calibration)
        masks = self.context.space.mask(genotype, self.context.candidates)
        data = islice(loaders.scoring.epoch(0), batches or None)
        score = path_score(searcher, masks, calibration, data)[config.metric]
        return score if searcher.objective.metrics[config.metric].higher_is_better else -score

    def train(self, epochs: int, lr: float) -> None:
        searcher = self._searcher
        if "epochs" not in self.state:  # begin with a new state of the optimizer of the weights
            searcher.optimizer.state.clear()
        set_learning_rate(searcher.optimizer, lr)
        searcher.net.train()
        for _ in range(epochs):
            epoch = self.state.get("epochs", searcher.config.epochs)
            train = self._loaders.for_weights
            valid_batches = self._loaders.for_alphas.stream(epoch * len(train))
            for batch in train.epoch(epoch):
                valid, update_alphas = next(valid_batches), searcher.bilevel.updates_alphas
                searcher.search_step(batch, valid, update_alphas=update_alphas)
            self.state["epochs"] = epoch + 1
