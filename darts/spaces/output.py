"""What language models of all spaces say."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What a language model says of a batch of sequences.

    Attributes:
        logits: ``(T, B, V)``, of the token that follows each.
        hidden: ``(B, H)``, to go on with; its graph leads back into the sequence. A network that
            carries nothing from one sequence to the next has H = 0.
        raw: ``(T, B, H)``, the outputs of the network's body, whose change from step to step may be
            penalised (temporal activation regularization).
        dropped: ``(T, B, H)``, the same behind the dropout, whose size may be penalised.
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor
