"""Output of a language model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LanguageModelOutput(NamedTuple):
    """Output of a language model for a batch of sequences.

    Attributes:
        logits: ``(T, B, V)``, of the token that follows each token.
        hidden: ``(B, H)``, the state for the next sequence, attached to this sequence's graph. H is
            0 for a network that carries no state from one sequence to the next.
        raw: ``(T, B, H)``, the network's features before dropout, for temporal activation
            regularization.
        dropped: ``(T, B, H)``, the features after dropout, for activation regularization.
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor
