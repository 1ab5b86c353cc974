"""An ensemble of regression trees as a network: it predicts, but does not learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.network import NetworkBase

_Size = Annotated[int, msgspec.Meta(ge=1, le=2**24)]


# The nodes of a tree of scikit-learn's `HistGradientBoosting`, with named fields.
Nodes = NDArray[Any]


@dataclass(frozen=True)
class TreeSizes:
    """The sizes of an ensemble: its trees, and the largest size and depth of a tree."""

    outputs: _Size
    trees: _Size
    nodes: _Size
    depth: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class TreeNetwork(NetworkBase):
    """Outputs are sums over trees, whose nodes compare one column with a threshold.

    Node 0 is the root of a tree. Leaves are their own children, so all samples take as many steps.

    Attributes:
        column, threshold, value: Of each node, ``(trees, nodes)``; values count at leaves only.
        next_node: For a number above the threshold, and for others, ``(trees, nodes, 2)``.
        output: To which output a tree belongs, ``(trees,)``.
        start: The outputs without trees, ``(outputs,)``.

    Shape: rows ``(B, columns)``, or with more dimensions of size 1 -> ``(B, outputs)``.
    """

    def __init__(self, genotype: AnyGenotype, sizes: TreeSizes) -> None:
        super().__init__(genotype)
        self.sizes = sizes
        shape = sizes.trees, sizes.nodes
        self.column = nn.Buffer(torch.zeros(shape, dtype=torch.long))
        self.threshold = nn.Buffer(torch.zeros(shape))
        self.value = nn.Parameter(torch.zeros(shape))
        self.next_node = nn.Buffer(torch.zeros((*shape, 2), dtype=torch.long))
        self.output = nn.Buffer(torch.zeros(sizes.trees, dtype=torch.long))
        self.start = nn.Buffer(torch.zeros(sizes.outputs))

    @classmethod
    @torch.no_grad()
    def of(
        cls, genotype: AnyGenotype, trees: Sequence[tuple[int, Nodes]], start: Tensor
    ) -> TreeNetwork:
        """Return the network of trees of scikit-learn.

        Args:
            genotype: The genotype that the network reports.
            trees: Each tree with the output to which it belongs.
            start: The outputs without trees, ``(outputs,)``.
        """
        nodes = max(len(own) for _, own in trees)
        depth = max(int(own["depth"].max()) for _, own in trees)
        net = cls(genotype, TreeSizes(len(start), len(trees), nodes, max(depth, 1)))
        net.start.copy_(start)
        net.output.copy_(torch.tensor([output for output, _ in trees]))
        for number, (_, own) in enumerate(trees):
            used, leaf = slice(len(own)), own["is_leaf"] == 1
            children = np.stack([own["right"], own["left"]], axis=1).astype(np.int64)
            children[leaf] = np.flatnonzero(leaf)[:, None]
            net.next_node[number, used] = torch.from_numpy(children)
            net.column[number, used] = torch.from_numpy(own["feature_idx"].astype(np.int64))
            net.threshold[number, used] = torch.from_numpy(_rounded_down(own["num_threshold"]))
            net.value[number, used] = torch.from_numpy(own["value"].astype(np.float32))
        return net

    def forward(self, samples: Tensor) -> Tensor:
        rows = samples.flatten(1)
        tree = torch.arange(self.sizes.trees, device=rows.device)
        node = torch.zeros_like(tree).expand(rows.shape[0], -1)
        for _ in range(self.sizes.depth):
            is_low = rows.gather(1, self.column[tree, node]) <= self.threshold[tree, node]
            node = self.next_node[tree, node, is_low.long()]
        start = self.start.expand(rows.shape[0], -1)
        return start.index_add(1, self.output, self.value[tree, node])


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers with which float32 numbers compare as with ``thresholds``."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, below, rounded)
