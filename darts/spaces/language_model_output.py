"""Output of a language model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LanguageModelOutput(NamedTuple):
    """Output for ``B`` sequences of ``T`` tokens from a vocabulary of ``V`` tokens.

    Attributes:
        logits: ``(T, B, V)``, predictions of the token that follows each token.
        hidden: ``(B, H)``, the state for the next sequences, not detached from the autograd graph.
            H is 0 for a network that carries no state from one sequence to the next.
        raw: ``(T, B, H)``, the network's features before dropout, for temporal activation
            regularization.
        dropped: ``(T, B, H)``, the features after dropout, for activation regularization.
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor
