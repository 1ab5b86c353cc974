"""The discrete networks of a transformer genotype, for training from scratch.

References:
    Dropping what a layer adds to a text: Huang et al., "Deep Networks with Stochastic Depth",
    arXiv:1603.09382.
"""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor, nn

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.transformer.frame import ClassifierFrame, Frame, LanguageFrame, ModelConfig
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.layers import Block, Rows, AttentionMask


class Stack(nn.Module):
    """The blocks of a genotype in a frame.

    Args:
        genotype: its blocks; it is as deep as they say.
        frame: what stands around them.
        size: of the networks.
        drop_path: probability with which all that a layer adds to a text is dropped, in training;
            the attribute may be changed from epoch to epoch.

    Attributes:
        rows: what dropout needs to know when texts are a part of a larger batch, or None.
        auxiliary: None.

    Raises:
        ValueError: for a probability outside [0, 1).
    """

    frame: Frame

    def __init__(self, genotype: Genotype, frame: Frame, size: ModelConfig, drop_path: float) -> None:
        super().__init__()
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must be at least 0 and below 1, got {drop_path!r}")
        self.genotype = genotype
        self.drop_path = drop_path
        self.rows: Rows = None
        self.auxiliary: nn.Module | None = None
        self.frame = frame
        self.blocks = nn.ModuleList(
            Block(*pair, size.width, causal=frame.causal, dropout=size.dropout)
            for pair in genotype.blocks
        )

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]]:
        """Module and attribute that hold an operation; of an identity none, as it adds nothing."""
        number, second = divmod(edge, 2)
        name = "feed_forward" if second else "mixer"
        held = getattr(self.blocks[number], name)
        return [] if isinstance(held, nn.Identity) else [(self.blocks[number], name)]

    def run(self, tokens: Tensor, sight: AttentionMask) -> Tensor:
        """What the last block puts out, ``(B, T, D)``; tokens ``(T, B)``."""
        x = self.frame.embed(tokens, self.rows)
        for block in self.blocks:
            x = block(x, sight, self.drop_path, self.rows)
        return x


class Network(Stack):
    """A language model.

    Args:
        genotype: its blocks.
        vocabulary: number of tokens, V.
        size: of the network.
        drop_path: see ``Stack``.

    Shape: tokens ``(T, B)`` -> ``LanguageModelOutput``.
    """

    frame: LanguageFrame

    def __init__(
        self,
        genotype: Genotype,
        vocabulary: int,
        *,
        size: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        size = size or ModelConfig()
        super().__init__(genotype, LanguageFrame(vocabulary, size), size, drop_path)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Say what follows.

        Args:
            tokens: ``(T, B)``, int64.
            hidden: of no account, since nothing is carried from one sequence to the next.
        """
        x = self.run(tokens, self.frame.sight(tokens))
        return self.frame.say(x, self.rows)


class TextClassifier(Stack):
    """A classifier of texts.

    Args:
        genotype: its blocks.
        classes: number of classes, C.
        words: how many there are, V.
        size: of the network.
        drop_path: see ``Stack``.

    Shape: tokens ``(L, B)``, with ``PADDING`` behind the end of a text -> logits ``(B, C)``.
    """

    frame: ClassifierFrame

    def __init__(
        self,
        genotype: Genotype,
        *,
        classes: int,
        words: int,
        size: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        size = size or ModelConfig()
        super().__init__(genotype, ClassifierFrame(words, size, classes), size, drop_path)

    @overload
    def forward(self, tokens: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, tokens: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, None]: ...

    def forward(self, tokens: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Logits of a batch.

        Args:
            tokens: ``(L, B)``, int64.
            auxiliary: return ``(logits, None)``, as networks with an auxiliary head do.
        """
        sight = self.frame.sight(tokens)
        logits = self.frame.classify(self.run(tokens, sight), sight, self.rows)
        return (logits, None) if auxiliary else logits
