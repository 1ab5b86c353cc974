"""The discrete networks of a transformer genotype, for training from scratch.

References:
    Dropping the output of a layer at random: Huang et al., "Deep Networks with Stochastic Depth",
    arXiv:1603.09382.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from darts.spaces.network import LanguageModelOutput, NetworkBase
from darts.spaces.transformer.frame import ClassifierFrame, Frame, LanguageModelFrame, ModelConfig
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.layers import AttentionMask, Block


class BlockStack(NetworkBase):
    """The blocks of a genotype between the layers of a frame.

    In training, the whole output of a layer is dropped with probability ``drop_path``,
    independently for each text of a batch.

    Attributes:
        state_sizes: Number of values of each block's state for a text; their sum is H.
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
        self.state_sizes: list[int] = [2 * frame.width * (m == "lstm") for m, _ in genotype.blocks]

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]] | None:
        block, position = divmod(edge, 2)
        name = ("mixer", "feed_forward")[position]
        if self.genotype.blocks[block][position] == "lstm":
            return None  # an LSTM has no residual connection, so nothing would be left without it
        is_identity = isinstance(getattr(self.blocks[block], name), nn.Identity)
        return [] if is_identity else [(self.blocks[block], name)]

    def run_blocks(
        self, tokens: Tensor, mask: AttentionMask, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the blocks on tokens ``(T, B)``.

        Args:
            tokens: ``(T, B)``.
            mask: Positions that attention must not read.
            hidden: State before the first token, ``(B, H)``; None for zeros.

        Returns:
            The last block's output ``(B, T, D)`` and the state after the last token ``(B, H)``.
        """
        x = self.frame.embed(tokens, self.batch_share)
        before = self._split_state(hidden, x.shape[0])
        after = []
        for block, state in zip(self.blocks, before, strict=True):
            x, state = block(x, mask, state, self.drop_path, self.batch_share)
            if state is not None:
                after.append(state)
        return x, torch.cat(after, dim=1) if after else x.new_zeros(x.shape[0], 0)

    def _split_state(self, hidden: Tensor | None, batch: int) -> Sequence[Tensor | None]:
        """Return the part of the state ``(B, H)`` that belongs to each block."""
        if hidden is None or not any(self.state_sizes):
            return [None] * len(self.blocks)
        # Axis by axis, because an export traces the batch size as a dynamic axis.
        if hidden.shape[0] != batch or hidden.shape[1:] != (sum(self.state_sizes),):
            raise ValueError(
                f"hidden must be ({batch}, {sum(self.state_sizes)}), got {tuple(hidden.shape)}"
            )
        return torch.split(hidden, self.state_sizes, dim=1)


def _parts(genotype: Genotype) -> dict[str, bool]:
    """Return which parts the frame of a genotype has."""
    return {"positions": genotype.needs_positions, "layers": genotype.has_layers}


class Network(BlockStack):
    """A transformer language model.

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``. The state
    consists of the states of all LSTMs; attention and convolutions have no state, so H may be 0.
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
        frame = LanguageModelFrame(vocab_size, config, **_parts(genotype))
        super().__init__(genotype, frame, drop_path)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> LanguageModelOutput:
        """Predict the token that follows each token; ``hidden=None`` means zeros."""
        x, hidden = self.run_blocks(tokens, self.frame.attention_mask(tokens), hidden)
        return self.frame.decode(x, hidden, self.batch_share)


class TextClassifier(BlockStack):
    """A transformer that classifies texts.

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
        frame = ClassifierFrame(vocab_size, config, classes, **_parts(genotype))
        super().__init__(genotype, frame, drop_path)

    def forward(self, tokens: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return logits, or ``(logits, None)`` if ``auxiliary``, as there is no auxiliary head."""
        mask = self.frame.attention_mask(tokens)
        x, _ = self.run_blocks(tokens, mask)
        logits = self.frame.classify(x, mask, self.batch_share)
        return (logits, None) if auxiliary else logits
