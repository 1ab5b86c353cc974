"""Embeddings of numbers as the first layer of a fully connected network.

References:
    Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", arXiv:2203.05556, section 3.3: periodic embeddings with learned frequencies.
    Holzmüller, Grinsztajn and Steinwart, "Better by Default", arXiv:2407.04491, section 3 and
    appendix A: cosines with learned phases, a linear map for each number, and the number itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 16  # of each number
OUTPUTS = 4  # for each number: the number itself, and linear functions of its cosines
DEVIATION = 0.1  # of the initial frequencies, for numbers of deviation 1


class PeriodicEmbedding(nn.Module):
    """Each number, and three learned linear functions of cosines of it.

    Shape: ``(B, inputs)`` -> ``(B, OUTPUTS * inputs)``.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(DEVIATION * torch.randn(inputs, FREQUENCIES))
        self.phases = nn.Parameter(torch.empty(inputs, FREQUENCIES).uniform_(-math.pi, math.pi))
        bound = FREQUENCIES**-0.5  # as for nn.Linear
        shape = (inputs, FREQUENCIES, OUTPUTS - 1)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(inputs, OUTPUTS - 1).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * x[..., None] * self.frequencies + self.phases
        # (inputs, B, FREQUENCIES) @ (inputs, FREQUENCIES, OUTPUTS - 1)
        learned = torch.baddbmm(self.bias[:, None], angles.cos().transpose(0, 1), self.weight)
        return torch.cat([x[..., None], learned.transpose(0, 1)], 2).flatten(1)


EMBEDDINGS = ("none", "periodic")


def make_embedding(name: str, inputs: int) -> nn.Module:
    """Return one of ``EMBEDDINGS`` for samples ``(B, inputs)``."""
    return PeriodicEmbedding(inputs) if name == "periodic" else nn.Identity()


def embedded_width(name: str, inputs: int) -> int:
    """Return the number of outputs of an embedding."""
    return OUTPUTS * inputs if name == "periodic" else inputs
