"""Outputs of an encoder-decoder: teacher forcing, greedy decoding and beam search.

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


def translate(
    net: EncoderDecoder,
    sources: Tensor,
    inputs: Tensor | None,
    run_cell: RunCell,
    *,
    max_length: int | None,
    beam: int,
) -> Tensor:
    """Compute logits for given targets, or decode sources to words.

    Args:
        net: The network, in training or evaluation mode.
        sources: Token ids ``(S, B)``; padding follows the end token.
        inputs: Decoder inputs ``(T, B)``: the begin token and then the targets. If None, only the
            first word is predicted.
        run_cell: Runs the network's cells, see ``RunCell``.
        max_length: If given, decode with a beam search to at most this many words.
        beam: Number of hypotheses of the beam search; 1 for greedy decoding.

    Returns:
        Logits ``(T, B, V)``; with ``max_length``, token ids ``(L, B)``.
    """
    if max_length is not None:
        return beam_search(net, sources, run_cell, max_length=max_length, beam=beam)
    if inputs is None:
        inputs = torch.full_like(sources[:1], BEGIN)
    encoded, state = net.encode(sources, run_cell)
    return net.decode(encoded, inputs, state, run_cell)[0]


@torch.no_grad()
def beam_search(
    net: EncoderDecoder, sources: Tensor, run_cell: RunCell, *, max_length: int, beam: int
) -> Tensor:
    """Decode sources ``(S, B)`` to token ids ``(L, B)``; padding follows an end token.

    L is at most ``max_length``. The other arguments are those of ``translate``.

    Raises:
        ValueError: ``beam`` or ``max_length`` is below 1.
    """
    if beam < 1 or max_length < 1:
        raise ValueError(f"beam={beam} and max_length={max_length} must be 1 or more")
    encoded, state = net.encode(sources, run_cell)
    batch = sources.shape[1]
    rows = torch.arange(batch, device=sources.device).repeat_interleave(beam)
    encoded, state = encoded.select(rows), state[rows]
    # At the first step all hypotheses of a source are equal, so only the first one counts.
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
        log_probs = logits.log_softmax(1).view(batch, beam, -1)
        only_padding = torch.full_like(log_probs, -math.inf)
        only_padding[..., PADDING] = 0.0  # an ended hypothesis keeps its score
        log_probs = torch.where(ended[..., None], only_padding, log_probs)
        new_lengths = lengths + ~ended
        means = (totals[..., None] + log_probs) / new_lengths[..., None].clamp_min(1)
        _, best = means.flatten(1).topk(beam, dim=1)
        parents, tokens = best // log_probs.shape[2], best % log_probs.shape[2]
        totals = (totals[..., None] + log_probs).flatten(1).gather(1, best)
        lengths, ended = new_lengths.gather(1, parents), ended.gather(1, parents) | (tokens == END)
        rows = (parents + beam * torch.arange(batch, device=sources.device)[:, None]).flatten()
        state, last = state[rows], tokens.view(1, -1)
        words = torch.cat([words[:, rows], last])
    winners = (totals / lengths.clamp_min(1)).argmax(1)
    return words[:, winners + beam * torch.arange(batch, device=sources.device)]
