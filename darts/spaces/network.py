"""Base class of the discrete networks of all spaces, their outputs and their pieces."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts.data import Loader
from darts.spaces.any_genotype import AnyGenotype


class NetworkBase(nn.Module):
    """The discrete network of a genotype, for training from scratch.

    Attributes:
        auxiliary: A second classifier, which helps training, or None. A network that has one
            returns ``(outputs, auxiliary outputs)`` if it is called with ``auxiliary=True``.
        drop_path: Probability of dropping a path for a sample, in training; may change.
    """

    def __init__(self, genotype: AnyGenotype, drop_path: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path={drop_path}: must be >= 0 and < 1")
        self.genotype = genotype
        self.drop_path = drop_path
        self.auxiliary: nn.Module | None = None

    def plain(self) -> nn.Module:
        """Return the module that users get: this network, or the user's own model inside it."""
        return self

    def feature_blocks(self) -> list[nn.Module]:
        """Return the modules, in order, whose outputs ``(B, C, ...)`` are the network's features.

        Without such modules, scores of features do not apply.
        """
        return []


class LanguageModelOutput(NamedTuple):
    """Output for ``B`` sequences of ``T`` tokens from a vocabulary of ``V`` tokens.

    Attributes:
        logits: ``(T, B, V)``, predictions of the token that follows each token.
        hidden: ``(B, H)``, the state for the next sequences, not detached from the autograd graph.
            H is 0 for a network that carries no state from one sequence to the next.
        raw: ``(T, B, H)``, the network's features before dropout, for temporal activation
            regularization.
        dropped: ``(T, B, H)``, the features after dropout, for activation regularization.
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor


# Returns the mean loss of a forward pass over a batch, a scalar, and the outputs.
Loss = Callable[[Callable[..., Any], Any], tuple[Tensor, Any]]


class FittingData(NamedTuple):
    """What layers are fitted to, before a run.

    Attributes:
        loader: Batches of training samples.
        loss: The loss of the task.
        seconds: Time after which no further samples are read.
    """

    loader: Loader
    loss: Loss
    seconds: float = math.inf


class FittedLayer(nn.Module, ABC):
    """A layer with values that follow from training samples, before a run."""

    @abstractmethod
    def fit(self, data: FittingData) -> float | None:
        """Compute the values; if outputs are fitted to targets, return the loss before."""


# Samples that fit layers such as `WhitenedPatches`; 512 images of 32x32 have 131,072 patches.
FITTED_SAMPLES = 512


@torch.no_grad()
def fit_layers(net: nn.Module, data: FittingData) -> float | None:
    """Fit all ``FittedLayer`` modules of a network; return the loss before, see ``FittedLayer``.

    Without such modules, no sample is read.
    """
    layers = [module for module in net.modules() if isinstance(module, FittedLayer)]
    losses = [layer.fit(data) for layer in layers]
    return next((loss for loss in losses if loss is not None), None)


def first_samples(loader: Loader) -> Tensor:
    """Return the samples of the first batches, at least ``FITTED_SAMPLES`` if there are as many."""
    batches: list[Tensor] = []
    for step in range(len(loader)):
        samples = loader.batch(0, step)[0]
        assert isinstance(samples, Tensor)
        batches.append(samples)
        if sum(map(len, batches)) >= FITTED_SAMPLES:
            break
    return torch.cat(batches)


class NetworkPiece(NamedTuple):
    """One module of a discrete network: a candidate of an edge, or a fixed module.

    Attributes:
        shape: Shape of its input for one sample, for example ``(C, H, W)``.
        place: ``(group, edge, column)`` in the result of ``Space.expected_usage``; None for a fixed
            module.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    place: tuple[str, int, int] | None = None
