"""A plain implementation of the discrete network, the oracle of ``darts.spaces.cnn.Network``.

Every operation starts with its own ReLU, every convolution is a plain PyTorch call, a node adds its
two inputs and a cell concatenates its nodes, as in the published code. It uses random numbers in
the same order as ``Network``, and its cells have the same names in their state dicts.

References:
    DARTS, arXiv:1806.09055, section 3.2 and appendix A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darts.spaces.cnn import Network
from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.skeleton import CellPlan, make_preprocessing
from darts.spaces.genotype import Genotype


class PlainCell(nn.Module):
    """A cell of a genotype.

    Shape: two feature maps ``(B, C, H, W)`` -> ``(B, len(concat) * channels, H', W')``.
    """

    def __init__(self, plan: CellPlan, genotype: Genotype) -> None:
        super().__init__()
        self.preprocess0 = make_preprocessing(plan, 0, affine=True)
        self.preprocess1 = make_preprocessing(plan, 1, affine=True)
        reduction = plan.group == "reduce"
        self.edges = genotype.reduce if reduction else genotype.normal
        self.concat = genotype.reduce_concat if reduction else genotype.normal_concat
        self.operations = nn.ModuleList(
            make_operation(name, plan.channels, 2 if reduction and source < 2 else 1)
            for name, source in self.edges
        )

    def forward(self, before_previous: Tensor, previous: Tensor, drop_path: float) -> Tensor:
        states = [self.preprocess0(before_previous), self.preprocess1(previous)]
        for node in range(len(self.edges) // 2):
            terms = []
            for number in (2 * node, 2 * node + 1):
                operation, (_, source) = self.operations[number], self.edges[number]
                x = operation(states[source])
                if self.training and drop_path > 0 and not isinstance(operation, nn.Identity):
                    mask = x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - drop_path)
                    x.div_(1 - drop_path).mul_(mask)
                terms.append(x)
            states.append(terms[0] + terms[1])
        return torch.cat([states[node] for node in self.concat], dim=1)


class PlainNetwork(Network):
    """``Network`` with plain cells; it keeps the memory layout of the images."""

    cell_class = PlainCell

    def forward(
        self, images: Tensor, auxiliary: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Return logits ``(B, classes)`` for images ``(B, in_channels, H, W)``."""
        before_previous, previous = self.stem(images)
        extra = None
        for number, cell in enumerate(self.cells):
            before_previous, previous = (previous, cell(before_previous, previous, self.drop_path))
            if number == self.auxiliary_at and auxiliary and self.auxiliary is not None:
                extra = self.auxiliary(previous)
        logits = self.classifier(previous.mean(dim=(2, 3)))
        return (logits, extra) if auxiliary else logits
