"""The recurrent space as a part of a method.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendices A.1.2 and A.2.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.recurrent.derive import derive, mask_of
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.encoding import decode, encode, parameters, random_genotype
from darts.spaces.recurrent.genotype import Genotype, is_classic
from darts.spaces.recurrent.network import Network
from darts.spaces.recurrent.pieces import pieces, usage
from darts.spaces.recurrent.published import PUBLISHED
from darts.spaces.recurrent.supernet import Supernet
from darts.spaces.recurrent.translation import TranslationNetwork, TranslationSupernet
from darts.spaces.space import SPACES, Candidates, Space

PENN_TREEBANK = 10_000
"""Tokens in the vocabulary with which the papers compare cells."""


@SPACES.register
@dataclass
class Recurrent(Space):
    """A recurrent cell in a language model, at the published size of the search.

    Attributes:
        cells: of a network; there is one.
        nodes: of the cell that is searched, beside state 0. A genotype brings its own number.
        embedding: numbers in an embedding.
        hidden: numbers in a state.
        tied: whether embeddings and decoder share their weights.
        copy: whether a translator may take words of the source over.
        word_dropout: probability with which, in training, a word is dropped from a batch.
        embedding_dropout: the same of a number of the embeddings, for a whole sequence.
        input_dropout: of what a cell takes in from outside, for a whole sequence.
        hidden_dropout: of what goes into the products of a cell, for a whole sequence.
        output_dropout: of what a cell puts out, for a whole sequence.
        weight_dropout: of a weight between the hidden state and the next, in the discrete network.
    """

    name: str = "recurrent"
    supports_partial: ClassVar[bool] = False
    fan_in: ClassVar[int | None] = 1
    skip_operation: ClassVar[str | None] = None
    supports_skip_dropout: ClassVar[bool] = False
    supports_compile: ClassVar[bool] = False
    retrain_keys: ClassVar[tuple[str, ...]] = ("tied", "copy")
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "pairs")
    # Every edge has weights, and "identity" is its activation.
    skip_operations: ClassVar[tuple[str, ...]] = ("none",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("none",)
    published: ClassVar[Mapping[str, Any]] = PUBLISHED
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

    @property
    def dropouts(self) -> DropoutRates:
        """All of them."""
        return DropoutRates(
            word=self.word_dropout,
            embedding=self.embedding_dropout,
            input=self.input_dropout,
            hidden=self.hidden_dropout,
            output=self.output_dropout,
            weight=self.weight_dropout,
        )

    def supernet(
        self,
        *,
        depth: float = 1.0,
        partial: int = 1,
        auxiliary_skip: bool = False,
        **options: Any,
    ) -> Supernet | TranslationSupernet:
        """The supernet as a language model or a translator, see ``Space.supernet``.

        Args:
            depth: must be 1.
            partial: must be 1.
            auxiliary_skip: must be False.
            **options: ``vocabulary``, the number of tokens of a language model; or ``sources`` and
                ``targets``, those of a translator, and ``joint`` if they are the same.

        Raises:
            ValueError: for stages of another depth, partial channels or an auxiliary skip
                connection, for dropped weights, tied weights of two shapes, or copies where there
                is no source of the same words.
        """
        if depth != 1.0:
            raise ValueError(f"space=recurrent has one cell at any depth, got depth={depth}; set 1")
        if partial > 1:
            raise ValueError(
                f"space=recurrent has no partial channels, got partial={partial}; set 1"
            )
        if auxiliary_skip:
            raise ValueError(
                "space=recurrent has no auxiliary skip connections, since every candidate bypasses "
                "its activation already; set auxiliary_skip=0"
            )
        kind: Any = Supernet if "vocabulary" in options else TranslationSupernet
        return kind(
            **self._copying(options),
            embedding=self.embedding,
            hidden=self.hidden,
            nodes=self.nodes,
            tied=self.tied,
            dropouts=self.dropouts,
        )

    def network(
        self,
        genotype: Genotype,
        *,
        auxiliary: bool = False,
        drop_path: float = 0.0,
        **options: Any,
    ) -> Network | TranslationNetwork:
        """The discrete network as a language model or a translator, see ``Space.network``.

        Args:
            genotype: the cell.
            auxiliary: must be False.
            drop_path: must be 0.
            **options: as of ``supernet``.

        Raises:
            ValueError: for an auxiliary head or drop path, tied weights of two shapes, or copies
                where there is no source of the same words.
        """
        if auxiliary:
            raise ValueError(
                "networks of the recurrent space have no auxiliary head; set auxiliary=0"
            )
        if drop_path > 0:
            raise ValueError(
                "networks of the recurrent space have one path into each node, got "
                f"drop_path={drop_path}; set drop_path=0, and space.hidden_dropout to drop units"
            )
        kind: Any = Network if "vocabulary" in options else TranslationNetwork
        return kind(
            genotype,
            **self._copying(options),
            embedding=self.embedding,
            hidden=self.hidden,
            tied=self.tied,
            dropouts=self.dropouts,
        )

    def _copying(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options of a network, with what a translator is told of copies."""
        if "vocabulary" not in options:
            return {**options, "copy": self.copy}
        if self.copy:
            raise ValueError(
                "space.copy=true: a language model has no source to take words from; "
                "set space.copy=false"
            )
        return options

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        """The vocabulary of Penn Treebank."""
        sizes = [f"embedding={self.embedding}", f"hidden={self.hidden}"]
        return {"vocabulary": PENN_TREEBANK}, [*sizes, f"{PENN_TREEBANK:,} tokens"]

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

    def random(self, generator: torch.Generator) -> Genotype:
        return random_genotype(generator, self.nodes)

    def parameters(self) -> list[Parameter]:
        return parameters(self.nodes)

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype, self.nodes)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point, self.nodes)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, image: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """The discrete network taken apart; costs are those of one token.

        Args:
            classes: number of tokens in the vocabulary.
            image: must be ``()``, the shape of a token.

        Raises:
            ValueError: for images.
        """
        if tuple(image):
            raise ValueError(f"space=recurrent takes tokens, not images of shape {tuple(image)}")
        return pieces(self.nodes, classes, self.embedding, self.hidden, self.tied)

    def expected_usage(
        self, probabilities: Mapping[str, Tensor], candidates: Candidates
    ) -> dict[str, Tensor]:
        """One edge a node, see ``darts.spaces.recurrent.pieces.usage``."""
        return usage(probabilities, candidates)
