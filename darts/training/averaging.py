"""Weights averaged over the steps of a training, by which a network is judged instead of its last.

References:
    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on
    Control and Optimization 30(4), 1992; Merity, Keskar and Socher, "Regularizing and Optimizing
    LSTM Language Models", arXiv:1708.02182, section 4 and algorithm 1: when to begin.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from darts.tasks.metrics import Metric


def require_one_way(decay: float, patience: int) -> None:
    """Raise ``ValueError`` if both ways of ``Averaging`` are asked for."""
    if decay and patience:
        raise ValueError(
            f"averaging={decay:g} and average_after={patience} are two ways to average; "
            "set one of them to 0"
        )


class Averaging:
    """Keeps an average of a network's weights and buffers.

    Args:
        net: whose weights are averaged.
        decay: of an exponential average from the first step on; 0 for none.
        patience: of a plain mean, that begins after an epoch whose score is worse than the best of
            all but the last ``patience`` epochs before it; 0 for none. Until then the network
            itself is judged.

    Raises:
        ValueError: if both are given.
    """

    def __init__(self, net: nn.Module, *, decay: float = 0.0, patience: int = 0) -> None:
        require_one_way(decay, patience)
        self._net, self.patience, self.active = net, patience, decay > 0
        self._average: AveragedModel | None = None
        if decay:
            self._average = AveragedModel(
                net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
            )
        elif patience:
            self._average = AveragedModel(net, use_buffers=True)
        self._scores: list[float] = []

    @property
    def judged(self) -> nn.Module:
        """The network that is scored and kept."""
        if self._average is None or not self.active:
            return self._net
        return self._average.module

    def step(self) -> None:
        """After each step of the optimizer."""
        if self._average is not None and self.active:
            self._average.update_parameters(self._net)

    def epoch(self, score: float, metric: Metric) -> bool:
        """After each epoch, with its score by ``metric``; whether the mean begins now."""
        if self.active or not self.patience:
            return False
        earlier = self._scores[: -self.patience]
        self._scores.append(score)
        self.active = any(not metric.prefers(score, old) for old in earlier)
        return self.active

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        average = None if self._average is None else self._average.state_dict()
        return {"average": average, "active": self.active, "scores": list(self._scores)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.active, self._scores = state["active"], list(state["scores"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
