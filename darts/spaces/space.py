"""Base class and registry of the spaces.

A space is a package in this folder and a YAML file in ``conf/space``. No code of a search depends
on its name; ``CLASSIC_SPACE`` names the space that reads the classic notation.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import Registry, number
from darts.spaces.any_genotype import AnyGenotype, PublishedGenotype
from darts.spaces.deriving import ByGroup, Candidates
from darts.spaces.moves import Move
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.supernet import SupernetBase

SPACES: Registry[Space] = Registry("space", "darts.spaces")

# The space of the notation `Genotype(normal=..., reduce=...)`.
#
# Text in an unknown notation is parsed as a genotype of this space, whose error message describes
# the notation.
CLASSIC_SPACE = "cnn"

# Vocabulary size of Penn Treebank, for which the sizes of networks for text are reported.
PENN_TREEBANK_WORDS = 10_000


@dataclass
class Space(ABC):
    """A space and the size of its networks.

    Methods that take a genotype accept genotypes of this space only. The base class declares that
    argument as ``Any``, so that each space can declare its own genotype class.

    Attributes:
        cells: Depth of the networks, in a unit that each space defines.
        fan_in: Number of edges that a genotype keeps into each node; None for all.
        clips_virtual_step: Whether second-order gradients clip the gradient of the virtual step.
        edge_rules: Rules of ``derive_by``.
        retrain_keys: Settings, besides the sizes, that a retraining takes over from its search.
        size_keys: Settings that set the size of a network whose genotype is known.
        data_kinds: Kinds of data that the networks accept, see ``darts.data.source.SourceSpec``.
        notation: Regular expression that finds text of this space in its own notation, valid or
            not; None if the space has JSON text only.
        skip_operations: Operations that pass their input on unchanged, or output zeros.
        weightless_operations: Operations without weights, including ``skip_operations``.
        fine_tunes: Whether networks begin a run with trained weights.
        inherits: Whether networks are good with the weights of a supernet, see ``inherit``.
    """

    name: str = ""
    genotype: ClassVar[type[AnyGenotype]]
    notation: ClassVar[str | None] = None
    fan_in: ClassVar[int | None] = None
    skip_operation: ClassVar[str | None] = "skip_connect"
    supports_drop_path: ClassVar[bool] = False
    supports_skip_dropout: ClassVar[bool] = True
    clips_virtual_step: ClassVar[bool] = False
    supports_missing_edges: ClassVar[bool] = False
    edge_rules: ClassVar[tuple[str, ...]] = ()
    retrain_keys: ClassVar[tuple[str, ...]] = ()
    size_keys: ClassVar[tuple[str, ...]] = ()
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "audio")
    skip_operations: ClassVar[tuple[str, ...]] = ("none", "skip_connect")
    weightless_operations: ClassVar[tuple[str, ...]] = ("none", "skip_connect")
    fine_tunes: ClassVar[bool] = False
    inherits: ClassVar[bool] = False
    published: ClassVar[Mapping[str, PublishedGenotype[AnyGenotype]]] = {}
    cells: int = number(8, low=1)

    def in_channels(self, sample_shape: Sequence[int]) -> int:
        """Return the argument ``in_channels`` of networks for samples of shape ``(C, H, W)``."""
        return sample_shape[0]

    @abstractmethod
    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> SupernetBase:
        """Build the supernet.

        Args:
            depth: Factor by which to multiply the number of cells.
            partial: ``1 / partial`` of the channels pass through the candidates.
            auxiliary_skip: Whether each edge has an auxiliary skip connection.
            **sizes: Sizes of the data, for images ``classes`` and ``in_channels``.
        """

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        """Return the masks of ``SearchContext`` at the start of a search."""
        return {}

    def droppable_supernet(self, **options: Any) -> SupernetBase:
        """Return a supernet that drops edges with probability ``drop_path``; see ``supernet``."""
        raise ValueError(f"the supernet of space={self.name} cannot drop edges")

    @abstractmethod
    def network(
        self, genotype: Any, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> NetworkBase:
        """Build the discrete network of a genotype, with the sizes of ``supernet``."""

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        """Return sizes of a typical data set as arguments of ``network``, and their description.

        The number of parameters of a genotype is reported for these sizes.
        """
        if "text" in self.data_kinds:
            own = [f"{key}={getattr(self, key)}" for key in self.size_keys]
            return {"vocab_size": PENN_TREEBANK_WORDS}, [*own, f"{PENN_TREEBANK_WORDS:,} tokens"]
        return (
            {"classes": 10, "in_channels": self.in_channels((3, 32, 32))},
            ["images of 3x32x32", "10 classes", "no auxiliary head"],
        )

    def extremes(self) -> tuple[AnyGenotype, AnyGenotype]:
        """Return the smallest and the largest network; all others are slices of the largest."""
        raise ValueError(
            f"networks of space={self.name} are not slices of a largest one; choose space=elastic"
        )

    def inherit(self, genotype: Any, supernet: SupernetBase) -> NetworkBase:
        """Return the network of a genotype with weights of a supernet; they share no tensors."""
        raise ValueError(
            f"networks of space={self.name} cannot inherit the weights of a supernet, whose "
            "operations have other norms; retrain the genotype"
        )

    def moves(self, genotype: Any) -> Iterable[Move]:
        """Return changes of a genotype by one step, whose networks can inherit its weights."""
        return ()

    def inherited_tensors(
        self, genotype: Any, parent: Any, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return tensors of a network, by name, after it has inherited from another network.

        Args:
            genotype: The architecture of the network.
            parent: The architecture of the other network.
            own: Tensors of the network, for example a state dict, or momenta by parameter.
            theirs: Such tensors of the other network.
        """
        raise ValueError(f"networks of space={self.name} inherit no weights from other genotypes")

    def check_training(self) -> None:  # noqa: B027  # most spaces need nothing
        """Raise ValueError if weights with which networks begin are missing."""

    @property
    def weights_source(self) -> str:
        """Where the weights with which networks begin come from; "" for random weights."""
        return ""

    @classmethod
    def reference(cls, genotype: Any) -> Space:
        """Return the space at the size that papers use to compare genotypes like this one."""
        return cls()

    @property
    def benchmark(self) -> str | None:
        """Name of the benchmark table of all architectures, see ``darts.judging.benchmark``."""
        return None

    @abstractmethod
    def derive(self, probabilities: ByGroup, candidates: Candidates) -> AnyGenotype:
        """Return the genotype with the most probable operations; ties go to the lower index.

        Args:
            probabilities: By group ``(edges, operations)``, on any device.
            candidates: By group and edge, the operation of each column.
        """

    def derive_by(self, rule: str, probabilities: ByGroup, candidates: Candidates) -> AnyGenotype:
        """Derive a genotype by one of ``edge_rules``, which chooses other edges than ``derive``."""
        raise ValueError(f"discretize.edges={rule}: space={self.name} has no such rule")

    def without_improbable_edges(
        self, genotype: Any, probabilities: ByGroup, candidates: Candidates, threshold: float
    ) -> AnyGenotype:
        """Remove the edges whose operation has a probability below a threshold."""
        raise ValueError(f"discretize=threshold: genotypes of space={self.name} keep all edges")

    @abstractmethod
    def random(self, generator: torch.Generator) -> AnyGenotype:
        """Draw a genotype from the uniform distribution over the space."""

    @abstractmethod
    def parameters(self) -> list[Parameter]:
        """Return the parameters of an architecture; each genotype is one point of them."""

    @abstractmethod
    def encode(self, genotype: Any) -> Point:
        """Return the point of a genotype; raise ValueError if it is not in this space."""

    @abstractmethod
    def decode(self, point: Mapping[str, Value]) -> AnyGenotype:
        """Return the genotype of a point; the inverse of ``encode``."""

    @abstractmethod
    def mask(self, genotype: Any, candidates: Candidates) -> dict[str, Tensor]:
        """Return which candidates a genotype uses: by group a mask ``(edges, operations)``."""

    @abstractmethod
    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        """Yield all modules of the discrete network, with every candidate.

        The fixed modules and the candidates that a genotype uses have the parameters and MACs of
        its network. The shape of one sample is ``(C, H, W)`` for images.
        """

    def derived_mask(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        """Return which candidates the genotype of ``derive`` uses, as ``mask`` does."""
        return self.mask(self.derive(probabilities, candidates), candidates)

    def expected_usage(self, probabilities: ByGroup, candidates: Candidates) -> dict[str, Tensor]:
        """Return the probability that a network has each piece: by group ``(edges, operations)``.

        The result is differentiable. The probabilities of each edge are normalized, since the
        strength of an edge does not affect its cost once it is kept. A space may add groups.
        """
        return {g: p / p.sum(-1, keepdim=True).clamp_min(1e-12) for g, p in probabilities.items()}

    def scaled_cells(self, depth: float) -> int:
        """Return ``cells`` multiplied by ``depth``, rounded, at least 1."""
        return max(1, round(depth * self.cells))

    def supported(self, options: Mapping[str, Any], **only: float) -> dict[str, Any]:
        """Return options of ``supernet`` or ``network`` without those that must have one value.

        ``only`` gives that value, for example ``depth=1``.
        """
        for key, value in only.items():
            if options.get(key, value) != value:
                name = f"relaxation.{key}" if key in ("partial", "auxiliary_skip") else key
                raise ValueError(
                    f"space={self.name} does not support {name}={options[key]}; "
                    f"set {name}={value:g}"
                )
        return {key: value for key, value in options.items() if key not in only}


def parse_genotype(text: str) -> AnyGenotype:
    """Return the genotype of a text in any notation; raise ValueError, in one line, for others."""
    named = re.search(r'"space"\s*:\s*"([^"]+)"', text)
    name = named[1] if named and named[1] in SPACES else space_recognizing(text) or CLASSIC_SPACE
    return SPACES[name].genotype.parse(text)


def space_of(genotype: AnyGenotype) -> Space:
    """Return the space of a genotype at its reference size."""
    return SPACES[genotype.space].reference(genotype)


def space_recognizing(text: str) -> str | None:
    """Return the name of the space that has a text's notation; None for JSON and other text.

    ``CLASSIC_SPACE`` has the notation of every ``Genotype(...)``; any other space takes precedence.
    """
    notations = {name: space.notation for name, space in SPACES.items() if space.notation}
    names = [name for name, notation in notations.items() if re.search(notation, text.strip())]
    return next((name for name in names if name != CLASSIC_SPACE), names[0] if names else None)
