"""Recurrent language models and translators, compared with formulas."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT
from oracles.recurrent_supernet import FUNCTIONS
from torch import Tensor

from darts.data.words import BEGIN, END, PADDING, UNKNOWN
from darts.spaces.rank_dropout import set_batch_share
from darts.spaces.recurrent import (
    PUBLISHED,
    DiscreteCell,
    DropoutRates,
    Genotype,
    MixedCell,
    Network,
    Recurrent,
)
from darts.spaces.recurrent.cell import ModelSettings, RecurrentCell, locked_dropout, locked_mask
from darts.spaces.recurrent.encoder_decoder import EMBEDDING_STD, TranslationSettings
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.network import EmbeddingDecoder, TranslationNetwork
from darts.spaces.recurrent.supernet import TranslationSupernet

GENOTYPES = {name: entry.genotype for name, entry in PUBLISHED.items()} | {
    f"random-{seed}": Recurrent(nodes=1 + seed).random(torch.Generator().manual_seed(seed))
    for seed in range(5)
}


def make(genotype: Genotype, **dropouts: float) -> DiscreteCell:
    torch.manual_seed(0)
    cell = DiscreteCell(genotype, ModelSettings(4, 5, DropoutRates(**dropouts)))
    with torch.no_grad():
        for weight in cell.parameters():
            weight.mul_(25)
    return cell.double()


def sequence(steps: int = 5, size: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, size, 4, generator=draw, dtype=torch.float64)
    return inputs, torch.randn(size, 5, generator=draw, dtype=torch.float64)


def reference_outputs(
    cell: DiscreteCell, inputs: Tensor, hidden: Tensor, input_mask: Tensor, hidden_mask: Tensor
) -> Tensor:
    """Compute the cell node by node, as the paper describes it."""
    outputs = []
    first = torch.cat([cell.input_weight, cell.hidden_weight])
    for x in inputs:
        c, h = (torch.cat([x * input_mask, hidden * hidden_mask], 1) @ first).split(5, dim=1)
        states = [hidden + c.sigmoid() * (h.tanh() - hidden)]
        for node, (name, source) in enumerate(cell.genotype.recurrent):
            before = states[source]
            c, h = ((before * hidden_mask) @ cell.node_weights[node]).split(5, dim=1)
            states.append(before + c.sigmoid() * (FUNCTIONS[name](h) - before))
        hidden = sum(states[i] for i in cell.genotype.outputs) / len(cell.genotype.outputs)
        outputs.append(hidden)
    return torch.stack(outputs)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_the_cell_equals_the_node_by_node_computation(genotype: Genotype, training: bool) -> None:
    cell = make(genotype, input=0.4, hidden=0.3).train(training)
    inputs, hidden = sequence()
    for leaf in (inputs, hidden):
        leaf.requires_grad_()
    torch.manual_seed(2)
    one = torch.ones((), dtype=torch.float64)
    masks = (
        (locked_mask(cell, inputs, 0.4), locked_mask(cell, hidden, 0.3)) if training else (one, one)
    )
    expected = reference_outputs(cell, inputs, hidden, *masks)
    torch.manual_seed(2)
    actual, last = cell(inputs, hidden)
    torch.testing.assert_close(actual, expected, **EXACT)
    torch.testing.assert_close(last, expected[-1], **EXACT)
    leaves = [inputs, hidden, *cell.parameters()]
    weights = torch.arange(actual.numel(), dtype=torch.float64).cos().view_as(actual)
    sums = [(out * weights).sum() for out in (actual, expected)]
    both_gradients = [torch.autograd.grad(own, leaves) for own in sums]
    torch.testing.assert_close(*both_gradients, **EXACT)


@pytest.mark.parametrize(("name", "nodes"), [("DARTS_RNN_V1", 8), ("DARTS_RNN_V2", 8)])
def test_the_network_has_the_published_number_of_parameters(name: str, nodes: int) -> None:
    """23 million: tied embedding, decoder bias, and the weights of the cell."""
    entry = PUBLISHED[name]
    net = Recurrent.reference(entry.genotype).network(entry.genotype, vocab_size=10_000)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == 10_000 * 850 + 10_000 + 1700 * 1700 + nodes * 850 * 1700 == 22_960_000
    assert count / 1e6 == pytest.approx(entry.parameters_million, abs=0.5)
    for parameter in net.parameters():
        assert float(parameter.detach().abs().max()) <= 0.04


def test_untied_weights_add_a_decoder_matrix() -> None:
    genotype = PUBLISHED["DARTS_RNN_V2"].genotype
    net = Network(genotype, 20, ModelSettings(6, 4, tied=False))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == 20 * 6 + 20 * 4 + 20 + 10 * 8 + 8 * 4 * 8
    with pytest.raises(ValueError, match="embedding=6 and hidden=4 must be equal"):
        Network(genotype, 20, ModelSettings(6, 4))


def network(**dropouts: float) -> Network:
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_RNN_V1"].genotype
    return Network(genotype, 11, ModelSettings(5, 5, DropoutRates(**dropouts))).double()


def test_outputs_before_and_after_dropout() -> None:
    net = network(output=0.5)
    tokens = torch.randint(11, (4, 3))
    out = net(tokens)
    assert out.logits.shape == (4, 3, 11)
    assert out.raw.shape == out.dropped.shape == (4, 3, 5)
    torch.testing.assert_close(out.hidden, out.raw[-1], **EXACT)
    torch.testing.assert_close(out.logits, out.dropped @ net.words.embedding.T, **EXACT)
    dropped = out.dropped == 0
    torch.testing.assert_close(out.dropped[~dropped], 2 * out.raw[~dropped], **EXACT)
    assert bool((dropped == dropped[0]).all())  # the same mask at every step
    assert dropped.any()
    assert not dropped.all()


def test_splitting_a_sequence_does_not_change_the_outputs() -> None:
    net = network(hidden=0.5, output=0.5).eval()
    tokens = torch.randint(11, (7, 3))
    whole = net(tokens)
    first = net(tokens[:3])
    second = net(tokens[3:], first.hidden)
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits, **EXACT)
    torch.testing.assert_close(second.hidden, whole.hidden, **EXACT)


def test_a_rank_uses_its_rows_of_the_mask_of_the_whole_batch() -> None:
    x, module = torch.ones(2, 7, 5), torch.nn.Identity()
    torch.manual_seed(0)
    whole = locked_dropout(module, x, 0.5)
    torch.manual_seed(0)
    set_batch_share(module, 4, 7)
    assert torch.equal(locked_dropout(module, x[:, :3], 0.5), whole[:, 4:7])


def test_word_dropout_drops_a_word_at_all_positions() -> None:
    torch.manual_seed(0)
    words = EmbeddingDecoder(9, ModelSettings(4, 4, DropoutRates(word=0.4))).double()
    weight, tokens = words.embedding.detach(), torch.randint(9, (30, 5))
    actual = words.embed(tokens).detach()
    dropped = {word for word in range(9) if not actual[tokens == word].any()}
    assert 0 < len(dropped) < 9
    for word in set(range(9)) - dropped:
        expected = (weight[word] / 0.6).expand(int((tokens == word).sum()), -1)
        torch.testing.assert_close(actual[tokens == word], expected, **EXACT)
    assert torch.equal(words.eval().embed(tokens), weight[tokens])


@pytest.mark.parametrize("name", ["word", "embedding", "input", "hidden", "output", "weight"])
def test_each_dropout_rate_acts_only_in_training(name: str) -> None:
    net, tokens = network(**{name: 0.5}), torch.randint(11, (4, 3))
    plain = network().eval()(tokens).logits
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(net(tokens).logits)
    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert not torch.allclose(draws[0], draws[2])
    assert not torch.allclose(draws[0], plain)
    torch.testing.assert_close(net.eval()(tokens).logits, plain, rtol=0, atol=0)


def test_weight_dropout_drops_hidden_to_hidden_weights() -> None:
    genotype = Genotype([("identity", 0)], (1,))
    cell = make(genotype, weight=0.5)
    inputs, hidden = sequence(steps=1)
    inputs.zero_()
    torch.manual_seed(4)
    actual, _ = cell(inputs, hidden)
    torch.manual_seed(4)
    weight = torch.nn.functional.dropout(cell.hidden_weight, 0.5)
    with torch.no_grad():
        other = make(genotype)
        other.hidden_weight.copy_(weight)
    torch.testing.assert_close(actual, other(inputs, hidden)[0], **EXACT)


CELL = Genotype(recurrent=[("tanh", 0), ("relu", 1), ("sigmoid", 1)], concat=range(1, 4))
SIZES: dict[str, Any] = {"embedding": 6, "hidden": 5}
WORDS = 7  # size of the target vocabulary, special tokens included
NEVER = [PADDING, UNKNOWN, BEGIN]  # tokens that are never generated

COPYING = {"joint": True, "copy": True}


def translator(sources: int = 9, **more: Any) -> TranslationNetwork:
    torch.manual_seed(0)
    settings = TranslationSettings(sources=sources, targets=WORDS, **SIZES, **more)
    net = TranslationNetwork(CELL, settings).double().eval()
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
    given = (logits.flatten(0, 1), targets.flatten())
    rows = F.cross_entropy(*given, ignore_index=PADDING, reduction="none")
    return rows.view(targets.shape).sum(0).tolist()


def translators() -> list[TranslationNetwork]:
    """Return one network with two vocabularies, and one that copies words of the source."""
    return [translator(), translator(WORDS, **COPYING)]


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
    net = translator()
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
    net, plain = translator(WORDS, **COPYING), translator(WORDS, joint=True)
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
        return sum(weight.numel() for weight in translator(WORDS, **more).parameters())

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
def test_the_initialization_keeps_long_gradients(mixed: bool, low: float, high: float) -> None:
    """After 40 steps, the gradient is of order 1; the base class's initialization explodes."""
    torch.manual_seed(0)
    cell = MixedCell(ModelSettings(32, 32), 4)
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
    settings = TranslationSettings(sources=WORDS, targets=WORDS, **SIZES, **more)
    net = TranslationSupernet(settings, nodes=2)
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
    settings = TranslationSettings(sources=9, targets=WORDS, **SIZES)
    net = TranslationSupernet(settings, nodes=2).double().eval()
    sources, inputs = sentences(3, 5), shifted(sentences(4, 2, seed=1, words=WORDS))
    shared = torch.rand(3, 5, dtype=torch.float64).softmax(-1)
    same = net(sources, {"recurrent": shared.expand(3, 3, 5)}, inputs=inputs)
    assert torch.equal(same, net(sources, {"recurrent": shared}, inputs=inputs))
    for cell in range(3):
        weights = shared.repeat(3, 1, 1)
        weights[cell] = weights[cell].flip(-1)
        assert not torch.allclose(net(sources, {"recurrent": weights}, inputs=inputs), same)


def test_dropout_acts_only_in_training() -> None:
    net = translator(dropouts=DropoutRates(embedding=0.5, output=0.5, hidden=0.3))
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
