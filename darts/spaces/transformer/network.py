"""The discrete networks of a transformer genotype, for training from scratch.

References:
    Dropping the output of a layer at random: Huang et al., "Deep Networks with Stochastic Depth",
    arXiv:1603.09382.
"""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.network import NetworkBase
from darts.spaces.transformer.frame import ClassifierFrame, Frame, LanguageModelFrame, ModelConfig
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.layers import AttentionMask, Block


class BlockStack(NetworkBase):
    """The blocks of a genotype between the layers of a frame.

    Args:
        genotype: Mixer and feed-forward layer of each block.
        frame: The layers before and after the blocks.
        drop_path: Probability that the whole output of a layer is dropped in training,
            independently for each text of a batch.
    """

    genotype: Genotype
    frame: Frame

    def __init__(self, genotype: Genotype, frame: Frame, drop_path: float) -> None:
        super().__init__(genotype, drop_path)
        self.frame = frame
        self.blocks = nn.ModuleList(
            Block(mixer, feed_forward, frame.width, causal=frame.causal, dropout=frame.dropout)
            for mixer, feed_forward in genotype.blocks
        )

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]]:
        block, position = divmod(edge, 2)
        name = ("mixer", "feed_forward")[position]
        is_identity = isinstance(getattr(self.blocks[block], name), nn.Identity)
        return [] if is_identity else [(self.blocks[block], name)]

    def run_blocks(self, tokens: Tensor, mask: AttentionMask) -> Tensor:
        """Return the last block's output ``(B, T, D)`` for tokens ``(T, B)``."""
        x = self.frame.embed(tokens, self.batch_share)
        for block in self.blocks:
            x = block(x, mask, self.drop_path, self.batch_share)
        return x


class Network(BlockStack):
    """A transformer language model.

    Args:
        genotype: Mixer and feed-forward layer of each block.
        vocab_size: Number of tokens.
        config: Settings of the network; None for the defaults.
        drop_path: See ``BlockStack``.

    Shape: tokens ``(T, B)`` -> ``LanguageModelOutput``. ``hidden`` is ignored, because there is no
    state between sequences.
    """

    frame: LanguageModelFrame

    def __init__(
        self,
        genotype: Genotype,
        vocab_size: int,
        *,
        config: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, LanguageModelFrame(vocab_size, config), drop_path)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        x = self.run_blocks(tokens, self.frame.attention_mask(tokens))
        return self.frame.decode(x, self.batch_share)


class TextClassifier(BlockStack):
    """A transformer that classifies texts.

    Args:
        genotype: Mixer and feed-forward layer of each block.
        classes: Number of classes.
        vocab_size: Number of tokens.
        config: Settings of the network; None for the defaults.
        drop_path: See ``BlockStack``.

    Shape: tokens ``(T, B)``, padded with ``PADDING`` at the end -> logits ``(B, classes)``.
    """

    frame: ClassifierFrame

    def __init__(
        self,
        genotype: Genotype,
        *,
        classes: int,
        vocab_size: int,
        config: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, ClassifierFrame(vocab_size, config, classes), drop_path)

    def forward(self, tokens: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return logits, or ``(logits, None)`` if ``auxiliary``, as there is no auxiliary head."""
        mask = self.frame.attention_mask(tokens)
        logits = self.frame.classify(self.run_blocks(tokens, mask), mask, self.batch_share)
        return (logits, None) if auxiliary else logits
