"""What a search space is: its networks, its genotypes, and the way from alphas to one of them.

A space is a folder of this package and a YAML in ``conf/space``. Nothing else knows it by name.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from darts.registry import Registry, number
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.piece import Piece

SPACES = Registry("space", "darts.spaces")

Candidates = Mapping[str, tuple[tuple[str, ...], ...]]


class AnyGenotype(Protocol):
    """What all genotypes have in common."""

    space: ClassVar[str]
    cells: ClassVar[tuple[str, ...]]
    inputs: ClassVar[int]  # states 0, 1, ... of a cell that are outputs of others

    def nodes(self, cell: str) -> int:
        """How many states a cell has beside its inputs."""
        ...

    def concat(self, cell: str) -> tuple[int, ...]:
        """The states that make a cell's output."""
        ...

    def edges(self, cell: str) -> list[tuple[int, int, str]]:
        """``(source state, target state, operation)`` of each edge of a cell."""
        ...

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many edges carry the operation."""
        ...

    def to_json(self) -> str:
        """Text that ``parse`` reads back."""
        ...


@dataclass
class Space(ABC):
    """One search space with the size of its networks, of which the depth is common to all.

    Attributes:
        cells: depth; what it counts is the space's to say.
        fan_in: edges that a genotype keeps into each node; None for all.
        skip: name of the operation that hands its input on; None where there is none.
        drops_skips: whether in training the supernet can drop a share of what that puts out.
        has_partial: whether operations may be mixed on a part of the channels.
        compiles: whether the supernet has anything for ``torch.compile``.
        kept: settings beside the sizes that a retraining shares with its search.
        takes: kinds of data sets that its networks take, see ``darts.data.SourceSpec.kind``.
        skips: operations that pass their input on as it is, or put nothing out.
        weightless: operations without weights of their own, those among them.
        published: by name what others have found in the space; each has a ``name``, ``genotype``,
            ``paper``, ``arxiv``, ``parameters_million``, ``note`` and ``result``, and for all of
            them a ``measure`` and a ``title``.
    """

    name: str = ""
    fan_in: ClassVar[int | None] = None
    skip: ClassVar[str | None] = "skip_connect"
    drops_skips: ClassVar[bool] = True
    has_partial: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    kept: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ("images", "audio")
    skips: ClassVar[tuple[str, ...]] = ("none", "skip_connect")
    weightless: ClassVar[tuple[str, ...]] = ("none", "skip_connect")
    published: ClassVar[Mapping[str, Any]] = {}
    cells: int = number(8, low=1)

    def inputs(self, shape: Sequence[int]) -> int:
        """The ``in_channels`` of networks for samples of a shape ``(C, H, W)``."""
        return shape[0]

    @abstractmethod
    def supernet(self, *, depth: float = 1.0, **options: Any) -> Any:
        """The supernet, a ``darts.spaces.supernet.SupernetBase``.

        Args:
            depth: times as deep as ``cells`` says.
            **options: ``classes``, ``in_channels`` (see ``inputs``), ``partial`` (1 for all
                channels) and ``auxiliary_skip``.

        Raises:
            ValueError: in one line, for what the space does not have.
        """

    @abstractmethod
    def network(self, genotype: Any, **options: Any) -> Any:
        """The discrete network of a genotype, see ``darts.spaces.cnn.Network``.

        Args:
            genotype: of this space.
            **options: ``classes``, ``in_channels``, ``auxiliary`` (a head; False when not given)
                and ``drop_path``.
        """

    def usual(self) -> tuple[dict[str, int], list[str]]:
        """Sizes of data, as ``network`` takes them, by which its weights may be told; in words."""
        return (
            {"classes": 10, "in_channels": self.inputs((3, 32, 32))},
            ["images of 3x32x32", "10 classes", "no auxiliary head"],
        )

    @classmethod
    def standard(cls, genotype: Any) -> Space:
        """The space at the size in which the papers compare genotypes like this one."""
        return cls()

    @classmethod
    def recognizes(cls, text: str) -> bool:
        """Whether a text that is not JSON is a genotype of this space, right or wrong."""
        return False

    @abstractmethod
    def parse(self, text: str) -> Any:
        """A genotype from its text; ``ValueError`` with one line for anything else."""

    @abstractmethod
    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Any:
        """The genotype that probabilities ``(edges, operations)`` stand for."""

    @abstractmethod
    def random(self, generator: torch.Generator) -> Any:
        """A genotype, each with the same probability."""

    @abstractmethod
    def parameters(self) -> list[Parameter]:
        """An architecture as parameters; each genotype is one point of them."""

    @abstractmethod
    def encode(self, genotype: Any) -> Point:
        """The point that a genotype is; ``ValueError`` in one line if none of this space is."""

    @abstractmethod
    def decode(self, point: Mapping[str, Value]) -> Any:
        """The genotype that a point of ``parameters`` is."""

    @abstractmethod
    def mask(self, genotype: Any, candidates: Candidates) -> dict[str, Tensor]:
        """Which columns of which edges a genotype uses: by group ``(edges, operations)``."""

    @abstractmethod
    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[Piece]:
        """The discrete network taken apart, with every candidate, for images ``(C, H, W)``."""

    def used(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Which columns of which edges ``derive`` goes by, as ``mask``."""
        return self.mask(self.derive(probabilities, candidates), candidates)

    def usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """How much of each piece that alphas decide on the discrete network is expected to have.

        By group ``(edges, operations)``, differentiable; a space may have groups beside those of
        its alphas for what depends on several of them. Probabilities of an edge need not sum to
        one: what weights edges says nothing of the cost of one that is kept.
        """
        return {g: p / p.sum(-1, keepdim=True).clamp_min(1e-12) for g, p in probabilities.items()}

    def deep(self, depth: float) -> int:
        """``cells``, so many times."""
        return max(1, round(depth * self.cells))


def parse_genotype(text: str) -> Any:
    """A genotype of whatever space its text belongs to.

    Raises:
        ValueError: in one line, when it is the text of none.
    """
    named = space_named_in(text)
    if named is not None:
        return SPACES[named]().parse(text)
    return SPACES[space_recognizing(text) or "cnn"]().parse(text)


def space_of(genotype: Any) -> Space:
    """The space that a genotype belongs to, at its standard size."""
    name = space_named_in(genotype.to_json())
    standard: Space = SPACES[str(name)].standard(genotype)
    return standard


def space_recognizing(text: str) -> str | None:
    """The space whose own notation, other than JSON, a text is in; None for no space's.

    The classic notation is that of ``cnn`` unless another space knows it for its own.
    """
    names = [name for name in SPACES if SPACES[name].recognizes(text.strip())]
    return next((name for name in names if name != "cnn"), names[0] if names else None)


def space_named_in(text: str) -> str | None:
    """The known space that a genotype's JSON names, if it is JSON and does."""
    text = text.removeprefix("\ufeff").strip()
    if not text.startswith("{"):
        return None
    try:
        space = json.loads(text).get("space")
    except (ValueError, RecursionError):
        return None
    return space if isinstance(space, str) and space in SPACES else None
