"""From a translator to words: the best next one, or several ways at once.

References:
    Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks",
    arXiv:1409.3215, section 3.2: beam search.
    Wu et al., "Google's Neural Machine Translation System", arXiv:1609.08144, section 7: scores by
    length; here the mean over the words.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darts.data.words import BEGIN, END, PADDING, UNKNOWN
from darts.spaces.recurrent.encoder_decoder import Run, EncoderDecoder


@torch.no_grad()
def decode(net: EncoderDecoder, sources: Tensor, run: Run, *, max_length: int, beam: int = 1) -> Tensor:
    """What a translator says of sources.

    Args:
        net: in whatever mode it is.
        sources: ``(S, B)``.
        run: runs its cells.
        max_length: words of a target, the end included.
        beam: how many ways are followed at once; 1 is greedy.

    Returns:
        ``(L, B)`` with L up to ``max_length``; behind an end there is padding.

    Raises:
        ValueError: for a beam or a length below 1.
    """
    if beam < 1 or max_length < 1:
        raise ValueError(f"beam={beam} and max_length={max_length} must be 1 or more")
    read, state = net.read(sources, run)
    batch = sources.shape[1]
    rows = torch.arange(batch, device=sources.device).repeat_interleave(beam)
    read, state = read.chosen(rows), state[rows]
    # Of equal ways only the first counts, until they differ.
    totals = torch.full((batch, beam), -math.inf, device=sources.device)
    totals[:, 0] = 0.0
    lengths = torch.zeros(batch, beam, device=sources.device)
    said = sources.new_zeros(0, batch * beam)
    last = sources.new_full((1, batch * beam), BEGIN)
    ended = torch.zeros(batch, beam, dtype=torch.bool, device=sources.device)
    while len(said) < max_length and not bool(ended.all()):
        logits, state = net.say(read, last, state, run)
        logits = logits[0].float()
        logits[:, [PADDING, UNKNOWN, BEGIN]] = -math.inf  # no words
        steps = logits.log_softmax(1).view(batch, beam, -1)
        stay = torch.full_like(steps, -math.inf)
        stay[..., PADDING] = 0.0  # an ended way goes on as it is
        steps = torch.where(ended[..., None], stay, steps)
        grown = lengths + ~ended
        means = (totals[..., None] + steps) / grown[..., None].clamp_min(1)
        _, places = means.flatten(1).topk(beam, dim=1)
        before, words = places // steps.shape[2], places % steps.shape[2]
        totals = (totals[..., None] + steps).flatten(1).gather(1, places)
        lengths, ended = grown.gather(1, before), ended.gather(1, before) | (words == END)
        own = (before + beam * torch.arange(batch, device=sources.device)[:, None]).flatten()
        state, last = state[own], words.view(1, -1)
        said = torch.cat([said[:, own], last])
    best = (totals / lengths.clamp_min(1)).argmax(1)
    return said[:, best + beam * torch.arange(batch, device=sources.device)]
