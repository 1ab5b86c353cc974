"""The transformer space.

The parameters of an architecture are, for each block, the mixer, and the ratio and activation of
the feed-forward layer. Each genotype is exactly one point.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; So, Liang and Le, "The Evolved
    Transformer", arXiv:1901.11117; Chen et al., "AutoFormer", arXiv:2107.00651.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import choice, number
from darts.spaces.candidate_subset import allowed, check_subset, subset_masks
from darts.spaces.checks import reject_auxiliary_head
from darts.spaces.deriving import Candidates, best_operations, check_groups, mask_row
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space
from darts.spaces.transformer.frame import (
    POSITIONS,
    Embedding,
    ModelConfig,
    PositionalEncoding,
    check_heads,
)
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS, Genotype
from darts.spaces.transformer.layers import make_feed_forward, make_mixer
from darts.spaces.transformer.network import Network, TextClassifier
from darts.spaces.transformer.supernet import GROUPS, ClassifierSupernet, Supernet

PENN_TREEBANK_WORDS = 10_000
"""Vocabulary size of Penn Treebank, for which numbers of parameters are reported."""


@SPACES.register
@dataclass
class Transformer(Space):
    """Transformer blocks, each with its own mixer and feed-forward layer.

    Attributes:
        cells: Number of blocks of the supernet. A genotype defines its own number.
        hidden: Model width, a multiple of 8.
        positions: Positional encoding; ``sinusoidal`` for texts of any length, or ``learned``.
            Networks whose mixers are all ``lstm`` and networks without layers have none.
        max_length: Number of learned positions.
        dropout: Dropout rate in training, of the embeddings, of each layer's output and of the
            input of the output layer.
        length: Number of words of the text to which costs refer.
        candidates: Mixers and feed-forward layers to choose from; [] for all of the space. The
            feed-forward layers must be all combinations of their activations and ratios.

    Raises:
        ValueError: A width that the heads do not divide; candidates that are unknown or occur
            twice; a layer without candidates; or feed-forward layers that are not all combinations
            of their activations and ratios.
    """

    name: str = "transformer"
    size_keys: ClassVar[tuple[str, ...]] = ("hidden",)
    supports_partial: ClassVar[bool] = False
    skip_operation: ClassVar[str | None] = "identity"
    supports_skip_dropout: ClassVar[bool] = False
    data_kinds: ClassVar[tuple[str, ...]] = ("text", "documents")
    skip_operations: ClassVar[tuple[str, ...]] = ("identity",)
    weightless_operations: ClassVar[tuple[str, ...]] = ("identity",)
    cells: int = number(4, low=1, high=1000)
    hidden: int = number(128, low=1)
    positions: str = choice(POSITIONS[0], *POSITIONS)
    max_length: int = number(512, low=1)
    dropout: float = number(0.1, low=0, below=1)
    length: int = number(64, low=1)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_heads(self.hidden)
        choices = {"the mixers": MIXERS, "the feed-forward layers": FEED_FORWARDS}
        check_subset(self.candidates, choices)
        ratios, activations = self._feed_forward_choices()
        for name in (f"{activation}_{ratio}" for activation in activations for ratio in ratios):
            if self.candidates and name not in self.candidates:
                raise ValueError(
                    f"space.candidates has the activation and the ratio of {name}, but not "
                    f"{name}; add it"
                )

    def _feed_forward_choices(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the ratios and the activations to choose from."""
        pairs = [name.split("_") for name in allowed(FEED_FORWARDS, self.candidates)]
        ratios = dict.fromkeys(int(ratio) for _, ratio in pairs)
        return tuple(ratios), tuple(dict.fromkeys(activation for activation, _ in pairs))

    def model_config(self) -> ModelConfig:
        """Return the settings of supernets and networks."""
        return ModelConfig(self.hidden, self.positions, self.max_length, self.dropout)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **options: Any
    ) -> Supernet | ClassifierSupernet:
        """Build the supernet, see ``Space.supernet``.

        Options are ``vocab_size`` (number of tokens) for a language model; ``classes`` and
        ``vocab_size`` for a text classifier.
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
        reject_auxiliary_head(self.name, auxiliary)
        config = self.model_config()
        if _is_language_model(options):
            return Network(genotype, **options, config=config, drop_path=drop_path)
        return TextClassifier(genotype, **options, config=config, drop_path=drop_path)

    def reference_sizes(self) -> tuple[dict[str, int], list[str]]:
        sizes = [f"hidden={self.hidden}", f"{PENN_TREEBANK_WORDS:,} tokens"]
        return {"vocab_size": PENN_TREEBANK_WORDS}, sizes

    @classmethod
    def reference(cls, genotype: Genotype) -> Transformer:
        return cls(cells=len(genotype.blocks))

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        check_groups("probabilities", probabilities, GROUPS)
        operations = best_operations(probabilities, {group: candidates[group] for group in GROUPS})
        return Genotype(tuple(zip(*operations.values(), strict=True)))

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        def draw(names: tuple[str, ...]) -> str:
            index = torch.randint(len(names), (), generator=generator, device=generator.device)
            return names[int(index)]

        layers = [allowed(names, self.candidates) for names in (MIXERS, FEED_FORWARDS)]
        return Genotype(tuple((draw(layers[0]), draw(layers[1])) for _ in range(self.cells)))

    def parameters(self) -> list[Parameter]:
        ratios, activations = self._feed_forward_choices()
        choices = {
            "mixer": Choice(allowed(MIXERS, self.candidates)),
            "ratio": Choice(ratios),
            "activation": Choice(activations),
        }
        return [
            Parameter(f"block{block}.{name}", domain)
            for block in range(self.cells)
            for name, domain in choices.items()
        ]

    def encode(self, genotype: Genotype) -> Point:
        if len(genotype.blocks) != self.cells:
            raise ValueError(
                f"the genotype has {len(genotype.blocks)} blocks, but space.cells={self.cells}"
            )
        self._check_candidates(genotype)
        point: Point = {}
        for block, (mixer, feed_forward) in enumerate(genotype.blocks):
            mask_row(mixer, allowed(MIXERS, self.candidates), "of a block's mixer")
            mask_row(
                feed_forward, allowed(FEED_FORWARDS, self.candidates), "of a block's feed-forward"
            )
            activation, ratio = feed_forward.split("_")
            point[f"block{block}.mixer"] = mixer
            point[f"block{block}.ratio"] = int(ratio)
            point[f"block{block}.activation"] = activation
        return point

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        blocks = [f"block{block}" for block in range(self.cells)]
        return Genotype(
            tuple(
                (str(point[f"{b}.mixer"]), f"{point[f'{b}.activation']}_{point[f'{b}.ratio']}")
                for b in blocks
            )
        )

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        """Return which candidates a genotype uses: by group a mask ``(blocks, candidates)``.

        Raises:
            ValueError: The genotype is not among the candidates.
        """
        self._check_candidates(genotype)
        masks: dict[str, Tensor] = {}
        for group, names in zip(GROUPS, zip(*genotype.blocks, strict=True), strict=True):
            if len(candidates[group]) != len(names):
                raise ValueError(
                    f"the genotype has {len(names)} blocks, but the supernet has "
                    f"{len(candidates[group])}"
                )
            rows = zip(names, candidates[group], strict=True)
            masks[group] = torch.tensor(
                [mask_row(name, row, f"of a block's {group}") for name, row in rows]
            )
        return masks

    @staticmethod
    def _check_candidates(genotype: Genotype) -> None:
        """Raise ValueError if an operation of the genotype is not a candidate of the supernet."""
        if names := dict.fromkeys(genotype.network_operations):
            raise ValueError(
                f"the genotype has {' and '.join(names)}, which the search cannot choose; use it "
                "in a retraining"
            )

    def pieces(self, *, classes: int, sample_shape: Sequence[int] = ()) -> Iterator[NetworkPiece]:
        """Yield all modules, with every candidate, for a text of ``length`` words.

        The cost of attention per word depends on the length of the text. A language model has no
        piece for its embedding, because it shares its weights with the decoder.

        Args:
            classes: Vocabulary size of a language model, or number of classes.
            sample_shape: ``()`` for a language model; ``(V,)`` for a classifier of texts with a
                vocabulary of V words.

        Raises:
            ValueError: The shape is that of an image.
        """
        if len(sample_shape) > 1:
            raise ValueError(
                f"space=transformer needs texts, not images of shape {tuple(sample_shape)}"
            )
        return self._pieces(classes, sample_shape)

    def _pieces(self, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        shape = (self.length, self.hidden)
        if sample_shape:
            yield NetworkPiece(partial(Embedding, sample_shape[0], self.hidden), (self.length,))
        yield NetworkPiece(partial(PositionalEncoding, self.model_config()), shape)
        for row in range(self.cells):
            for column, name in enumerate(MIXERS):
                mixer = partial(make_mixer, name, self.hidden, causal=not sample_shape)
                yield NetworkPiece(mixer, shape, ("mixer", row, column))
            for column, name in enumerate(FEED_FORWARDS):
                feed_forward = partial(make_feed_forward, name, self.hidden)
                yield NetworkPiece(feed_forward, shape, ("feed_forward", row, column))
        yield NetworkPiece(partial(nn.LayerNorm, self.hidden), shape)
        last = shape[1:] if sample_shape else shape  # of a classifier, a mean over the words
        yield NetworkPiece(partial(nn.Linear, self.hidden, classes), last)


def _is_language_model(options: Mapping[str, object]) -> bool:
    """Return whether the sizes are those of a language model (False for a text classifier).

    Raises:
        ValueError: The sizes are those of neither.
    """
    if set(options) not in ({"vocab_size"}, {"classes", "vocab_size"}):
        raise ValueError(
            "networks of the transformer space need vocab_size (language models) or classes and "
            f"vocab_size (text classifiers), got {', '.join(options) or 'neither'}"
        )
    return "classes" not in options
