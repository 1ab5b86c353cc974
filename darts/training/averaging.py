"""Averages of the weights over training steps; a run scores an average instead of the weights.

References:
    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on
    Control and Optimization 30(4), 1992; Merity, Keskar and Socher, "Regularizing and Optimizing
    LSTM Language Models", arXiv:1708.02182, section 4 and algorithm 1: when the mean starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypedDict

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from darts.tasks.metrics import Metric
from darts.typed_values import Misfit, typed

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


class _SavedAverage(TypedDict):
    average: dict[str, Tensor] | None  # state of AveragedModel, if averaging is configured
    active: bool
    scores: list[float]


class Averaging:
    """An average of the weights and buffers of a network, of at most one kind.

    Args:
        net: Network whose weights are averaged.
        decay: Decay of an exponential average, which starts with the first step; 0 disables it.
        patience: Number of epochs without improvement before a plain mean starts: it starts after
            the first epoch whose score is no better than the best one of all epochs that lie more
            than ``patience`` epochs back. 0 disables the mean. Until the mean starts, the network
            itself is scored.
        power: Power p of a polynomial average; 0 disables it. After step t, the newest weights
            have the share ``(p + 1) / (t + p)``, so the average covers about the last
            ``1 / (p + 1)`` of the steps, whatever their number is (Shamir and Zhang,
            "Stochastic Gradient Descent for Non-smooth Optimization", arXiv:1212.1824, section 4).
    """

    def __init__(
        self, net: nn.Module, *, decay: float = 0.0, patience: int = 0, power: float = 0.0
    ) -> None:
        self._net, self.patience, self.active = net, patience, decay > 0 or power > 0
        self._average: AveragedModel | None = None
        if decay or power or patience:
            update = None  # the plain mean
            if decay:
                update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            elif power:
                update = _polynomial(power)
            self._average = AveragedModel(net, multi_avg_fn=update, use_buffers=True)
        self._scores: list[float] = []

    @property
    def scored_net(self) -> nn.Module:
        """The network to score and to save: the average once it has started, else the network."""
        if self._average is None or not self.active:
            return self._net
        average: nn.Module = self._average.module
        return average

    def step(self) -> None:
        """Update the average; call it after each optimizer step."""
        if self._average is not None and self.active:
            self._average.update_parameters(self._net)

    def end_epoch(self, score: float, metric: Metric) -> bool:
        """Record the score of an epoch; return whether the plain mean starts with the next step."""
        if self.active or not self.patience:
            return False
        earlier = self._scores[: -self.patience]
        self._scores.append(score)
        self.active = any(not metric.prefers(score, old) for old in earlier)
        return self.active

    def state_dict(self) -> _SavedAverage:
        average = None if self._average is None else self._average.state_dict()
        return {"average": average, "active": self.active, "scores": list(self._scores)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        saved = typed(_SavedAverage, state, "averaging")
        average = saved["average"]
        if (average is None) != (self._average is None):
            raise Misfit("averaging belongs to another configuration")
        if average is not None and self._average is not None:
            self._average.load_state_dict(average)
        self.active, self._scores = saved["active"], saved["scores"]


def _polynomial(power: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return the update of a polynomial average: averages, new values, and earlier updates."""

    @torch.no_grad()
    def update(averages: Tensors, values: Tensors, updates: Tensor | int) -> None:
        share = (power + 1) / (int(updates) + 1 + power)
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average), share)
            else:
                average.copy_(value)

    return update
