"""The transformer space.

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
from darts.spaces.checks import reject_auxiliary_head
from darts.spaces.deriving import Candidates
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.space import SPACES, Space
from darts.spaces.transformer.derive import derive, mask_of
from darts.spaces.transformer.encoding import decode, encode, parameters, random_genotype
from darts.spaces.transformer.frame import POSITIONS, ModelConfig, check_heads
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.network import Network, TextClassifier
from darts.spaces.transformer.pieces import classifier_pieces, language_model_pieces
from darts.spaces.transformer.supernet import ClassifierSupernet, Supernet

PENN_TREEBANK = 10_000
"""Vocabulary size of Penn Treebank, for which parameters are reported without a data set."""


@SPACES.register
@dataclass
class Transformer(Space):
    """Transformer blocks, each with its own mixer and feed-forward layer.

    Attributes:
        cells: number of blocks of the supernet. A genotype defines its own.
        hidden: model width, a multiple of 8.
        positions: positional encoding; ``sinusoidal`` for texts of any length, or ``learned``.
        max_length: number of learned positions.
        dropout: dropout rate in training, of the embeddings, of each layer's output and of the
            input of the output layer.
        length: length in words of the text whose costs ``pieces`` describes.
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
        check_heads(self.hidden)  # the fields check everything else

    def model_config(self) -> ModelConfig:
        """Return the settings of supernets and networks.

        Raises:
            ValueError: if a setting is invalid; the message has one line.
        """
        return ModelConfig(self.hidden, self.positions, self.max_length, self.dropout)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **options: Any
    ) -> Supernet | ClassifierSupernet:
        """Build the supernet of a language model or a text classifier, see ``Space.supernet``.

        Args:
            depth: must be 1.
            partial: must be 1.
            auxiliary_skip: must be False.
            **options: ``vocabulary`` (number of tokens) for a language model; ``classes`` and
                ``words`` (vocabulary size) for a text classifier.

        Raises:
            ValueError: if the space does not support an option.
        """
        self.reject_options(
            depth=depth,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            depth_reason="each block has its own alphas",
            skip_reason="its blocks already have skip connections",
        )
        config = self.model_config()
        if _is_language_model(options):
            return Supernet(**options, cells=self.cells, config=config)
        return ClassifierSupernet(**options, cells=self.cells, config=config)

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **options: Any
    ) -> Network | TextClassifier:
        """Build the language model or text classifier of a genotype, see ``Space.network``.

        Args:
            genotype: mixer and feed-forward layer of each block.
            auxiliary: must be False.
            drop_path: in training, probability of dropping a layer's whole output for a text.
            **options: see ``supernet``.

        Raises:
            ValueError: if the space does not support an option.
        """
        reject_auxiliary_head(self.name, auxiliary)
        config = self.model_config()
        if _is_language_model(options):
            return Network(genotype, **options, config=config, drop_path=drop_path)
        return TextClassifier(genotype, **options, config=config, drop_path=drop_path)

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        """Return the vocabulary size of Penn Treebank, and a description of the network's size."""
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
        """Yield all modules, with every candidate; costs are those of ``length`` words.

        Args:
            classes: vocabulary size of a language model, or number of classes.
            image: ``()``, the shape of a token, for a language model; ``(V,)`` for a classifier of
                texts with a vocabulary of V words.

        Raises:
            ValueError: if the shape is that of an image.
        """
        if len(image) > 1:
            raise ValueError(f"space=transformer needs texts, not images of shape {tuple(image)}")
        config = self.model_config()
        if not image:
            return language_model_pieces(config, self.cells, classes, self.length)
        return classifier_pieces(config, self.cells, classes, image[0], self.length)


def _is_language_model(options: Mapping[str, object]) -> bool:
    """Return whether the options are those of a language model, not of a text classifier.

    Raises:
        ValueError: if they are neither.
    """
    if set(options) not in ({"vocabulary"}, {"classes", "words"}):
        raise ValueError(
            "networks of the transformer space need vocabulary (language models) or classes and "
            f"words (text classifiers), got {', '.join(options) or 'neither'}"
        )
    return "vocabulary" in options
