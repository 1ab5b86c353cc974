"""The supernet of the mlp space: linear maps that all widths and activations of a layer share.

A narrower layer is the first units of the widest one, so that one linear map as wide as can be
serves all candidates. Its output is normalized and goes through each activation once. What a
candidate adds is then its activation, cut off behind its width and times its weight; summed over
the widths first, this makes one factor for each activation and unit, and a layer costs little more
than the widest candidate with all activations.

Batch norm takes the statistics of each unit alone and is the same at any width. Layer norm is not:
it is computed over the units of each width, and the activations behind it for each width as well.

References:
    Weights of narrower layers as a part of those of wider ones: Wan et al., "FBNetV2",
    arXiv:2004.05565, section 3.2, and Yu et al., "Slimmable Neural Networks", arXiv:1812.08928.
    Skipping layers to search the depth: Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1.
    Dropout on skip connections: Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.mixture import as_mixture
from darts.spaces.mlp.layers import (
    ACTIVATION_MODULES,
    candidates_of,
    check_choices,
    check_normalization,
    make_linear,
    make_norm,
)
from darts.spaces.supernet import SupernetBase

_EPSILON = 1e-5  # of nn.LayerNorm


class MixedLayer(nn.Module):
    """All candidates of one hidden layer.

    Shape: ``(B, inputs)`` -> ``(B, max(widths))``. The units behind the widest candidate with a
    weight are zero.
    """

    masks: Tensor

    def __init__(
        self, inputs: int, activations: Sequence[str], widths: Sequence[int], normalization: str
    ) -> None:
        super().__init__()
        self.size, self.per_width = max(widths), normalization == "layer"
        self.linear = make_linear(inputs, self.size, normalization)
        own = "none" if self.per_width else normalization
        self.norm = make_norm(own, self.size, affine=False)
        self.activations = nn.ModuleList(ACTIVATION_MODULES[name]() for name in activations)
        units = torch.arange(self.size)
        masks = torch.stack([(units < width).float() for width in widths])  # (widths, size)
        self.register_buffer("masks", masks, persistent=False)

    def forward(
        self,
        x: Tensor,
        weights: Tensor,
        active: Sequence[int],
        skip_dropout: float,
        dropout: float,
    ) -> Tensor:
        """The weighted sum of those candidates that are active; no other activations are run.

        Args:
            x: the layer's input.
            weights: ``(candidates,)``, the last that of the skip where there is one.
            active: columns that count.
            skip_dropout: probability with which an element behind the skip is dropped.
            dropout: probability with which what a unit puts out is dropped.
        """
        widths, kinds = len(self.masks), len(self.activations)
        layers = widths * kinds
        columns = [column for column in active if column < layers]
        terms = []
        if columns:
            own = weights[:layers]
            if len(columns) < layers:
                there = torch.zeros_like(own)
                there[columns] = 1
                own = own * there
            running = sorted({column // widths for column in columns})
            # (kinds, widths, 1) * (widths, size) -> (kinds, widths, size)
            factors = own.view(kinds, widths, 1) * self.masks
            terms.append(F.dropout(self._mixed(x, factors, running), dropout, self.training))
        if layers in active:
            terms.append(weights[layers] * F.dropout(x, skip_dropout, self.training))
        return reduce(torch.add, terms) if terms else x.new_zeros(len(x), self.size)

    def _mixed(self, x: Tensor, factors: Tensor, running: Sequence[int]) -> Tensor:
        """``(B, size)``: the sum over the activations that run, and all widths."""
        z = self.norm(self.linear(x))
        if self.per_width:
            z = self._normalized(z)  # (B, widths, size)
            return reduce(
                torch.add, [(self.activations[k](z) * factors[k]).sum(1) for k in running]
            )
        by_unit = factors.sum(1)  # (kinds, size)
        return reduce(torch.add, [self.activations[k](z) * by_unit[k] for k in running])

    def _normalized(self, z: Tensor) -> Tensor:
        """Layer norm over the units of each width, ``(B, size)`` -> ``(B, widths, size)``."""
        z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        shares = self.masks / self.masks.sum(1, keepdim=True)  # (widths, size), with the sum 1
        z = z[:, None]  # (B, 1, size)
        centerd = z - (z * shares).sum(-1, keepdim=True)
        variance = (centerd.square() * shares).sum(-1, keepdim=True)  # (B, widths, 1)
        return centerd * (variance + _EPSILON).rsqrt()


class Supernet(SupernetBase):
    """The supernet of the mlp space.

    All layers are as wide as the widest candidate, and a linear classifier follows. The norms have
    no affine parameters. The alphas are parameters, so they are in the state dict, but
    ``weight_parameters`` leaves them out. Every layer but the first, which the input leads to, may
    be skipped.

    Args:
        activations: candidates, of ``ACTIVATIONS``.
        widths: candidates.
        cells: number of layers.
        normalization: "batch", "layer" or "none".
        dropout: probability with which, in training, what a unit puts out is dropped.
        classes: number of classes.
        in_channels: numbers in a sample.

    Attributes:
        alphas: ``{"first": (1, A * K), "rest": (cells - 1, A * K + 1)}`` for A activations and K
            widths; with ``cells=1``, no ``rest``.
        candidates: by group, the names of the alphas' columns, layer by layer.
        edges: by group, each layer's place in the chain.
        counts: by group 1: no two layers share alphas.
        shapes: of the mixing weights, by group.
        skip_dropout: probability with which, in training, an element of what skip_connect puts out
            is dropped and the others are scaled up.

    Shape: samples ``(B, ...)`` of ``in_channels`` numbers each -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, or an unknown or repeated choice.
    """

    space = "mlp"

    def __init__(
        self,
        *,
        activations: Sequence[str] = ("relu", "tanh"),
        widths: Sequence[int] = (16, 32),
        cells: int = 2,
        normalization: str = "batch",
        dropout: float = 0.0,
        classes: int = 10,
        in_channels: int = 64,
    ) -> None:
        super().__init__()
        check_positive(cells=cells, classes=classes, in_channels=in_channels)
        check_choices(activations, widths)
        check_normalization(normalization)
        self.dropout = dropout
        self.candidates = candidates_of(activations, widths, cells)
        places = tuple((layer, layer + 1) for layer in range(cells))
        self.edges = {"first": places[:1]} | ({"rest": places[1:]} if cells > 1 else {})
        self.counts = dict.fromkeys(self.candidates, 1)
        self.shapes = {group: (len(rows), len(rows[0])) for group, rows in self.candidates.items()}
        self.layers = nn.ModuleList(
            MixedLayer(max(widths) if layer else in_channels, activations, widths, normalization)
            for layer in range(cells)
        )
        self.classifier = nn.Linear(max(widths), classes)
        # Small random values break ties without preferring anything.
        self.alphas = nn.ParameterDict(
            {group: nn.Parameter(1e-3 * torch.randn(shape)) for group, shape in self.shapes.items()}
        )

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: ``(B, ...)``, flattened sample by sample.
            weights: mixing weights by group, ``(layers, candidates)``; a ``Mixture`` may say which
                of them are active. When not given, the softmax of the supernet's own alphas.
        """
        if weights is None:
            weights = {group: self.alphas[group].softmax(-1) for group in self.shapes}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        x = images.flatten(1)
        layers = iter(self.layers)
        for group, (rows, columns) in self.shapes.items():
            own, _, active = mixture.of_cell(group, 0)
            for row in range(rows):
                chosen = range(columns) if active is None else active[row]
                x = next(layers)(x, own[row], chosen, self.skip_dropout, self.dropout)
        logits: Tensor = self.classifier(x)
        return logits
