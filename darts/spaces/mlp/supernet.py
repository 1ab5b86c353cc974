"""The supernet of the mlp space: all candidates of a layer share one linear map.

A narrow layer consists of the first units of the widest one, so one linear map of maximum width
serves all candidates. Its output is normalized, and each activation is applied once. The output of
a candidate is the output of its activation, with zeros for the units beyond its width. Summed over
all widths, the mixing weights of an activation form one factor per unit, so a layer costs little
more than one layer of maximum width with all activations.

Batch norm normalizes each unit separately, so its result does not depend on the width. Layer norm
does depend on it: it is computed for each width, and each activation is applied once per width.

References:
    Narrow layers as slices of wider ones: Wan et al., "FBNetV2", arXiv:2004.05565, section 3.2, and
    Yu et al., "Slimmable Neural Networks", arXiv:1812.08928.
    Search of the depth by skipping layers: Cai et al., "ProxylessNAS", arXiv:1812.00332,
    section 4.1.
    Dropout on skip connections: Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.mlp.embedding import embedded_width, make_embedding
from darts.spaces.mlp.genotype import ACTIVATIONS
from darts.spaces.supernet import SupernetBase

if TYPE_CHECKING:
    from darts.spaces.mlp.space import Mlp

SKIP = "skip_connect"  # the candidate that skips a layer
_EPSILON = 1e-5  # the default of nn.LayerNorm


def make_linear(inputs: int, width: int, normalization: str) -> nn.Linear:
    return nn.Linear(inputs, width, bias=normalization != "batch")  # the norm would cancel a bias


def make_norm(name: str, width: int, *, affine: bool) -> nn.Module:
    """Make a normalization of ``(B, width)``."""
    if name == "batch":
        # Not BatchNorm1d, which darts.ops.sync_batch_norm does not synchronize over ranks.
        norm = nn.BatchNorm2d(width, affine=affine)
        return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), norm, nn.Flatten())
    if name == "layer":
        return nn.LayerNorm(width, elementwise_affine=affine)
    return nn.Identity()


class MixedLayer(nn.Module):
    """All candidates of one hidden layer.

    Shape: ``(B, inputs)`` -> ``(B, max(widths))``. Unless the skip connection is active, units
    beyond the widest active candidate are zero.
    """

    def __init__(
        self, inputs: int, activations: Sequence[str], widths: Sequence[int], normalization: str
    ) -> None:
        super().__init__()
        self.max_width, self.norm_per_width = max(widths), normalization == "layer"
        self.linear = make_linear(inputs, self.max_width, normalization)
        # Layer norm depends on the width; _layer_norm computes it for all widths.
        shared_norm = "none" if self.norm_per_width else normalization
        self.norm = make_norm(shared_norm, self.max_width, affine=False)
        self.activations = nn.ModuleList(ACTIVATIONS[name]() for name in activations)
        units = torch.arange(self.max_width)
        masks = torch.stack([(units < width).float() for width in widths])  # (widths, max_width)
        self.masks = nn.Buffer(masks, persistent=False)

    def forward(
        self, x: Tensor, weights: Tensor, active: Sequence[int], skip_dropout: float, dropout: float
    ) -> Tensor:
        """Return the weighted sum of the active candidates; other candidates are not run.

        The mixing weights are ordered by activation, then by width; the last one belongs to the
        skip connection if the layer can be skipped.
        """
        num_widths, num_activations = len(self.masks), len(self.activations)
        skip = num_widths * num_activations  # column of the skip connection
        columns = [column for column in active if column < skip]
        terms = []
        if columns:
            layer_weights = weights[:skip]
            if len(columns) < skip:
                is_active = torch.zeros_like(layer_weights)
                is_active[columns] = 1
                layer_weights = layer_weights * is_active
            used = sorted({column // num_widths for column in columns})  # activations
            # (activations, widths, 1) * (widths, max_width) -> (activations, widths, max_width)
            factors = layer_weights.view(num_activations, num_widths, 1) * self.masks
            terms.append(F.dropout(self._mix(x, factors, used), dropout, self.training))
        if skip in active:
            terms.append(weights[skip] * F.dropout(x, skip_dropout, self.training))
        return reduce(torch.add, terms) if terms else x.new_zeros(len(x), self.max_width)

    def _mix(self, x: Tensor, factors: Tensor, used: Sequence[int]) -> Tensor:
        """Return the sum over the ``used`` activations and all widths, ``(B, max_width)``."""
        z = self.norm(self.linear(x))
        if self.norm_per_width:
            z = self._layer_norm(z)  # (B, widths, max_width)
            terms = [(self.activations[k](z) * factors[k]).sum(1) for k in used]
        else:
            unit_factors = factors.sum(1)  # (activations, max_width)
            terms = [self.activations[k](z) * unit_factors[k] for k in used]
        total: Tensor = reduce(torch.add, terms)
        return total

    def _layer_norm(self, z: Tensor) -> Tensor:
        """Normalize over each width's units, ``(B, max_width)`` -> ``(B, widths, max_width)``."""
        z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        shares = self.masks / self.masks.sum(1, keepdim=True)  # (widths, max_width); rows sum to 1
        z = z[:, None]  # (B, 1, max_width)
        centered = z - (z * shares).sum(-1, keepdim=True)
        variance = (centered.square() * shares).sum(-1, keepdim=True)  # (B, widths, 1)
        return centered * (variance + _EPSILON).rsqrt()


class Supernet(SupernetBase):
    """The supernet of the mlp space.

    All layers have the width of the widest candidate; a linear classifier follows. Norms have no
    affine parameters. The first layer maps the input to this width; all others can be skipped.

    Attributes:
        alphas: ``{"first": (1, A * K), "rest": (cells - 1, A * K + 1)}`` for A activations and K
            widths, ordered by activation, then by width; the last column of ``rest`` is the skip
            connection. With ``cells=1`` there is no ``rest``.

    Shape: samples ``(B, ...)`` with ``in_channels`` values each -> logits ``(B, classes)``.
    """

    def __init__(self, space: Mlp, *, classes: int, in_channels: int) -> None:
        super().__init__()
        self.dropout, widest = space.dropout, max(space.widths)
        names = tuple(f"{name}_{width}" for name in space.activations for width in space.widths)
        self.embedding = make_embedding(space.embedding, in_channels)
        embedded = embedded_width(space.embedding, in_channels)
        self.layers = nn.ModuleList(
            MixedLayer(inputs, space.activations, space.widths, space.normalization)
            for inputs in (embedded, *[widest] * (space.cells - 1))
        )
        self.classifier = nn.Linear(widest, classes)
        self.set_chain([("first", names), *[("rest", (*names, SKIP))] * (space.cells - 1)])

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute logits with mixing weights ``(layers, candidates)``; see ``make_mixture``."""
        chain = self.chain_weights(mixture)
        x = self.embedding(images.flatten(1))
        for layer, (layer_weights, active) in zip(self.layers, chain, strict=True):
            x = layer(x, layer_weights, active, self.skip_dropout, self.dropout)
        logits: Tensor = self.classifier(x)
        return logits
