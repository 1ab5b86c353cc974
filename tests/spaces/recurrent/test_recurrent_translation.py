"""Encoder-decoders with recurrent cells: attention, copying, beam search, training."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.words import BEGIN, END, PADDING, UNKNOWN
from darts.spaces.recurrent import DropoutRates, Genotype, MixedCell, Recurrent
from darts.spaces.recurrent.cell import RecurrentCell
from darts.spaces.recurrent.encoder_decoder import EMBEDDING_STD
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.network import TranslationNetwork
from darts.spaces.recurrent.supernet import TranslationSupernet

CELL = Genotype(recurrent=[("tanh", 0), ("relu", 1), ("sigmoid", 1)], concat=range(1, 4))
SIZES: dict[str, Any] = {"embedding": 6, "hidden": 5}
WORDS = 7  # size of the target vocabulary, special tokens included
NEVER = [PADDING, UNKNOWN, BEGIN]  # tokens that are never generated

COPYING = {"joint": True, "copy": True}


def network(sources: int = 9, **more: Any) -> TranslationNetwork:
    torch.manual_seed(0)
    net = TranslationNetwork(CELL, sources, WORDS, **SIZES, **more).double().eval()
    for weight in net.parameters():  # larger than the initial weights
        weight.data = torch.randn_like(weight)
    return net


def sentences(*lengths: int, seed: int = 0, words: int = 9) -> Tensor:
    """Return random sentences with end token and padding, ``(max(lengths), B)``."""
    draw = torch.Generator().manual_seed(seed)
    columns = torch.full((max(lengths), len(lengths)), PADDING)
    for number, length in enumerate(lengths):
        columns[: length - 1, number] = torch.randint(4, words, (length - 1,), generator=draw)
        columns[length - 1, number] = END
    return columns


def shifted(targets: Tensor) -> Tensor:
    return torch.cat([torch.full_like(targets[:1], BEGIN), targets[:-1]])


def losses(net: Any, sources: Tensor, targets: Tensor) -> list[float]:
    logits = net(sources, inputs=shifted(targets))
    rows = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction="none"
    )
    return rows.view(targets.shape).sum(0).tolist()


def translators() -> list[TranslationNetwork]:
    """Return one network with two vocabularies, and one that copies words of the source."""
    return [network(), network(WORDS, **COPYING)]


@pytest.mark.parametrize("net", translators(), ids=["two vocabularies", "copy"])
def test_the_loss_of_a_sentence_does_not_depend_on_its_batch(net: TranslationNetwork) -> None:
    sources = sentences(2, 7, 4, words=WORDS)
    targets = sentences(6, 1, 3, seed=1, words=WORDS)
    together = losses(net, sources, targets)
    for number, (s, t) in enumerate(((2, 6), (7, 1), (4, 3))):
        alone = losses(net, sources[:s, [number]], targets[:t, [number]])
        assert alone[0] == pytest.approx(together[number], rel=1e-10)


@pytest.mark.parametrize("net", translators(), ids=["two vocabularies", "copy"])
def test_decoded_words_do_not_depend_on_the_batch(net: TranslationNetwork) -> None:
    sources = sentences(2, 7, 4, words=WORDS)
    for beam in (1, 3):
        together = net(sources, max_length=6, beam=beam)
        for number, length in enumerate((2, 7, 4)):
            alone = net(sources[:length, [number]], max_length=6, beam=beam)[:, 0]
            assert until_end(alone) == until_end(together[:, number])


def until_end(column: Tensor) -> list[int]:
    words = column.tolist()
    return words[: words.index(END) + 1] if END in words else words


@pytest.mark.parametrize("net", translators(), ids=["two vocabularies", "copy"])
def test_greedy_decoding_takes_the_most_probable_word_at_each_step(net: TranslationNetwork) -> None:
    sources = sentences(5, 3, words=WORDS)
    actual = net(sources, max_length=8)
    for number in range(2):
        source = sources[:, [number]]
        words: list[int] = []
        while len(words) < 8 and END not in words:
            logits = net(source, inputs=torch.tensor([[BEGIN, *words]]).t())[-1, 0]
            logits[NEVER] = -math.inf
            words.append(int(logits.argmax()))
        assert until_end(actual[:, number]) == words


@torch.no_grad()
def test_an_exhaustive_beam_finds_the_best_sentence() -> None:
    """The best of all sentences of up to three words, scored by mean log-probability."""
    net = network()
    source = sentences(4)
    usable = [word for word in range(WORDS) if word not in NEVER]
    best, expected = -math.inf, None
    for length in (1, 2, 3):
        for words in itertools.product(usable, repeat=length):
            if END in words[:-1] or (length < 3 and words[-1] != END):
                continue
            logits = net(source, inputs=torch.tensor([[BEGIN, *words[:-1]]]).t())[:, 0]
            logits[:, NEVER] = -math.inf
            steps = logits.log_softmax(1)[range(length), list(words)]
            if float(steps.mean()) > best:
                best, expected = float(steps.mean()), list(words)
    assert until_end(net(source, max_length=3, beam=len(usable) ** 3)[:, 0]) == expected


@torch.no_grad()
def test_output_probabilities_match_the_pointer_generator_equation() -> None:
    """Equation 9 of arXiv:1704.04368, computed word by word."""
    net, plain = network(WORDS, **COPYING), network(WORDS, joint=True)
    plain.load_state_dict(net.state_dict(), strict=False)
    sources, inputs = sentences(5, 3, words=WORDS), shifted(sentences(4, 2, seed=1, words=WORDS))
    assert len(set(sources[:, 0].tolist())) < 5  # a word occurs twice
    generated, actual = plain(sources, inputs=inputs).softmax(2), net(sources, inputs=inputs).exp()

    encoded, state = net.encode(sources, [()] * 3)
    embedded = net.target_words[inputs]
    outputs, _ = net.decoder_cell(embedded, state)
    for t, b in itertools.product(range(4), range(2)):
        count = int((sources[:, b] != PADDING).sum())
        scores = (encoded.keys[b, :count] @ outputs[t, b]) / math.sqrt(SIZES["hidden"])
        attention = scores.softmax(0)
        context = attention @ encoded.values[b, :count]
        features = torch.cat([outputs[t, b], context, embedded[t, b]])
        generate = float(torch.sigmoid(net.pointer.choice(features)))
        for word in range(WORDS):
            copied = sum(float(attention[s]) for s in range(count) if sources[s, b] == word)
            expected = generate * float(generated[t, b, word]) + (1 - generate) * copied
            assert float(actual[t, b, word]) == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(actual.sum(2), torch.ones(4, 2, dtype=torch.float64))


def test_a_joint_vocabulary_shares_one_embedding_table() -> None:
    def count(**more: Any) -> int:
        return sum(weight.numel() for weight in network(WORDS, **more).parameters())

    assert count() - count(joint=True) == WORDS * SIZES["embedding"]
    assert count(**COPYING) - count(joint=True) == 3 * SIZES["hidden"] + SIZES["embedding"] + 1


@pytest.mark.parametrize("method", ["network", "supernet"])
def test_copying_needs_a_joint_vocabulary(method: str) -> None:
    space = Recurrent(nodes=2, embedding=6, hidden=5, copy=True)
    genotypes = [space.random(torch.Generator().manual_seed(0))] if method == "network" else []
    build = partial(getattr(space, method), *genotypes)
    with pytest.raises(ValueError, match="source and target must have one vocabulary"):
        build(sources=WORDS, targets=WORDS)
    with pytest.raises(ValueError, match="a language model has no source to copy words from"):
        build(vocab_size=WORDS)
    assert build(sources=WORDS, targets=WORDS, joint=True)


@pytest.mark.parametrize(("mixed", "low", "high"), [(True, 0.5, 5.0), (False, 10.0, 1e4)])
def test_the_initialization_keeps_gradients_over_long_sentences(
    mixed: bool, low: float, high: float
) -> None:
    """After 40 steps, the gradient is of order 1; the base class's initialization explodes."""
    torch.manual_seed(0)
    cell = MixedCell(32, 32, 4)
    initialize = (MixedCell if mixed else RecurrentCell).init_preserving_variance
    initialize(cell)
    hidden = torch.randn(32, 32, requires_grad=True)
    weights = torch.full((10, len(PRIMITIVES)), 1 / len(PRIMITIVES))
    _, last = cell(EMBEDDING_STD * torch.randn(40, 32, 32), hidden, weights)
    (gradient,) = torch.autograd.grad((last * torch.randn_like(last)).sum(), hidden)
    assert low < float(gradient.square().mean().sqrt()) < high


@pytest.mark.parametrize("more", [{}, COPYING])
def test_all_weights_and_alphas_of_the_supernet_get_gradients(more: dict[str, bool]) -> None:
    torch.manual_seed(0)
    net = TranslationSupernet(WORDS, WORDS, **SIZES, nodes=2, **more)
    sources = sentences(2, 7, 4, words=WORDS)
    targets = sentences(6, 1, 3, seed=1, words=WORDS)
    logits = net(sources, None, inputs=shifted(targets))
    F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name
    assert net.counts == {"recurrent": 3}
    assert len(net.weight_parameters()) == len(list(net.parameters())) - 1


def test_each_of_the_three_cells_can_have_its_own_mixing_weights() -> None:
    torch.manual_seed(0)
    net = TranslationSupernet(9, WORDS, **SIZES, nodes=2).double().eval()
    sources, inputs = sentences(3, 5), shifted(sentences(4, 2, seed=1, words=WORDS))
    shared = torch.rand(3, 5, dtype=torch.float64).softmax(-1)
    same = net(sources, {"recurrent": shared.expand(3, 3, 5)}, inputs=inputs)
    assert torch.equal(same, net(sources, {"recurrent": shared}, inputs=inputs))
    for cell in range(3):
        weights = shared.repeat(3, 1, 1)
        weights[cell] = weights[cell].flip(-1)
        assert not torch.allclose(net(sources, {"recurrent": weights}, inputs=inputs), same)


def test_dropout_acts_only_in_training() -> None:
    net = network(dropouts=DropoutRates(embedding=0.5, output=0.5, hidden=0.3))
    sources, inputs = sentences(3, 5), shifted(sentences(4, 2, seed=1, words=WORDS))
    assert torch.equal(net(sources, inputs), net(sources, inputs))
    net.train()
    assert not torch.equal(net(sources, inputs), net(sources, inputs))


def test_the_space_builds_encoder_decoders_for_sentence_pairs() -> None:
    space = Recurrent(nodes=2, embedding=6, hidden=5, tied=False)
    genotype = space.random(torch.Generator().manual_seed(0))
    net = space.network(genotype, sources=9, targets=WORDS)
    assert isinstance(net, TranslationNetwork)
    assert net.decoder is not None
    assert isinstance(space.supernet(sources=9, targets=WORDS), TranslationSupernet)
    with pytest.raises(ValueError, match="does not support weight dropout"):
        Recurrent(weight_dropout=0.1).supernet(sources=9, targets=WORDS)
