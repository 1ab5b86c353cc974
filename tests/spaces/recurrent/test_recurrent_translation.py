"""Translators around recurrent cells, against what is written out plainly."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.words import BEGIN, END, PADDING
from darts.spaces.recurrent import Dropouts, Genotype, Recurrent
from darts.spaces.recurrent.translation import TranslationNetwork, TranslationSupernet
from darts.spaces.recurrent.translator import reversal

CELL = Genotype(recurrent=[("tanh", 0), ("relu", 1), ("sigmoid", 1)], concat=range(1, 4))
SIZES: dict[str, Any] = {"embedding": 6, "hidden": 5}
WORDS = 7  # of the target, the special ones among them


def network(**more: Any) -> TranslationNetwork:
    torch.manual_seed(0)
    net = TranslationNetwork(CELL, 9, WORDS, **SIZES, **more).double().eval()
    for weight in net.parameters():  # far from the small values that training begins with
        weight.data = torch.randn_like(weight)
    return net


def sentences(*lengths: int, seed: int = 0, words: int = 9) -> Tensor:
    """Random words, ended and padded, ``(longest, B)``."""
    draw = torch.Generator().manual_seed(seed)
    columns = torch.full((max(lengths), len(lengths)), PADDING)
    for number, length in enumerate(lengths):
        columns[: length - 1, number] = torch.randint(4, words, (length - 1,), generator=draw)
        columns[length - 1, number] = END
    return columns


def shifted(targets: Tensor) -> Tensor:
    return torch.cat([torch.full_like(targets[:1], BEGIN), targets[:-1]])


def losses(net: Any, sources: Tensor, targets: Tensor) -> list[float]:
    """Sum of the cross entropy of each sentence."""
    logits = net(sources, inputs=shifted(targets))
    rows = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction="none"
    )
    return rows.view(targets.shape).sum(0).tolist()


def test_the_loss_of_a_sentence_does_not_depend_on_its_neighbours() -> None:
    net = network()
    sources, targets = sentences(2, 7, 4), sentences(6, 1, 3, seed=1, words=WORDS)
    together = losses(net, sources, targets)
    for number, (s, t) in enumerate(((2, 6), (7, 1), (4, 3))):
        alone = losses(net, sources[:s, [number]], targets[:t, [number]])
        assert alone[0] == pytest.approx(together[number], rel=1e-10)


def test_what_is_said_does_not_depend_on_neighbours_either() -> None:
    net = network()
    sources = sentences(2, 7, 4)
    for beam in (1, 3):
        together = net(sources, longest=6, beam=beam)
        for number, length in enumerate((2, 7, 4)):
            alone = net(sources[:length, [number]], longest=6, beam=beam)[:, 0]
            assert said(alone) == said(together[:, number])


def said(column: Tensor) -> list[int]:
    """The words up to the end."""
    words = column.tolist()
    return words[: words.index(END) + 1] if END in words else words


def test_greedy_words_are_the_best_behind_those_before_them() -> None:
    net = network()
    sources = sentences(5, 3)
    found = net(sources, longest=8)
    for number in range(2):
        own = sources[:, [number]]
        words: list[int] = []
        while len(words) < 8 and END not in words:
            logits = net(own, inputs=torch.tensor([[BEGIN, *words]]).t())[-1, 0]
            logits[[PADDING, BEGIN]] = -math.inf
            words.append(int(logits.argmax()))
        assert said(found[:, number]) == words


@torch.no_grad()
def test_a_wide_beam_finds_the_best_of_all_sentences() -> None:
    """Every sentence of up to three words is scored by its mean, one by one."""
    net = network()
    source = sentences(4)
    usable = [word for word in range(WORDS) if word not in (PADDING, BEGIN)]
    best, wanted = -math.inf, None
    for length in (1, 2, 3):
        for words in itertools.product(usable, repeat=length):
            if END in words[:-1] or (length < 3 and words[-1] != END):
                continue
            logits = net(source, inputs=torch.tensor([[BEGIN, *words[:-1]]]).t())[:, 0]
            logits[:, [PADDING, BEGIN]] = -math.inf
            steps = logits.log_softmax(1)[range(length), list(words)]
            if float(steps.mean()) > best:
                best, wanted = float(steps.mean()), list(words)
    assert said(net(source, longest=3, beam=len(usable) ** 3)[:, 0]) == wanted


@pytest.mark.parametrize(("beam", "longest"), [(0, 3), (1, 0)])
def test_no_beam_and_no_length_are_refused(beam: int, longest: int) -> None:
    with pytest.raises(ValueError, match=f"beam={beam} and longest={longest} must be 1 or more"):
        network()(sentences(2), longest=longest, beam=beam)


def test_turning_sentences_round_twice_changes_nothing() -> None:
    lengths = torch.tensor([1, 4, 6, 3])
    turned = reversal(lengths, 6)
    assert turned.gather(0, turned).tolist() == [[place] * 4 for place in range(6)]
    assert turned[:, 1].tolist() == [3, 2, 1, 0, 4, 5]


def test_the_supernet_learns_all_its_weights_and_alphas() -> None:
    torch.manual_seed(0)
    net = TranslationSupernet(9, WORDS, **SIZES, nodes=2)
    sources, targets = sentences(2, 7, 4), sentences(6, 1, 3, seed=1, words=WORDS)
    logits = net(sources, None, inputs=shifted(targets))
    F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name
    assert net.counts == {"recurrent": 3}
    assert len(net.weight_parameters()) == len(list(net.parameters())) - 1


def test_three_cells_may_have_mixing_weights_of_their_own() -> None:
    torch.manual_seed(0)
    net = TranslationSupernet(9, WORDS, **SIZES, nodes=2).double().eval()
    sources, inputs = sentences(3, 5), shifted(sentences(4, 2, seed=1, words=WORDS))
    shared = torch.rand(3, 5, dtype=torch.float64).softmax(-1)
    same = net(sources, {"recurrent": shared.expand(3, 3, 5)}, inputs=inputs)
    assert torch.equal(same, net(sources, {"recurrent": shared}, inputs=inputs))
    for cell in range(3):
        own = shared.repeat(3, 1, 1)
        own[cell] = own[cell].flip(-1)
        assert not torch.allclose(net(sources, {"recurrent": own}, inputs=inputs), same)


def test_dropout_is_for_training() -> None:
    net = network(dropouts=Dropouts(embedding=0.5, output=0.5, hidden=0.3))
    sources, inputs = sentences(3, 5), shifted(sentences(4, 2, seed=1, words=WORDS))
    assert torch.equal(net(sources, inputs), net(sources, inputs))
    net.train()
    assert not torch.equal(net(sources, inputs), net(sources, inputs))


def test_the_space_makes_translators_for_pairs() -> None:
    space = Recurrent(nodes=2, embedding=6, hidden=5, tied=False)
    genotype = space.random(torch.Generator().manual_seed(0))
    net = space.network(genotype, sources=9, targets=WORDS)
    assert isinstance(net, TranslationNetwork)
    assert net.decoder is not None
    assert isinstance(space.supernet(sources=9, targets=WORDS), TranslationSupernet)
    with pytest.raises(ValueError, match="drops no weights"):
        Recurrent(weight_dropout=0.1).supernet(sources=9, targets=WORDS)
