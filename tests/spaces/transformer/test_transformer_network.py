"""The discrete networks of the transformer space: against what is written out word by word."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from both_transformer import CLASSES, EXACT, WORDS, stirred, texts
from torch import Tensor

from darts.spaces.transformer import (
    FEED_FORWARDS,
    MIXERS,
    Genotype,
    Network,
    ModelConfig,
    TextClassifier,
    random_genotype,
)
from darts.spaces.transformer.frame import PositionalEncoding, sinusoidal_table
from darts.spaces.transformer.layers import dropped

WIDTH = 8
GENOTYPES = {
    **{m: Genotype(((m, f),)) for m, f in zip(MIXERS, (*FEED_FORWARDS, "gelu_4"), strict=True)},
    "all": Genotype(tuple(zip(MIXERS, (*FEED_FORWARDS[::-1], "relu_1"), strict=True))),
}
EVERY = GENOTYPES["all"]


def make(kind: str, genotype: Genotype = EVERY, path: float = 0.0, **sizes: Any) -> Any:
    torch.manual_seed(0)
    size = ModelConfig(WIDTH, **sizes)
    if kind == "language":
        return stirred(Network(genotype, WORDS, config=size, drop_path=path))
    made = TextClassifier(genotype, classes=CLASSES, words=WORDS, config=size, drop_path=path)
    return stirred(made)


def norm(x: Tensor, module: Any) -> Tensor:
    centerd = x - x.mean()
    return centerd / (centerd.square().mean() + 1e-5).sqrt() * module.weight + module.bias


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def attended(y: list[Tensor], layer: Any, heads: int, causal: bool) -> list[Tensor]:
    """Head by head and word by word."""
    size = WIDTH // heads
    queries, keys, values = ([m @ word for word in y] for m in layer.project.weight.split(WIDTH))
    found = []
    for place, query in enumerate(queries):
        seen = range(place + 1) if causal else range(len(y))
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = [float(query[own] @ keys[i][own]) / math.sqrt(size) for i in seen]
            shares = [math.exp(score) for score in scores]
            parts.append(sum(s * values[i][own] for s, i in zip(shares, seen, strict=True)))
            parts[-1] = parts[-1] / sum(shares)
        found.append(layer.out.weight @ torch.cat(parts))
    return found


def convolved(y: list[Tensor], layer: Any, taps: int, causal: bool) -> list[Tensor]:
    """Word by word and tap by tap."""
    found = []
    for place in range(len(y)):
        total = torch.zeros(WIDTH, dtype=torch.float64)
        for tap in range(taps):
            other = place + tap - (taps - 1 if causal else (taps - 1) // 2)
            if 0 <= other < len(y):
                total = total + layer.kernel[:, tap] * y[other]
        found.append(total)
    return found


def blocks_by_hand(net: Any, tokens: list[int], causal: bool) -> list[Tensor]:
    """What the norm behind the blocks puts out for each word of one text."""
    table = net.frame.embedding.table
    x = []
    for place, token in enumerate(tokens):
        wave = []
        for i in range(WIDTH // 2):
            angle = place / 10_000 ** (2 * i / WIDTH)
            wave += [math.sin(angle), math.cos(angle)]
        x.append(table[token] * math.sqrt(WIDTH) + torch.tensor(wave, dtype=torch.float64))
    for block, (mixer, feed_forward) in zip(net.blocks, net.genotype.blocks, strict=True):
        if mixer != "identity":
            kind, number = mixer.split("_")
            mix = attended if kind == "attention" else convolved
            y = [norm(word, block.mixer.norm) for word in x]
            more = mix(y, block.mixer, int(number), causal)
            x = [a + b for a, b in zip(x, more, strict=True)]
        layer = block.feed_forward
        activation, ratio = feed_forward.split("_")
        assert layer.up.out_features == int(ratio) * WIDTH
        for i, word in enumerate(x):
            inside = layer.up.weight @ norm(word, layer.norm) + layer.up.bias
            function = gelu if activation == "gelu" else lambda v: max(v, 0.0)
            units = [function(value) for value in inside.tolist()]
            x[i] = word + layer.down.weight @ torch.tensor(units, dtype=torch.float64)
    return [norm(word, net.frame.norm) for word in x]


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_a_language_model_is_the_plain_one(genotype: Genotype) -> None:
    net = make("language", genotype)
    tokens = torch.randint(WORDS, (9, 2))
    out = net(tokens)
    assert out.hidden.shape == (2, 0)
    assert out.logits.shape == (9, 2, WORDS)
    for column in range(2):
        words = blocks_by_hand(net, tokens[:, column].tolist(), causal=True)
        wanted = torch.stack([net.frame.embedding.table @ w + net.frame.bias for w in words])
        torch.testing.assert_close(out.raw[:, column], torch.stack(words), **EXACT)
        torch.testing.assert_close(out.logits[:, column], wanted, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_a_classifier_is_the_plain_one_of_each_text_without_padding(genotype: Genotype) -> None:
    net = make("classifier", genotype)
    lengths = (9, 1, 4)
    tokens = texts(*lengths)
    logits = net(tokens)
    assert logits.shape == (3, CLASSES)
    head = net.frame.classifier
    for column, length in enumerate(lengths):
        words = blocks_by_hand(net, tokens[:length, column].tolist(), causal=False)
        mean = torch.stack(words).sum(0) / length
        torch.testing.assert_close(logits[column], head.weight @ mean + head.bias, **EXACT)
    with_head, none = net(tokens, auxiliary=True)
    assert none is None
    assert torch.equal(with_head, logits)


def test_no_word_hears_of_those_behind_it() -> None:
    net = make("language").eval()
    tokens = torch.randint(WORDS, (7, 2))
    for place in range(1, 7):
        changed = tokens.clone()
        changed[place:] = (changed[place:] + 1) % WORDS
        first, second = net(tokens).logits, net(changed).logits
        torch.testing.assert_close(first[:place], second[:place], **EXACT)
        assert not torch.allclose(first[place], second[place])


@pytest.mark.parametrize("mixer", MIXERS)
def test_how_far_a_word_is_heard(mixer: str) -> None:
    """By gradients: which words the one in the middle of a text hears of."""
    kind, _, number = mixer.partition("_")
    reach = {"attention": 99, "conv": int(number or 0) // 2, "identity": 0}[kind]
    for causal in (False, True):
        net = make("language" if causal else "classifier", Genotype(((mixer, "relu_1"),))).eval()
        net.frame.embedding.table.requires_grad_(False)
        x = torch.randn(1, 21, WIDTH, dtype=torch.float64, requires_grad=True)
        block, sight = net.blocks[0], net.frame.sight(torch.ones(21, 1, dtype=torch.int64))
        (slope,) = torch.autograd.grad(block(x, sight)[0, 10].square().sum(), x)
        heard = {i for i in range(21) if bool(slope[0, i].any())}
        before = 2 * reach if causal else reach
        wanted = range(10 - before, 11 if causal else 11 + reach)
        assert heard == set(wanted) & set(range(21))


def test_a_text_hears_nothing_of_padding_and_neighbors() -> None:
    net = make("classifier").eval()
    tokens = texts(9, 1, 6)
    together = net(tokens)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % WORDS
    torch.testing.assert_close(net(changed)[1:], together[1:], **EXACT)
    longer = torch.cat([tokens, torch.zeros(5, 3, dtype=torch.int64)])
    torch.testing.assert_close(net(longer), together, **EXACT)
    torch.testing.assert_close(net(tokens[:, [2, 0, 1]]), together[[2, 0, 1]], **EXACT)


def test_places_by_sines_and_learned() -> None:
    """Of the shortest wave 2 pi places, of the max_length 20,000 pi."""
    table = sinusoidal_table(50, 6, torch.float64, torch.device("cpu"))
    for place in (0, 1, 49):
        for i in range(3):
            angle = place / 10_000 ** (i / 3)
            pair = table[place, 2 * i : 2 * i + 2].tolist()
            assert pair == pytest.approx([math.sin(angle), math.cos(angle)])
    x = torch.randn(2, 5, WIDTH)
    learned = PositionalEncoding(ModelConfig(WIDTH, "learned", max_length=5))
    assert learned.table is not None
    torch.testing.assert_close(learned(x), x + learned.table)
    torch.testing.assert_close(learned(x[:, :3]), x[:, :3] + learned.table[:3])
    with pytest.raises(ValueError, match="5 places are learned, and a text has 6 words"):
        learned(torch.randn(1, 6, WIDTH))
    sines = PositionalEncoding(ModelConfig(WIDTH, max_length=5))
    assert list(sines.parameters()) == []
    with torch.inference_mode():
        sines(torch.randn(1, 6, WIDTH))
    y = torch.randn(1, 6, WIDTH, requires_grad=True)  # what inference has seen may be trained with
    sines(y).sum().backward()


def test_dropout_keeps_the_mean_and_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    x = torch.ones(30, 40, 5, dtype=torch.float64)
    found = dropped(x, 0.25, True)
    assert set(found.unique().tolist()) == {0.0, 1 / 0.75}
    assert float((found == 0).double().mean()) == pytest.approx(0.25, abs=0.02)
    assert dropped(x, 0.25, False) is x
    assert dropped(x, 0.0, True) is x


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"path": 0.4}], ids=["dropout", "path"])
@pytest.mark.parametrize("kind", ["language", "classifier"])
def test_what_is_dropped(kind: str, options: dict[str, float]) -> None:
    """In training alone, by the default generator, and for a part of a batch as for all of it."""
    net, tokens = make(kind, **options), texts(6, 6, 6, 6, 6)
    plain = make(kind).eval()(tokens)

    def said(given: Tensor, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        out = net(given)
        return out if kind == "classifier" else out.logits.transpose(0, 1)

    whole = said(tokens)
    assert torch.equal(said(tokens), whole)
    assert not torch.allclose(said(tokens, 1), whole)
    net.rows = (3, 5)
    torch.testing.assert_close(said(tokens[:, 3:]), whole[3:], **EXACT)
    net.rows = None
    assert not torch.allclose(said(tokens[:, 3:]), whole[3:])
    wanted = plain if kind == "classifier" else plain.logits.transpose(0, 1)
    net.eval()
    assert torch.equal(said(tokens), wanted)


def test_a_dropped_path_leaves_a_text_as_it_is() -> None:
    """Whole texts, of each layer anew, and what is left is scaled to keep the mean."""
    torch.manual_seed(0)
    net = make("classifier", Genotype((("attention_2", "relu_1"),)))
    x = torch.randn(64, 3, WIDTH, dtype=torch.float64)
    block, sight = net.blocks[0], net.frame.sight(torch.ones(3, 64, dtype=torch.int64))
    mixed = 2 * block.mixer(x, sight)
    found = block(x, sight, path=0.5)
    cases = {
        (a, b): x + a * mixed + 2 * b * block.feed_forward(x + a * mixed)
        for a in (0, 1)
        for b in (0, 1)
    }
    seen = [
        next(case for case, wanted in cases.items() if torch.allclose(found[i], wanted[i]))
        for i in range(64)
    ]
    assert set(seen) == set(cases)
    torch.testing.assert_close(block.eval()(x, sight, path=0.5), block(x, sight), **EXACT)


def test_outputs_may_be_regularized() -> None:
    net = make("language", dropout=0.5)
    out = net(torch.randint(WORDS, (9, 4)))
    gone = out.dropped == 0
    assert 0.3 < float(gone.double().mean()) < 0.7
    torch.testing.assert_close(out.dropped[~gone], 2 * out.raw[~gone], **EXACT)
    wanted = out.dropped @ net.frame.embedding.table.T + net.frame.bias
    torch.testing.assert_close(out.logits, wanted, **EXACT)


def test_sizes() -> None:
    width, words = 16, 100
    for seed in range(5):
        genotype = random_genotype(torch.Generator().manual_seed(seed), 3)
        wanted = 2 * width  # the norm behind the blocks
        for mixer, feed_forward in genotype.blocks:
            kind, _, number = mixer.partition("_")
            wanted += {
                "attention": 2 * width + 4 * width**2,
                "conv": 2 * width + int(number or 0) * width,
                "identity": 0,
            }[kind]
            ratio = int(feed_forward.split("_")[1])
            wanted += 2 * width + 2 * ratio * width**2 + ratio * width
        model = Network(genotype, words, config=ModelConfig(width))
        classifier = TextClassifier(genotype, classes=5, words=words, config=ModelConfig(width))
        found = [sum(p.numel() for p in net.parameters()) for net in (model, classifier)]
        assert found == [
            wanted + words * width + words,  # the decoder shares the embeddings
            wanted + words * width + 5 * width + 5,
        ]


def test_what_it_cannot_be_is_refused_in_one_line() -> None:
    cases: list[tuple[Any, str]] = [
        (lambda: ModelConfig(12), "space.hidden=12 cannot be shared out among 8 heads"),
        (lambda: ModelConfig(0), "width=0: must be an integer >= 1"),
        (lambda: ModelConfig(8, max_length=0), "max_length=0: must be an integer >= 1"),
        (lambda: ModelConfig(8, "none"), "unknown positions 'none'; choose from sinusoidal, learned"),
        (lambda: ModelConfig(8, dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: Network(EVERY, 7, drop_path=1.0), "drop_path must be at least 0 and below 1"),
        (lambda: Network(EVERY, 0), "words=0: must be an integer >= 1"),
        (
            lambda: TextClassifier(EVERY, classes=0, words=7),
            "classes=0: must be an integer >= 1",
        ),
        (lambda: make("language")(torch.ones(3).long()), r"tokens must be \(T, B\), got \(3,\)"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["language", "classifier"])
def test_mixed_precision_is_near_the_exact_result(kind: str) -> None:
    torch.manual_seed(0)
    size, tokens = ModelConfig(16), texts(7, 2, 5)
    net: Any = Network(EVERY, WORDS, config=size)
    if kind == "classifier":
        net = TextClassifier(EVERY, classes=CLASSES, words=WORDS, config=size)
    exact = net(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(tokens)
    pair = (rounded, exact) if kind == "classifier" else (rounded.logits, exact.logits)
    assert (pair[0].float() - pair[1]).norm() < 0.05 * pair[1].norm()
