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
from darts.spaces.transformer.frame import Frame, ModelConfig
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.layers import Block


class Network(NetworkBase):
    """A transformer language model; with ``classes``, a text classifier.

    In training, the whole output of a layer is dropped with probability ``drop_path``,
    independently for each text of a batch.

    Attributes:
        state_sizes: Number of values of each block's state for a text; their sum is H.

    Shape: tokens ``(T, B)`` and a hidden state ``(B, H)`` -> ``LanguageModelOutput``, or logits
    ``(B, classes)``. The state consists of the states of all LSTMs; attention and convolutions have
    no state, so H may be 0.
    """

    genotype: Genotype

    def __init__(
        self,
        genotype: Genotype,
        vocab_size: int,
        *,
        classes: int | None = None,
        config: ModelConfig | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        self.frame = frame = Frame(
            vocab_size,
            classes,
            config,
            positions=genotype.needs_positions,
            layers=genotype.has_layers,
        )
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

    def forward(
        self, tokens: Tensor, hidden: Tensor | None = None, auxiliary: bool = False
    ) -> LanguageModelOutput | Tensor | tuple[LanguageModelOutput | Tensor, None]:
        """Return the output, or ``(output, None)`` if ``auxiliary``; no ``hidden`` means zeros."""
        mask = self.frame.attention_mask(tokens)
        x = self.frame.embed(tokens, self.batch_share)
        before = self._split_state(hidden, x.shape[0])
        after = []
        for block, state in zip(self.blocks, before, strict=True):
            x, state = block(x, mask, state, self.drop_path, self.batch_share)
            if state is not None:
                after.append(state)
        hidden = torch.cat(after, dim=1) if after else x.new_zeros(x.shape[0], 0)
        output = self.frame.finish(x, mask, hidden, self.batch_share)
        return (output, None) if auxiliary else output

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
