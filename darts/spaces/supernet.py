"""Base class of the supernets of all spaces.

References:
    Chen et al., "Net2Net", arXiv:1511.05641, section 2.2 (Net2WiderNet): a wide network
    from a trained narrow one. DrNAS (arXiv:2006.10355) does this with the supernet when more
    channels pass through the operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.recomputation import recompute
from darts.spaces.deriving import ByGroup
from darts.spaces.mixture import Mixture

# Standard deviation of the initial alphas, unless a search scales them.
INITIAL_DEVIATION = 1e-3


class ParameterRows(NamedTuple):
    """Rows ``start`` to ``stop - 1`` of a parameter's first dimension."""

    parameter: nn.Parameter
    start: int
    stop: int


class SupernetBase(nn.Module):
    """A network that contains and mixes all candidates of a space.

    The forward pass takes mixing weights as the argument ``mixture``, see ``make_mixture``.

    Attributes:
        alphas: By group ``(edges, operations)``; they are parameters and part of the state dict.
            ``Relaxation.prepare`` may add ``<group>_edges``, ``(edges,)``, and in a search for a
            front ``add_anchors`` adds ``<group>_offsets``, ``(anchors - 1, *alphas)``.
        candidates: By group and edge, the names of the candidates, one per column of the alphas.
        edges: By group, source and target of each edge.
        counts: By group, the number of cells that share its alphas.
        shapes: By group, the shape of the mixing weights.
        chain: Of a chain, the group of each mixed operation, in order.
        skip_dropout: Probability of dropping an output element of a skip connection in training.
        drop_path: Probability of dropping the output of an edge for a sample, in training; only
            some supernets drop them, see ``Space.droppable_supernet``.
    """

    alphas: nn.ParameterDict
    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    counts: Mapping[str, int]
    shapes: Mapping[str, tuple[int, int]]
    chain: list[str]
    skip_dropout: float = 0.0
    drop_path: float = 0.0
    supports_recomputation: ClassVar[bool] = False
    recomputes: bool = False

    def set_chain(self, operations: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """Describe a chain of mixed operations, the group and the candidates of each; make alphas.

        Each operation has its own row of the alphas of its group, in the order of the chain. Call
        this after the modules of the supernet are made, so that the alphas are its last parameters.
        """
        candidates: dict[str, list[tuple[str, ...]]] = {}
        edges: dict[str, list[tuple[int, int]]] = {}
        self.chain = []
        for state, (group, names) in enumerate(operations):
            self.chain.append(group)
            candidates.setdefault(group, []).append(names)
            edges.setdefault(group, []).append((state, state + 1))
        self.candidates = {group: tuple(rows) for group, rows in candidates.items()}
        self.edges = {group: tuple(pairs) for group, pairs in edges.items()}
        self.counts = dict.fromkeys(candidates, 1)
        self.shapes = {group: (len(rows), len(rows[0])) for group, rows in candidates.items()}
        self.alphas = self.make_alphas()

    def chain_weights(self, mixture: ByGroup | None) -> list[tuple[Tensor, Sequence[int]]]:
        """Return the mixing weights ``(columns,)`` and the active columns of each operation.

        For ``mixture``, see ``make_mixture``; the order is the order of the chain.
        """
        mixture = self.make_mixture(mixture)
        rows: dict[str, Iterator[tuple[Tensor, Sequence[int]]]] = {}
        for group, (count, columns) in self.shapes.items():
            table, _, active = mixture.of_cell(group, 0)
            own: Sequence[Sequence[int]] = active or [range(columns)] * count
            rows[group] = zip(table.unbind(), own, strict=True)
        return [next(rows[group]) for group in self.chain]

    def scale_alphas(self, deviation: float) -> None:
        """Scale the initial alphas to another standard deviation; 0 makes all of them 0."""
        with torch.no_grad():
            for alpha in self.alphas.values():
                alpha.mul_(deviation / INITIAL_DEVIATION)

    def make_alphas(self) -> nn.ParameterDict:
        """Return small random alphas, so that ties between candidates are broken at random."""
        return nn.ParameterDict(
            {
                group: nn.Parameter(INITIAL_DEVIATION * torch.randn(len(rows), len(rows[0])))
                for group, rows in self.candidates.items()
            }
        )

    def make_mixture(self, weights: ByGroup | None) -> Mixture:
        """Return mixing weights as a mixture; by default, the softmax of the alphas.

        Args:
            weights: A mixture, or mixing weights by group, ``(edges, columns)`` for all cells or
                ``(cells, edges, columns)``. Auxiliary skip connections have weight 0 by default.
        """
        if weights is None:
            own = {group: self.alphas[group].softmax(-1) for group in self.shapes}
            weights = {g: F.pad(p, (0, self.shapes[g][1] - p.shape[1])) for g, p in own.items()}
        for group, shape in self.shapes.items():
            if group not in weights:
                raise ValueError(f"mixing weights of {group} are missing")
            found = tuple(weights[group].shape)
            if found[-2:] != shape:
                raise ValueError(f"mixing weights of {group} have shape {found}, not {shape}")
        return weights if isinstance(weights, Mixture) else Mixture(weights)

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return all parameters except the alphas."""
        alphas = {id(alpha) for alpha in self.alphas.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Widen the state dict of a supernet with narrower operations to this one's shapes."""
        new = self.state_dict()
        copies = {
            name: count
            for prefix, count in self.stacks().items()
            for name in new
            if name.startswith(prefix)
        }
        return widen(state, new, copies)

    def stacks(self) -> dict[str, int]:
        """Return how many operations share tensors, by the prefix of their names in the state."""
        return {}

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        """Return the parameter rows of each operation except skip connections, by a unique name."""
        raise ValueError("freezing: this space cannot freeze single operations; set freezing=none")

    def recompute_cells(self) -> None:
        """Store only the tensors between cells and recompute the others in the backward pass."""
        if not self.supports_recomputation:
            raise ValueError(
                "memory=checkpoint: this space does not support it; remove the setting"
            )
        self.recomputes = True

    def run(self, module: nn.Module, *inputs: object) -> Tensor:
        """Return ``module(*inputs)`` for a part of the supernet; see ``recompute_cells``."""
        output: Tensor = recompute(module, *inputs) if self.recomputes else module(*inputs)
        return output


def widen(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], copies: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """Widen the tensors of a state dict to the shapes of a wider network.

    Channel ``i`` of a wider tensor is channel ``i`` modulo the old width; the two halves of a
    ``FactorizedReduce`` are widened separately, and so are the operations that share a tensor,
    whose number ``copies`` has by name. Where a convolution reads repeated channels, its weights
    are divided by the number of repetitions, so its output stays the same.
    """
    copies = copies or {}
    return {
        name: old[name]
        if old[name].shape == tensor.shape
        else _widened(old[name], tensor.shape, _rows(name, old, new, copies.get(name, 1)))
        for name, tensor in new.items()
    }


def _rows(name: str, old: Mapping[str, Tensor], new: Mapping[str, Tensor], copies: int) -> Tensor:
    """Return the old channel of each channel of a wider tensor."""
    path = name.split(".")
    # The norm of a FactorizedReduce follows two convolutions, each of which repeats its channels.
    sources = [".".join([*path[:-2], half, "weight"]) for half in ("even", "odd")]
    if "norm" not in path[-2:] or not all(source in old for source in sources):
        sources = [name]
    rows, first = [], 0
    for source in sources * copies:
        width = len(old[source]) // copies
        rows.append(first + torch.arange(len(new[source]) // copies) % width)
        first += width
    return torch.cat(rows)


def _widened(value: Tensor, shape: torch.Size, rows: Tensor) -> Tensor:
    wide = value[rows.to(value.device)]
    if value.ndim > 1 and value.shape[1] != shape[1]:
        columns = torch.arange(shape[1], device=value.device) % value.shape[1]
        repeats = torch.bincount(columns, minlength=value.shape[1])[columns]
        factor = repeats.to(wide.dtype).reciprocal().view(-1, *[1] * (value.ndim - 2))
        wide = wide[:, columns] * factor
    return wide
