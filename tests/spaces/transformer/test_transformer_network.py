"""Networks of the transformer space and their LSTMs, compared with formulas."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT
from torch import Tensor, nn
from transformer_supernets import CLASSES, WORDS, randomized, texts

from darts.data import InputSpec
from darts.data.words import PADDING
from darts.recipes.exporting.formats import FORMATS
from darts.recipes.exporting.network import ExportableNetwork, max_error, quiet
from darts.spaces.rank_dropout import set_batch_share
from darts.spaces.transformer import Genotype, ModelConfig, Network, Transformer
from darts.spaces.transformer.frame import Frame, PositionalEncoding
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS
from darts.spaces.transformer.layers import Block, Lstm
from darts.spaces.transformer.supernet import GROUPS
from darts.training.cost import count_macs, count_parameters

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


def attention(y: Tensor, layer: Any, heads: int, causal: bool) -> Tensor:
    projected = (y @ layer.project.weight.T).unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
    outputs = F.scaled_dot_product_attention(*projected, is_causal=causal)  # (heads, T, size)
    return outputs.transpose(0, 1).flatten(1) @ layer.out.weight.T


def convolution(y: Tensor, layer: Any, taps: int, causal: bool) -> Tensor:
    outputs = torch.zeros_like(y)
    for position in range(len(y)):
        for tap in range(taps):
            other = position + tap - (taps - 1 if causal else (taps - 1) // 2)
            if 0 <= other < len(y):
                outputs[position] += layer.kernel[:, tap] * y[other]
    return outputs


def blocks_of_text(net: Any, tokens: Tensor, causal: bool) -> Tensor:
    """Return the output of the final norm for the words of one text, ``(T,)`` -> ``(T, D)``."""

    def norm(x: Tensor, layer: Any) -> Tensor:
        return F.layer_norm(x, [WIDTH], layer.weight, layer.bias)

    x = net.frame.embedding.table[tokens] * math.sqrt(WIDTH)
    for position, i in itertools.product(range(len(tokens)), range(WIDTH // 2)):
        angle = position / 10_000 ** (2 * i / WIDTH)
        x[position, 2 * i] += math.sin(angle)
        x[position, 2 * i + 1] += math.cos(angle)
    for block, (mixer, feed_forward) in zip(net.blocks, net.genotype.blocks, strict=True):
        if mixer != "identity":
            operation, number = mixer.split("_")
            mix = attention if operation == "attention" else convolution
            x = x + mix(norm(x, block.mixer.norm), block.mixer, int(number), causal)
        layer = block.feed_forward
        activation, ratio = feed_forward.split("_")
        assert layer.up.out_features == int(ratio) * WIDTH
        hidden = norm(x, layer.norm) @ layer.up.weight.T + layer.up.bias
        x = x + (F.gelu if activation == "gelu" else F.relu)(hidden) @ layer.down.weight.T
    return norm(x, net.frame.norm)


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_the_language_model_equals_the_computation_text_by_text(genotype: Genotype) -> None:
    net = make("language", genotype)
    tokens = torch.randint(WORDS, (9, 2))
    out = net(tokens)
    assert out.hidden.shape == (2, 0)
    assert out.logits.shape == (9, 2, WORDS)
    for column in range(2):
        words = blocks_of_text(net, tokens[:, column], causal=True)
        expected = words @ net.frame.embedding.table.T + net.frame.bias
        torch.testing.assert_close(out.raw[:, column], words, **EXACT)
        torch.testing.assert_close(out.logits[:, column], expected, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_the_classifier_equals_the_computation_text_by_text(genotype: Genotype) -> None:
    net = make("classifier", genotype)
    lengths = (9, 1, 4)
    tokens = texts(*lengths)
    logits = net(tokens)
    assert logits.shape == (3, CLASSES)
    head = net.frame.classifier
    for column, length in enumerate(lengths):
        mean = blocks_of_text(net, tokens[:length, column], causal=False).mean(0)
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


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"drop_path": 0.4}], ids=str)
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
    states = {a: x + a * mixed for a in (0, 1)}
    feeds = {a: 2 * block.feed_forward(state) for a, state in states.items()}
    cases = {(a, b): states[a] + b * feeds[a] for a in (0, 1) for b in (0, 1)}
    observed = [
        next(case for case, expected in cases.items() if torch.allclose(actual[i], expected[i]))
        for i in range(64)
    ]
    assert set(observed) == set(cases)
    whole, _ = block.eval()(x, mask, drop_probability=0.5)
    torch.testing.assert_close(whole, block(x, mask)[0], **EXACT)


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


PLAIN = Genotype((("lstm", "identity"), ("lstm", "identity")))
MIXED = Genotype((("lstm", "gelu_1"), ("identity", "relu_2"), ("lstm", "identity")))
WITH_ATTENTION = Genotype((("attention_2", "gelu_1"), ("lstm", "identity"), ("conv_3", "relu_1")))


@torch.no_grad()
def test_the_layer_runs_a_cell_word_by_word() -> None:
    torch.manual_seed(0)
    layer, cell = randomized(Lstm(WIDTH)), nn.LSTMCell(WIDTH, WIDTH).double()
    weights = layer.lstm.state_dict()
    cell.load_state_dict({name: weights[f"{name}_l0"] for name in cell.state_dict()})
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    state = torch.randn(2, 2 * WIDTH, dtype=torch.float64)
    for before in (state, None):
        hidden, memory = (torch.zeros_like(state) if before is None else state).chunk(2, dim=1)
        outputs = []
        for word in layer.norm(x).unbind(1):
            hidden, memory = cell(word, (hidden, memory))
            outputs.append(hidden)
        y, after = layer(x, before)
        torch.testing.assert_close(y, torch.stack(outputs, dim=1), **EXACT)
        torch.testing.assert_close(after, torch.cat([hidden, memory], dim=1), **EXACT)


@pytest.mark.parametrize("genotype", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_two_windows_equal_one(genotype: Genotype) -> None:
    net = make("language", genotype)
    tokens = torch.randint(WORDS, (9, 3))
    whole = net(tokens)
    assert whole.hidden.shape == (3, 2 * 2 * WIDTH)
    first = net(tokens[:4])
    second = net(tokens[4:], hidden=first.hidden)
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits, **EXACT)
    torch.testing.assert_close(second.hidden, whole.hidden, **EXACT)
    assert not torch.allclose(net(tokens[4:]).logits, second.logits)


@pytest.mark.parametrize("genotype", [PLAIN, MIXED, WITH_ATTENTION], ids=["plain", "mixed", "all"])
def test_padding_has_no_effect(genotype: Genotype) -> None:
    net = make("classifier", genotype).eval()
    tokens = texts(9, 1, 6)
    longer = torch.cat([tokens, torch.zeros(5, 3, dtype=torch.int64)])
    torch.testing.assert_close(net(longer), net(tokens), **EXACT)
    alone = net(tokens[:6, 2:])
    torch.testing.assert_close(alone, net(tokens)[2:], **EXACT)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_network_of_lstms_has_no_positional_encoding(positions: str) -> None:
    assert not PLAIN.needs_positions
    assert not MIXED.needs_positions
    assert WITH_ATTENTION.needs_positions
    assert Genotype((("identity", "relu_1"),)).needs_positions
    net = make("language", PLAIN, positions=positions, max_length=3)
    assert net(torch.randint(WORDS, (9, 2))).logits.shape == (9, 2, WORDS)  # longer than max_length
    assert isinstance(net.frame.positional_encoding, nn.Identity)


def test_parameters_and_macs_match_a_hand_count() -> None:
    """The fused kernel of float32 and the plain one of float64 have the same MACs."""
    width, words, length = 16, 30, 7
    lstm = 2 * width + 8 * width**2 + 8 * width
    relu_2 = 2 * width + 4 * width**2 + 2 * width
    gelu_1 = 2 * width + 2 * width**2 + width
    body = 2 * lstm + relu_2 + gelu_1 + 2 * width
    config = ModelConfig(width)
    model = Network(MIXED, words, config=config)
    texts_net = Network(MIXED, words, classes=5, config=config)
    assert count_parameters(model.parameters()) == body + words * width + words
    assert count_parameters(texts_net.parameters()) == body + words * width + 5 * width + 5
    macs_per_word = 2 * 8 * width**2 + 4 * width**2 + 2 * width**2
    tokens = torch.ones(length, 1, dtype=torch.int64)
    for net in (model, model.double()):
        assert count_macs(net, tokens) == length * (macs_per_word + words * width)
    assert count_macs(texts_net, tokens) == length * macs_per_word + 5 * width


@pytest.mark.parametrize("drop_path", [0.0, 0.9])
def test_the_output_of_an_lstm_replaces_its_input(drop_path: float) -> None:
    block = Block("lstm", "identity", WIDTH, causal=True, dropout=0.0).double()
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    mask = Frame(WORDS, None, ModelConfig(WIDTH)).attention_mask(torch.zeros(5, 2))
    y, _ = block(x, mask, drop_probability=drop_path)
    torch.testing.assert_close(y, block.mixer(x)[0], **EXACT)


def test_bfloat16_autocast_keeps_the_state_in_float32() -> None:
    torch.manual_seed(0)
    net = Network(MIXED, WORDS, config=ModelConfig(16))
    tokens = torch.randint(WORDS, (5, 2))
    exact = net(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(tokens, hidden=torch.zeros(2, 64))
        rounded.logits.float().sum().backward()
    assert rounded.hidden.dtype == torch.float32
    assert (rounded.logits.float() - exact.logits).norm() < 0.05 * exact.logits.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS if not FORMATS[name].one_sample])
@pytest.mark.parametrize("task", ["language", "classifier"])
def test_exported_graphs_equal_the_network(name: str, task: str, tmp_path: Path) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net = make(task, MIXED)
    axes = {1: "batch"} if task == "language" else {0: "length", 1: "batch"}
    network = ExportableNetwork(net.float().eval(), [InputSpec("tokens", (5, 2), axes, WORDS)])
    file = tmp_path / f"network{FORMATS[name].suffix}"
    with quiet():
        FORMATS[name].save(network.eval(), file)
    assert max_error(network, FORMATS[name].load(file, network)) < 1e-4
    assert network.outputs == (["logits", "next_hidden"] if task == "language" else ["logits"])
