"""What the supernets of all spaces have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from darts.spaces.widen import widened


class SupernetBase(nn.Module):
    """A network of all candidates.

    Attributes:
        space: name of the space.
        alphas: by group ``(edges, operations)``; parameters, so they are in the state dict.
        candidates: by group and edge, the names of the alphas' columns.
        edges: by group, each edge's source and target.
        counts: by group, how many cells there are.
        shapes: by group, the shape of its mixing weights.
        skip_dropout: share of a skip connection's outputs that are dropped in training.
    """

    space: ClassVar[str]
    alphas: nn.ParameterDict
    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    counts: Mapping[str, int]
    shapes: Mapping[str, tuple[int, int]]
    skip_dropout: float = 0.0

    def weight_parameters(self) -> list[nn.Parameter]:
        """Every parameter but the alphas."""
        alphas = {id(alpha) for alpha in self.alphas.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of a supernet with narrower operations in this one's shapes."""
        return widened(state, self.state_dict())

    def operation_shares(self) -> dict[str, list[tuple[nn.Parameter, int, int]]]:
        """What each operation of each edge owns: parameters, with its first row and the last's end.

        Skip connections are not among them.

        Raises:
            ValueError: where a supernet does not say.
        """
        raise ValueError(
            f"freezing: the {self.space} space does not say what an operation owns; "
            "choose freezing=none"
        )

    def recompute_cells(self) -> None:
        """Keep only what passes between cells for the backward pass, and compute the rest again.

        Raises:
            ValueError: where a supernet cannot.
        """
        raise ValueError(
            f"memory=checkpoint: the {self.space} space computes nothing again; leave it out"
        )

    def compile_regions(self) -> None:
        """Run parts of the network through ``torch.compile``.

        Raises:
            ValueError: where none has been found to gain.
        """
        raise ValueError(
            f"compile=true: the {self.space} space has nothing to compile; leave it out"
        )
