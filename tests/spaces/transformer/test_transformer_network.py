"""The discrete networks of the transformer space equal a computation word by word; their costs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracles.comparing import EXACT
from torch import Tensor
from transformer_supernets import CLASSES, WORDS, randomized, texts

from darts.data.words import PADDING
from darts.spaces.rank_dropout import set_batch_share
from darts.spaces.transformer import Genotype, ModelConfig, Network, Transformer
from darts.spaces.transformer.frame import PositionalEncoding
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS
from darts.spaces.transformer.supernet import GROUPS
from darts.training.cost import count_macs

WIDTH = 8
GENOTYPES = {
    **{m: Genotype(((m, f),)) for m, f in zip(MIXERS, (*FEED_FORWARDS, "gelu_4"), strict=True)},
    "all": Genotype(tuple(zip(MIXERS, (*FEED_FORWARDS[::-1], "relu_1"), strict=True))),
}
ALL = GENOTYPES["all"]


def make(task: str, genotype: Genotype = ALL, drop_path: float = 0.0, **sizes: Any) -> Any:
    torch.manual_seed(0)
    config, classes = ModelConfig(WIDTH, **sizes), None if task == "language" else CLASSES
    return randomized(Network(genotype, WORDS, classes=classes, config=config, drop_path=drop_path))


def norm(x: Tensor, module: Any) -> Tensor:
    centered = x - x.mean()
    return centered / (centered.square().mean() + 1e-5).sqrt() * module.weight + module.bias


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def attention(y: list[Tensor], layer: Any, heads: int, causal: bool) -> list[Tensor]:
    """Compute attention head by head and word by word."""
    size = WIDTH // heads
    queries, keys, values = ([m @ word for word in y] for m in layer.project.weight.split(WIDTH))
    outputs = []
    for position, query in enumerate(queries):
        visible = range(position + 1) if causal else range(len(y))
        head_outputs = []
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            scores = [float(query[rows] @ keys[i][rows]) / math.sqrt(size) for i in visible]
            weights = [math.exp(score) for score in scores]
            total = sum(w * values[i][rows] for w, i in zip(weights, visible, strict=True))
            head_outputs.append(total / sum(weights))
        outputs.append(layer.out.weight @ torch.cat(head_outputs))
    return outputs


def convolution(y: list[Tensor], layer: Any, taps: int, causal: bool) -> list[Tensor]:
    """Compute a convolution word by word and tap by tap."""
    outputs = []
    for position in range(len(y)):
        total = torch.zeros(WIDTH, dtype=torch.float64)
        for tap in range(taps):
            other = position + tap - (taps - 1 if causal else (taps - 1) // 2)
            if 0 <= other < len(y):
                total = total + layer.kernel[:, tap] * y[other]
        outputs.append(total)
    return outputs


def blocks_word_by_word(net: Any, tokens: list[int], causal: bool) -> list[Tensor]:
    """Return the output of the final norm for each word of one text."""
    table = net.frame.embedding.table
    x = []
    for position, token in enumerate(tokens):
        encoding = []
        for i in range(WIDTH // 2):
            angle = position / 10_000 ** (2 * i / WIDTH)
            encoding += [math.sin(angle), math.cos(angle)]
        x.append(table[token] * math.sqrt(WIDTH) + torch.tensor(encoding, dtype=torch.float64))
    for block, (mixer, feed_forward) in zip(net.blocks, net.genotype.blocks, strict=True):
        if mixer != "identity":
            operation, number = mixer.split("_")
            mix = attention if operation == "attention" else convolution
            y = [norm(word, block.mixer.norm) for word in x]
            mixed = mix(y, block.mixer, int(number), causal)
            x = [a + b for a, b in zip(x, mixed, strict=True)]
        layer = block.feed_forward
        activation, ratio = feed_forward.split("_")
        assert layer.up.out_features == int(ratio) * WIDTH
        for i, word in enumerate(x):
            hidden = layer.up.weight @ norm(word, layer.norm) + layer.up.bias
            function = gelu if activation == "gelu" else lambda v: max(v, 0.0)
            units = [function(value) for value in hidden.tolist()]
            x[i] = word + layer.down.weight @ torch.tensor(units, dtype=torch.float64)
    return [norm(word, net.frame.norm) for word in x]


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_the_language_model_equals_the_computation_word_by_word(genotype: Genotype) -> None:
    net = make("language", genotype)
    tokens = torch.randint(WORDS, (9, 2))
    out = net(tokens)
    assert out.hidden.shape == (2, 0)
    assert out.logits.shape == (9, 2, WORDS)
    for column in range(2):
        words = blocks_word_by_word(net, tokens[:, column].tolist(), causal=True)
        expected = torch.stack([net.frame.embedding.table @ w + net.frame.bias for w in words])
        torch.testing.assert_close(out.raw[:, column], torch.stack(words), **EXACT)
        torch.testing.assert_close(out.logits[:, column], expected, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_the_classifier_equals_the_computation_word_by_word(genotype: Genotype) -> None:
    net = make("classifier", genotype)
    lengths = (9, 1, 4)
    tokens = texts(*lengths)
    logits = net(tokens)
    assert logits.shape == (3, CLASSES)
    head = net.frame.classifier
    for column, length in enumerate(lengths):
        words = blocks_word_by_word(net, tokens[:length, column].tolist(), causal=False)
        mean = torch.stack(words).sum(0) / length
        torch.testing.assert_close(logits[column], head.weight @ mean + head.bias, **EXACT)


def test_sinusoidal_and_learned_positions() -> None:
    """Learned positions limit the length of a text."""
    x = torch.randn(2, 5, WIDTH)
    learned = PositionalEncoding(ModelConfig(WIDTH, "learned", max_length=5))
    torch.testing.assert_close(learned(x), x + learned.table)
    torch.testing.assert_close(learned(x[:, :3]), x[:, :3] + learned.table[:3])
    with pytest.raises(ValueError, match=r"space\.max_length=5: a text has 6 words"):
        learned(torch.randn(1, 6, WIDTH))
    sines = PositionalEncoding(ModelConfig(WIDTH, max_length=5))
    assert list(sines.parameters()) == []
    assert sines(torch.randn(1, 6, WIDTH)).shape == (1, 6, WIDTH)  # longer than max_length


@pytest.mark.parametrize(
    "options", [{"dropout": 0.3}, {"drop_path": 0.4}], ids=["dropout", "drop_path"]
)
@pytest.mark.parametrize("task", ["language", "classifier"])
def test_dropout_and_drop_path_do_not_depend_on_ranks(task: str, options: dict[str, float]) -> None:
    """They act only in training, use the default generator, and draw for the whole batch."""
    net, tokens = make(task, **options), texts(6, 6, 6, 6, 6)
    plain = make(task).eval()(tokens)

    def logits(texts: Tensor, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        out = net(texts)
        return out if task == "classifier" else out.logits.transpose(0, 1)

    whole = logits(tokens)
    assert torch.equal(logits(tokens), whole)
    assert not torch.allclose(logits(tokens, 1), whole)
    assert not torch.allclose(logits(tokens[:, 3:]), whole[3:])
    set_batch_share(net, 3, 5)
    torch.testing.assert_close(logits(tokens[:, 3:]), whole[3:], **EXACT)
    expected = plain if task == "classifier" else plain.logits.transpose(0, 1)
    net.eval()
    assert torch.equal(logits(tokens), expected)


def test_drop_path_drops_each_layer_of_a_text_independently() -> None:
    """All four combinations of two layers occur, and kept outputs are scaled by 2."""
    torch.manual_seed(0)
    net = make("classifier", Genotype((("attention_2", "relu_1"),)))
    x = torch.randn(64, 3, WIDTH, dtype=torch.float64)
    block = net.blocks[0]
    mask = net.frame.attention_mask(torch.ones(3, 64, dtype=torch.int64))
    mixed = 2 * block.mixer(x, mask)
    actual, _ = block(x, mask, drop_probability=0.5)
    cases = {
        (a, b): x + a * mixed + 2 * b * block.feed_forward(x + a * mixed)
        for a in (0, 1)
        for b in (0, 1)
    }
    observed = [
        next(case for case, expected in cases.items() if torch.allclose(actual[i], expected[i]))
        for i in range(64)
    ]
    assert set(observed) == set(cases)
    torch.testing.assert_close(
        block.eval()(x, mask, drop_probability=0.5)[0], block(x, mask)[0], **EXACT
    )


def test_outputs_before_and_after_dropout() -> None:
    net = make("language", dropout=0.5)
    out = net(torch.randint(WORDS, (9, 4)))
    is_zero = out.dropped == 0
    assert 0.3 < float(is_zero.double().mean()) < 0.7
    torch.testing.assert_close(out.dropped[~is_zero], 2 * out.raw[~is_zero], **EXACT)
    expected = out.dropped @ net.frame.embedding.table.T + net.frame.bias
    torch.testing.assert_close(out.logits, expected, **EXACT)


def test_a_classifier_without_layers_is_a_bag_of_words() -> None:
    net = make("classify", Genotype((("identity", "identity"),))).eval()
    tokens = texts(5, 3, 1)
    table, output = net.frame.embedding.table, net.frame.classifier
    for text, logits in zip(tokens.t(), net(tokens), strict=True):
        words = [math.sqrt(WIDTH) * table[word] for word in text.tolist() if word != PADDING]
        mean = torch.stack(words).mean(0)
        torch.testing.assert_close(logits, output.weight @ mean + output.bias, **EXACT)
    assert [name for name, _ in net.named_parameters()] == [
        "frame.embedding.table", "frame.classifier.weight", "frame.classifier.bias"
    ]  # fmt: skip


def test_embeddings_of_networks_without_layers_begin_small() -> None:
    bag = Genotype((("identity", "identity"),))
    for genotype, std in ((bag, 1 / 64), (ALL, 1.0)):
        torch.manual_seed(0)
        net = Network(genotype, 1000, classes=2, config=ModelConfig(64))
        embeddings = 8 * net.frame.embedding.table.detach()
        assert float(embeddings.std()) == pytest.approx(std, rel=0.05)


def test_macs_of_each_candidate_match_a_hand_count() -> None:
    space, length, width = Transformer(hidden=16, cells=3, length=12), 12, 16
    costs = {
        name: count_macs(piece.make(), torch.zeros(1, *piece.shape))
        for piece in space.pieces(classes=4, sample_shape=(30,))
        for group, names in GROUPS.items()
        for column, name in enumerate(names)
        if piece.place == (group, 0, column)
    }
    # Four maps per word, the products of queries and keys, and those of weights and values.
    attention = 4 * length * width**2 + 2 * length**2 * width
    assert costs == {
        **{f"attention_{heads}": attention for heads in (2, 4, 8)},
        **{f"conv_{taps}": length * taps * width for taps in (3, 7, 15)},
        "identity": 0,
        **{name: 2 * int(name[-1]) * length * width**2 for name in FEED_FORWARDS},
    }
