"""The mlp space and its discrete networks.

The parameters of an architecture are its depth, and the width and activation of each layer. A
layer's parameters are active only if the depth includes the layer. Each genotype is exactly one
point.

References:
    Mendoza et al., "Towards Automatically-Tuned Neural Networks", AutoML workshop 2016.
    Normalization between the linear map and the activation: Ioffe and Szegedy, "Batch
    Normalization", arXiv:1502.03167; Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.registry import choice, number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.deriving import ByGroup, Candidates, best_columns, chain_mask, draw
from darts.spaces.genotype_text import check_name
from darts.spaces.mlp.embedding import EMBEDDINGS, embedded_width, make_embedding
from darts.spaces.mlp.genotype import ACTIVATIONS, MAX_WIDTH, Genotype
from darts.spaces.mlp.supernet import SKIP, Supernet, make_linear, make_norm
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Range, Value
from darts.spaces.rank_dropout import rank_dropout
from darts.spaces.space import SPACES, Space

NORMALIZATIONS = ("batch", "layer", "none")


def make_preactivation(inputs: int, width: int, normalization: str) -> nn.Sequential:
    norm = make_norm(normalization, width, affine=True)
    return nn.Sequential(make_linear(inputs, width, normalization), norm)


class MemberLinear(nn.Module):
    """A linear map for each member of an ensemble.

    Shape: ``(B, members, inputs)`` -> ``(B, members, outputs)``.
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5  # as for nn.Linear
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x.transpose(0, 1), self.weight).transpose(0, 1)


class Network(NetworkBase):
    """An embedding of the inputs, the hidden layers of a genotype and a linear classifier.

    With several members, the network is an ensemble with shared hidden layers. Each member
    multiplies the embedded inputs by factors of its own and has a classifier of its own. In
    training, the outputs of all members are returned, because each has a loss; otherwise their
    mean.

    References:
        Gorishniy, Kotelnikov and Babenko, "TabM", arXiv:2410.24210, section 3.3: TabM-mini.

    Shape: samples ``(B, ...)`` with ``in_channels`` values each -> logits ``(B, classes)``; with
    several members, in training, ``(B, members, classes)``.
    """

    def __init__(self, genotype: Genotype, space: Mlp, *, classes: int, in_channels: int) -> None:
        super().__init__(genotype)
        self.dropout, self.members = space.dropout, space.members
        self.embedding = make_embedding(space.embedding, in_channels)
        inputs = embedded_width(space.embedding, in_channels)
        if self.members > 1:
            signs = 2.0 * torch.randint(2, (self.members, inputs)) - 1
            self.factors = nn.Parameter(signs)
        self.layers = nn.ModuleList()
        for activation, width in genotype.layer_specs:
            preactivation = make_preactivation(inputs, width, space.normalization)
            self.layers.append(nn.Sequential(*preactivation, ACTIVATIONS[activation]()))
            inputs = width
        self.classifier: nn.Module = nn.Linear(inputs, classes)
        if self.members > 1:
            self.classifier = MemberLinear(self.members, inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embedding(images.flatten(1))
        if self.members > 1:
            x = (x[:, None] * self.factors).flatten(0, 1)
        for layer in self.layers:
            x = rank_dropout(self, layer(x), self.dropout)
        if self.members > 1:
            x = x.view(-1, self.members, x.shape[1])
        logits: Tensor = self.classifier(x)
        return logits.mean(1) if self.members > 1 and not self.training else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.layers)


@SPACES.register
@dataclass
class Mlp(Space):
    """Fully connected networks: depth, and the width and activation of each hidden layer.

    Samples of any shape are flattened.

    Attributes:
        cells: Maximum number of hidden layers. A genotype defines its own number.
        widths: Candidate widths of a hidden layer.
        activations: Candidate activations of a hidden layer.
        normalization: Norm before each activation: ``"batch"``, ``"layer"`` or ``"none"``.
        dropout: Dropout rate of the hidden units in training.
        members: Members of the ensemble that a trained network is, see ``Network``. A search trains
            one.
        embedding: Embedding of the inputs: ``"none"`` or ``"periodic"``.
    """

    name: str = "mlp"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "audio")
    cells: int = number(2, low=1, high=1000)
    widths: list[int] = number([16, 32, 64, 128], low=1, high=MAX_WIDTH)
    activations: list[str] = field(default_factory=lambda: ["relu", "gelu", "silu", "tanh"])
    normalization: str = choice(NORMALIZATIONS[0], *NORMALIZATIONS)
    dropout: float = number(0.0, low=0, below=1)
    members: int = number(1, low=1, high=256)
    embedding: str = choice(EMBEDDINGS[0], *EMBEDDINGS)

    def __post_init__(self) -> None:
        for name in self.activations:
            check_name("space.activations: unknown", name, ACTIVATIONS)
        for key in ("activations", "widths"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"space.{key}={values}: must contain at least one value and no value twice"
                )

    def in_channels(self, sample_shape: Sequence[int]) -> int:
        return math.prod(sample_shape)

    def supernet(self, **options: Any) -> Supernet:
        return Supernet(self, **self.supported(options, depth=1, partial=1, auxiliary_skip=0))

    def network(self, genotype: Genotype, **options: Any) -> Network:
        return Network(genotype, self, **self.supported(options, auxiliary=0, drop_path=0))

    @classmethod
    def reference(cls, genotype: Genotype) -> Mlp:
        activations, widths = zip(*genotype.layer_specs, strict=True)
        return cls(
            cells=len(genotype.layers),
            widths=sorted(set(widths)),
            activations=list(dict.fromkeys(activations)),
        )

    def derive(self, probabilities: ByGroup, candidates: Candidates) -> Genotype:
        columns = best_columns(probabilities, candidates)
        names = [
            row[column]
            for group, rows in candidates.items()
            for row, column in zip(rows, columns[group], strict=True)
        ]
        return Genotype(tuple(name for name in names if name != SKIP))

    def random(self, generator: torch.Generator) -> Genotype:
        # There are factor ** depth networks of each depth. The shares are these numbers divided by
        # the largest one, because the numbers themselves may exceed the range of float.
        factor = float(len(self.activations) * len(self.widths))
        shares = [factor ** (depth - self.cells) for depth in range(1, self.cells + 1)]
        table = torch.tensor(shares, dtype=torch.float64, device=generator.device)
        depth = 1 + int(torch.multinomial(table, 1, generator=generator))
        return Genotype(
            tuple(
                f"{draw(generator, self.activations)}_{draw(generator, self.widths)}"
                for _ in range(depth)
            )
        )

    def parameters(self) -> list[Parameter]:
        result = [Parameter("depth", Range(1, self.cells, integer=True))]
        widths, activations = Choice(tuple(self.widths)), Choice(tuple(self.activations))
        for layer in range(1, self.cells + 1):
            condition = (("depth", tuple(range(layer, self.cells + 1))),)
            result.append(Parameter(f"layer{layer}.width", widths, condition))
            result.append(Parameter(f"layer{layer}.activation", activations, condition))
        return result

    def encode(self, genotype: Genotype) -> Point:
        if len(genotype.layers) > self.cells:
            raise ValueError(
                f"the genotype has {len(genotype.layers)} layers, more than "
                f"space.cells={self.cells}"
            )
        point: Point = {"depth": len(genotype.layers)}
        for layer, (activation, width) in enumerate(genotype.layer_specs, 1):
            if activation not in self.activations or width not in self.widths:
                raise ValueError(
                    f"layer {activation}_{width} is not in space.activations={self.activations} "
                    f"and space.widths={self.widths}"
                )
            point[f"layer{layer}.width"] = width
            point[f"layer{layer}.activation"] = activation
        return point

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        layers = range(1, int(point["depth"] or 0) + 1)
        return Genotype(
            tuple(f"{point[f'layer{n}.activation']}_{point[f'layer{n}.width']}" for n in layers)
        )

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        # The genotype's layers are the first ones of the supernet; the others are skipped.
        rows = [(group, row) for group, names in candidates.items() for row in range(len(names))]
        skips = (SKIP,) * (len(rows) - len(genotype.layers))
        return chain_mask(genotype.layers + skips, rows, candidates)

    def derived_mask(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        # Unlike mask, it shows which layers are skipped; a genotype does not record this.
        return {
            group: F.one_hot(torch.tensor(columns), len(candidates[group][0])).bool()
            for group, columns in best_columns(probabilities, candidates).items()
        }

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        """Yield the embedding, all linear maps with norms, all activations, and all classifiers.

        The cost of a linear map depends on the widths of two consecutive layers, so there is a
        piece for each pair of widths.
        """
        inputs = self.in_channels(sample_shape)
        if self.embedding != "none":
            yield NetworkPiece(partial(make_embedding, self.embedding, inputs), (inputs,))
        previous = [embedded_width(self.embedding, inputs)]  # widths of the layer before
        for layer in range(self.cells):
            group, row = ("pairs", layer - 1) if layer else ("input", 0)
            for column, (inputs, width) in enumerate(product(previous, self.widths)):
                make = partial(make_preactivation, inputs, width, self.normalization)
                yield NetworkPiece(make, (inputs,), (group, row, column))
            group, row = ("rest", layer - 1) if layer else ("first", 0)
            for column, (name, width) in enumerate(product(self.activations, self.widths)):
                yield NetworkPiece(ACTIVATIONS[name], (width,), (group, row, column))
            previous = self.widths
        for column, width in enumerate(self.widths):
            yield NetworkPiece(partial(nn.Linear, width, classes), (width,), ("output", 0, column))

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        """Return the probability of each piece, exact if layers are drawn independently.

        The result has three more groups than ``Space.expected_usage``: ``"input"`` and ``"output"``
        for the widths of the first and the last layer, ``(1, widths)``; ``"pairs"`` for the widths
        of the previous layer and of each layer but the first, ``(layers - 1, widths * widths)``.
        """
        probabilities = super().expected_usage(probabilities, candidates)
        num_widths = len(self.widths)
        first = probabilities["first"].view(-1, num_widths).sum(0)  # (widths,)
        previous, pairs = first, []
        for row in probabilities["rest"].unbind() if "rest" in probabilities else ():
            layer = row[:-1].view(-1, num_widths).sum(0)
            pairs.append(torch.outer(previous, layer).flatten())
            previous = layer + row[-1] * previous  # a skipped layer keeps the width
        usage = {**probabilities, "input": first[None], "output": previous[None]}
        return {**usage, "pairs": torch.stack(pairs)} if pairs else usage
