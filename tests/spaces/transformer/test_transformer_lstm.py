"""LSTMs as mixers of networks: values, states between windows, padding, costs and exports."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles.comparing import EXACT
from torch import Tensor
from transformer_supernets import CLASSES, WORDS, randomized, texts

from darts.data import InputSpec
from darts.judging.edge_importance import without_edges
from darts.recipes.exporting.formats import FORMATS
from darts.recipes.exporting.network import ExportableNetwork, max_error
from darts.spaces.transformer import Genotype, ModelConfig, Network
from darts.spaces.transformer.frame import Frame
from darts.spaces.transformer.layers import Block, Lstm
from darts.training.cost import count_macs, count_parameters

WIDTH = 8
PLAIN = Genotype((("lstm", "identity"), ("lstm", "identity")))
MIXED = Genotype((("lstm", "gelu_1"), ("identity", "relu_2"), ("lstm", "identity")))
WITH_ATTENTION = Genotype((("attention_2", "gelu_1"), ("lstm", "identity"), ("conv_3", "relu_1")))


def language_model(genotype: Genotype = MIXED, **sizes: Any) -> Any:
    torch.manual_seed(0)
    return randomized(Network(genotype, WORDS, config=ModelConfig(WIDTH, **sizes)))


def classifier(genotype: Genotype = MIXED) -> Any:
    torch.manual_seed(0)
    return randomized(Network(genotype, WORDS, classes=CLASSES, config=ModelConfig(WIDTH)))


def lstm_step_by_step(layer: Lstm, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """Compute an LSTM for one text ``(T, D)``, word by word and unit by unit."""
    weights: Any = layer.lstm

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    outputs = []
    for word in x:
        y = (word - word.mean()) / (word.var(correction=0) + 1e-5).sqrt()
        y = y * layer.norm.weight + layer.norm.bias
        gates = (
            weights.weight_ih_l0 @ y
            + weights.bias_ih_l0
            + weights.weight_hh_l0 @ hidden
            + weights.bias_hh_l0
        ).tolist()
        cells, units = [], []
        for unit in range(WIDTH):
            write, keep, new, read = (gates[gate * WIDTH + unit] for gate in range(4))
            value = sigmoid(keep) * float(cell[unit]) + sigmoid(write) * math.tanh(new)
            cells.append(value)
            units.append(sigmoid(read) * math.tanh(value))
        hidden, cell = x.new_tensor(units), x.new_tensor(cells)
        outputs.append(hidden)
    return torch.stack(outputs), hidden, cell


@torch.no_grad()
def test_the_layer_equals_its_formula() -> None:
    torch.manual_seed(0)
    layer = randomized(Lstm(WIDTH))
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    state = torch.randn(2, 2 * WIDTH, dtype=torch.float64)
    for before in (state, None):
        y, after = layer(x, before)
        for text in range(2):
            initial = torch.zeros_like(state) if before is None else state
            expected = lstm_step_by_step(layer, x[text], *initial[text].chunk(2))
            torch.testing.assert_close(y[text], expected[0], **EXACT)
            torch.testing.assert_close(after[text], torch.cat(expected[1:]), **EXACT)


@pytest.mark.parametrize("genotype", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_two_windows_equal_one(genotype: Genotype) -> None:
    net = language_model(genotype)
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
    net = classifier(genotype).eval()
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
    net = language_model(PLAIN, positions=positions, max_length=3)
    assert net(torch.randint(WORDS, (9, 2))).logits.shape == (9, 2, WORDS)  # longer than max_length
    assert isinstance(net.frame.positional_encoding, torch.nn.Identity)


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


def test_the_layers_around_an_lstm_can_be_removed_but_not_the_lstm() -> None:
    net, tokens = language_model(MIXED).eval(), torch.randint(WORDS, (5, 2))
    assert net.edge_modules("blocks", 0) is None
    assert net.edge_modules("blocks", 5) == []  # no feed-forward layer
    with without_edges(net, [("blocks", 1), ("blocks", 3)]):
        out = net(tokens)
    first, second = net.blocks[0].mixer, net.blocks[2].mixer
    x, hidden = second(first(net.frame.embed(tokens))[0])
    expected = net.frame.finish(x, net.frame.attention_mask(tokens), hidden)
    torch.testing.assert_close(out.logits, expected.logits, **EXACT)


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
    net: Any = language_model() if task == "language" else classifier()
    axes = {1: "batch"} if task == "language" else {0: "length", 1: "batch"}
    network = ExportableNetwork(net.float().eval(), [InputSpec("tokens", (5, 2), axes, WORDS)])
    file = tmp_path / f"network{FORMATS[name].suffix}"
    FORMATS[name].save(network.eval(), file)
    assert max_error(network, FORMATS[name].load(file, network)) < 1e-4
    assert network.outputs == (["logits", "next_hidden"] if task == "language" else ["logits"])
