"""The recurrent space.

The parameters of an architecture are the activation and the source of each node. Node 1 can only
read state 0, so its source is no parameter. Each genotype is exactly one point.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendices A.1.2 and A.2.2; the uniform
    distribution over cells is its random-search baseline, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.candidate_subset import allowed, check_subset, subset_masks
from darts.spaces.checks import reject_auxiliary_head
from darts.spaces.deriving import Candidates, mask_row
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.published import PublishedGenotype
from darts.spaces.recurrent.derive import derive, mask_of
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.genotype import ACTIVATIONS, PRIMITIVES, Genotype, is_classic
from darts.spaces.recurrent.network import Network, TranslationNetwork
from darts.spaces.recurrent.pieces import expected_usage, pieces
from darts.spaces.recurrent.published import PUBLISHED
from darts.spaces.recurrent.supernet import Supernet, TranslationSupernet
from darts.spaces.space import SPACES, Space

PENN_TREEBANK_WORDS = 10_000
"""Vocabulary size of Penn Treebank, for which papers report numbers of parameters."""


@SPACES.register
@dataclass
class Recurrent(Space):
    """A recurrent cell in a language model or an encoder-decoder.

    The defaults are the published settings of the search.

    Attributes:
        cells: Number of cells in a language model; always 1.
        nodes: Number of nodes of the searched cell after state 0. A genotype defines its own
            number.
        embedding: Size of an embedding.
        hidden: Size of a hidden state.
        tied: Whether the output layer shares the weights of the (target) embedding.
        copy: Whether an encoder-decoder can copy words of the source.
        word_dropout: Dropout rate of vocabulary words in training, see ``DropoutRates``.
        embedding_dropout: Dropout rate of embedding dimensions; one mask per sequence.
        input_dropout: Dropout rate of the cell's input; one mask per sequence.
        hidden_dropout: Dropout rate of the states inside the cell; one mask per sequence.
        output_dropout: Dropout rate of the cell's output; one mask per sequence.
        weight_dropout: Dropout rate of the hidden-to-hidden weights, in the discrete network only.
        candidates: Operations to choose from; [] for all operations of the space.

    Raises:
        ValueError: Candidates that are unknown or occur twice, or that contain no activation.
    """

    name: str = "recurrent"
    supports_partial: ClassVar[bool] = False
    fan_in: ClassVar[int | None] = 1
    skip_operation: ClassVar[str | None] = None
    supports_skip_dropout: ClassVar[bool] = False
    clips_virtual_step: ClassVar[bool] = True  # gradients through time can be huge
    retrain_keys: ClassVar[tuple[str, ...]] = ("tied", "copy")
    size_keys: ClassVar[tuple[str, ...]] = ("embedding", "hidden")
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "pairs")
    # "identity" is an activation; its edge has weights like all others.
    skip_operations: ClassVar[tuple[str, ...]] = ("none",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("none",)
    published: ClassVar[Mapping[str, PublishedGenotype]] = PUBLISHED
    cells: int = number(1, low=1, high=1)
    nodes: int = number(8, low=1, high=64)
    embedding: int = number(300, low=1)
    hidden: int = number(300, low=1)
    tied: bool = True
    copy: bool = False
    word_dropout: float = number(0.0, low=0, below=1)
    embedding_dropout: float = number(0.2, low=0, below=1)
    input_dropout: float = number(0.75, low=0, below=1)
    hidden_dropout: float = number(0.25, low=0, below=1)
    output_dropout: float = number(0.75, low=0, below=1)
    weight_dropout: float = number(0.0, low=0, below=1)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_subset(self.candidates, {"an edge": PRIMITIVES, "a node": ACTIVATIONS})

    @property
    def _activations(self) -> tuple[str, ...]:
        """The activations that a node can have."""
        return allowed(ACTIVATIONS, self.candidates)

    @property
    def dropouts(self) -> DropoutRates:
        """The dropout rates of supernets and networks."""
        return DropoutRates(
            word=self.word_dropout,
            embedding=self.embedding_dropout,
            input=self.input_dropout,
            hidden=self.hidden_dropout,
            output=self.output_dropout,
            weight=self.weight_dropout,
        )

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **options: Any
    ) -> Supernet | TranslationSupernet:
        """Build the supernet, see ``Space.supernet``.

        Options are ``vocab_size`` (number of tokens) for a language model; ``sources``, ``targets``
        (vocabulary sizes) and optionally ``joint`` for an encoder-decoder.
        """
        self.reject_options(
            depth=depth,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            depth_reason="a network has one cell",
            skip_reason="every candidate already bypasses its activation",
        )
        settings = self._add_settings(options)
        supernet = Supernet if "vocab_size" in options else TranslationSupernet
        return supernet(nodes=self.nodes, **settings)

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **options: Any
    ) -> Network | TranslationNetwork:
        reject_auxiliary_head(self.name, auxiliary)
        if drop_path > 0:
            raise ValueError(
                f"drop_path={drop_path}: networks of the recurrent space have one path into each "
                "node; set drop_path=0, and use space.hidden_dropout to drop units"
            )
        settings = self._add_settings(options)
        network = Network if "vocab_size" in options else TranslationNetwork
        return network(genotype, **settings)

    def _add_settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Add this space's settings (``ValueError`` for ``copy`` in a language model)."""
        settings = {
            **options,
            "embedding": self.embedding,
            "hidden": self.hidden,
            "tied": self.tied,
            "dropouts": self.dropouts,
        }
        if "vocab_size" not in options:
            return {**settings, "copy": self.copy}
        if self.copy:
            raise ValueError(
                "space.copy=true: a language model has no source to copy words from; "
                "set space.copy=false"
            )
        return settings

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        sizes = [f"embedding={self.embedding}", f"hidden={self.hidden}"]
        return {"vocab_size": PENN_TREEBANK_WORDS}, [*sizes, f"{PENN_TREEBANK_WORDS:,} tokens"]

    @classmethod
    def reference(cls, genotype: Genotype) -> Recurrent:
        return cls(nodes=genotype.nodes(), embedding=850, hidden=850)

    @classmethod
    def recognizes(cls, text: str) -> bool:
        return is_classic(text)

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        def draw_below(count: int) -> int:
            return int(torch.randint(count, (), generator=generator, device=generator.device))

        nodes, names = range(1, self.nodes + 1), self._activations
        pairs = [(names[draw_below(len(names))], draw_below(node)) for node in nodes]
        return Genotype(pairs, nodes)

    def parameters(self) -> list[Parameter]:
        result: list[Parameter] = []
        for node in range(1, self.nodes + 1):
            if node > 1:
                result.append(Parameter(f"node{node}.source", Choice(tuple(range(node)))))
            result.append(Parameter(f"node{node}.activation", Choice(self._activations)))
        return result

    def encode(self, genotype: Genotype) -> Point:
        if genotype.nodes() != self.nodes or len(genotype.outputs) != self.nodes:
            raise ValueError(
                f"the genotype must have space.nodes={self.nodes} nodes, and its output must be "
                "the mean of all of them"
            )
        point: Point = {}
        for source, node, activation in genotype.edges():
            mask_row(activation, self._activations, f"of node {node}")
            if node > 1:
                point[f"node{node}.source"] = source
            point[f"node{node}.activation"] = activation
        return point

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        nodes = range(1, self.nodes + 1)
        pairs = [
            (str(point[f"node{node}.activation"]), int(point.get(f"node{node}.source") or 0))
            for node in nodes
        ]
        return Genotype(pairs, nodes)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, sample_shape: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """Yield the modules of the language model, with every candidate; costs are per token.

        Args:
            classes: Number of tokens in the vocabulary.
            sample_shape: Shape of a token; must be ``()``.

        Raises:
            ValueError: Another shape.
        """
        if tuple(sample_shape):
            raise ValueError(
                f"space=recurrent needs tokens, not images of shape {tuple(sample_shape)}"
            )
        return pieces(self.nodes, classes, self.embedding, self.hidden, self.tied)

    def expected_usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """Return the probability of each candidate; see ``pieces.expected_usage``."""
        return expected_usage(probabilities, candidates)
