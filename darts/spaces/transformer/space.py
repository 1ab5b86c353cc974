"""The transformer space as a part of a method.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; So, Liang and Le, "The Evolved
    Transformer", arXiv:1901.11117; Chen et al., "AutoFormer", arXiv:2107.00651.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.registry import choice, number
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.space import SPACES, Candidates, Space
from darts.spaces.transformer.derive import derive, mask_of
from darts.spaces.transformer.encoding import decode, encode, parameters, random_genotype
from darts.spaces.transformer.frame import POSITIONS, ModelConfig, check_heads
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.network import Network, TextClassifier
from darts.spaces.transformer.pieces import classifier_pieces, language_pieces
from darts.spaces.transformer.supernet import ClassifierSupernet, Supernet

PENN_TREEBANK = 10_000
"""Tokens in the vocabulary with which networks are compared where no data is named."""


@SPACES.register
@dataclass
class Transformer(Space):
    """Blocks of a transformer, each of which has a mixer and a feed-forward layer of its own.

    Attributes:
        cells: blocks of the supernet. A genotype brings its own number.
        hidden: numbers of a word between the blocks, a multiple of 8.
        positions: how a word's place is told: by sines, at any length, or by vectors that are
            learned for the first ``max_length`` places.
        max_length: see there.
        dropout: probability with which, in training, a number of the embeddings, of what a layer
            adds and of the outputs is dropped.
        length: words of the text whose costs ``pieces`` tells.
    """

    name: str = "transformer"
    supports_partial: ClassVar[bool] = False
    skip_operation: ClassVar[str | None] = "identity"
    supports_skip_dropout: ClassVar[bool] = False
    supports_compile: ClassVar[bool] = False
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "documents")
    skip_operations: ClassVar[tuple[str, ...]] = ("identity",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("identity",)
    cells: int = number(4, low=1)
    hidden: int = number(128, low=1)
    positions: str = choice(POSITIONS[0], *POSITIONS)
    max_length: int = number(512, low=1)
    dropout: float = number(0.1, low=0, below=1)
    length: int = number(64, low=1)

    def __post_init__(self) -> None:
        check_heads(self.hidden)  # the fields say the rest

    def size(self) -> ModelConfig:
        """What all networks have to know beside their data.

        Raises:
            ValueError: in one line, for a size that is none.
        """
        return ModelConfig(self.hidden, self.positions, self.max_length, self.dropout)

    def supernet(
        self,
        *,
        depth: float = 1.0,
        partial: int = 1,
        auxiliary_skip: bool = False,
        **options: Any,
    ) -> Supernet | ClassifierSupernet:
        """The supernet as a language model or a classifier, see ``Space.supernet``.

        Args:
            depth: must be 1.
            partial: must be 1.
            auxiliary_skip: must be False.
            **options: ``vocabulary``, the number of tokens of a language model; or ``classes`` and
                ``words``, how many there are of a classifier's.

        Raises:
            ValueError: for stages of another depth, partial channels, an auxiliary skip connection
                or other options.
        """
        if partial > 1:
            raise ValueError(
                f"space=transformer has no partial channels, got partial={partial}; set 1"
            )
        if auxiliary_skip:
            raise ValueError(
                "space=transformer has no auxiliary skip connections, since its blocks have some "
                "of their own; set auxiliary_skip=0"
            )
        if depth != 1.0:
            raise ValueError(
                f"space=transformer has no stages of another depth, got depth={depth}, since each "
                "block has alphas of its own; set 1"
            )
        kind: Any = Supernet if _is_language(options) else ClassifierSupernet
        return kind(**options, cells=self.cells, config=self.size())

    def network(
        self,
        genotype: Genotype,
        *,
        auxiliary: bool = False,
        drop_path: float = 0.0,
        **options: Any,
    ) -> Network | TextClassifier:
        """The discrete network as a language model or a classifier, see ``Space.network``.

        Args:
            genotype: its blocks.
            auxiliary: must be False.
            drop_path: probability with which all that a layer adds to a text is dropped.
            **options: as of ``supernet``.

        Raises:
            ValueError: for an auxiliary head or other options.
        """
        if auxiliary:
            raise ValueError(
                "networks of the transformer space have no auxiliary head; set auxiliary=0"
            )
        kind: Any = Network if _is_language(options) else TextClassifier
        return kind(genotype, **options, config=self.size(), drop_path=drop_path)

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        """The vocabulary of Penn Treebank."""
        return (
            {"vocabulary": PENN_TREEBANK},
            [f"hidden={self.hidden}", f"{PENN_TREEBANK:,} tokens"],
        )

    @classmethod
    def reference(cls, genotype: Genotype) -> Transformer:
        return cls(cells=len(genotype.blocks))

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        return random_genotype(generator, self.cells)

    def parameters(self) -> list[Parameter]:
        return parameters(self.cells)

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype, self.cells)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point, self.cells)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, image: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """The discrete network taken apart; costs are those of one text of ``length`` words.

        Args:
            classes: number of tokens in a language model's vocabulary, or of classes.
            image: ``()``, the shape of a token, for a language model; ``(V,)`` for a classifier of
                texts of V words.

        Raises:
            ValueError: for images.
        """
        if len(image) > 1:
            raise ValueError(f"space=transformer takes texts, not images of shape {tuple(image)}")
        if not image:
            return language_pieces(self.size(), self.cells, classes, self.length)
        return classifier_pieces(self.size(), self.cells, classes, image[0], self.length)


def _is_language(options: Mapping[str, Any]) -> bool:
    """Whether options are those of a language model; ``ValueError`` if of nothing here."""
    if set(options) not in ({"vocabulary"}, {"classes", "words"}):
        raise ValueError(
            "networks of the transformer space need vocabulary (language models) or classes and "
            f"words (classifiers of texts), got {', '.join(options) or 'neither'}"
        )
    return "vocabulary" in options
