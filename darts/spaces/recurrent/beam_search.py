"""Greedy decoding and beam search.

References:
    Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks",
    arXiv:1409.3215, section 3.2: beam search.
    Wu et al., "Google's Neural Machine Translation System", arXiv:1609.08144, section 7: length
    normalization; here the score is the mean log-probability per word.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darts.data.words import BEGIN, END, PADDING, UNKNOWN
from darts.spaces.recurrent.encoder_decoder import EncoderDecoder, RunCell


@torch.no_grad()
def beam_search(
    net: EncoderDecoder, sources: Tensor, run_cell: RunCell, *, max_length: int, beam: int = 1
) -> Tensor:
    """Decode sources to words.

    Args:
        net: the network; its training mode is not changed.
        sources: token ids, ``(S, B)``.
        run_cell: runs the network's cells.
        max_length: maximum number of words of a target, including the end token.
        beam: number of hypotheses; 1 for greedy decoding.

    Returns:
        Token ids ``(L, B)`` with L up to ``max_length``; padding follows an end token.

    Raises:
        ValueError: if ``beam`` or ``max_length`` is below 1.
    """
    if beam < 1 or max_length < 1:
        raise ValueError(f"beam={beam} and max_length={max_length} must be 1 or more")
    encoded, state = net.encode(sources, run_cell)
    batch = sources.shape[1]
    rows = torch.arange(batch, device=sources.device).repeat_interleave(beam)
    encoded, state = encoded.select(rows), state[rows]
    # All hypotheses of a source start equal, so only the first counts at the first step.
    totals = torch.full((batch, beam), -math.inf, device=sources.device)
    totals[:, 0] = 0.0
    lengths = torch.zeros(batch, beam, device=sources.device)
    words = sources.new_zeros(0, batch * beam)
    last = sources.new_full((1, batch * beam), BEGIN)
    ended = torch.zeros(batch, beam, dtype=torch.bool, device=sources.device)
    while len(words) < max_length and not bool(ended.all()):
        logits, state = net.decode(encoded, last, state, run_cell)
        logits = logits[0].float()
        logits[:, [PADDING, UNKNOWN, BEGIN]] = -math.inf  # never produced
        steps = logits.log_softmax(1).view(batch, beam, -1)
        only_padding = torch.full_like(steps, -math.inf)
        only_padding[..., PADDING] = 0.0  # an ended hypothesis keeps its score
        steps = torch.where(ended[..., None], only_padding, steps)
        new_lengths = lengths + ~ended
        means = (totals[..., None] + steps) / new_lengths[..., None].clamp_min(1)
        _, best = means.flatten(1).topk(beam, dim=1)
        parents, tokens = best // steps.shape[2], best % steps.shape[2]
        totals = (totals[..., None] + steps).flatten(1).gather(1, best)
        lengths, ended = new_lengths.gather(1, parents), ended.gather(1, parents) | (tokens == END)
        rows = (parents + beam * torch.arange(batch, device=sources.device)[:, None]).flatten()
        state, last = state[rows], tokens.view(1, -1)
        words = torch.cat([words[:, rows], last])
    winners = (totals / lengths.clamp_min(1)).argmax(1)
    return words[:, winners + beam * torch.arange(batch, device=sources.device)]
