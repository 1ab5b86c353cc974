"""The discrete recurrent network: equality with an oracle, published sizes, dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles.comparing import EXACT
from torch import Tensor

from darts.spaces.rank_dropout import set_batch_share
from darts.spaces.recurrent import (
    PUBLISHED,
    DiscreteCell,
    DropoutRates,
    Genotype,
    Network,
    Recurrent,
)
from darts.spaces.recurrent.cell import locked_dropout, locked_mask
from darts.spaces.recurrent.network import EmbeddingDecoder

FUNCTIONS: dict[str, Any] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
GENOTYPES = {name: entry.genotype for name, entry in PUBLISHED.items()} | {
    f"random-{seed}": Recurrent(nodes=1 + seed).random(torch.Generator().manual_seed(seed))
    for seed in range(5)
}


def make(genotype: Genotype, **dropouts: float) -> DiscreteCell:
    torch.manual_seed(0)
    cell = DiscreteCell(genotype, 4, 5, DropoutRates(**dropouts))
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
    both_gradients = [
        torch.autograd.grad((out * weights).sum(), leaves) for out in (actual, expected)
    ]
    torch.testing.assert_close(*both_gradients, **EXACT)


@pytest.mark.parametrize(("name", "nodes"), [("DARTS_RNN_V1", 8), ("DARTS_RNN_V2", 8)])
def test_the_network_has_the_published_number_of_parameters(name: str, nodes: int) -> None:
    """23 million: tied embedding, decoder bias, and the weights of the cell."""
    entry = PUBLISHED[name]
    net = Network(entry.genotype, 10_000)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == 10_000 * 850 + 10_000 + 1700 * 1700 + nodes * 850 * 1700 == 22_960_000
    assert count / 1e6 == pytest.approx(entry.parameters_million, abs=0.5)
    for parameter in net.parameters():
        assert float(parameter.detach().abs().max()) <= 0.04


def test_untied_weights_add_a_decoder_matrix() -> None:
    genotype = PUBLISHED["DARTS_RNN_V2"].genotype
    net = Network(genotype, 20, embedding=6, hidden=4, tied=False)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == 20 * 6 + 20 * 4 + 20 + 10 * 8 + 8 * 4 * 8
    with pytest.raises(ValueError, match="embedding=6 and hidden=4 must be equal"):
        Network(genotype, 20, embedding=6, hidden=4)


def network(**dropouts: float) -> Network:
    torch.manual_seed(0)
    genotype = PUBLISHED["DARTS_RNN_V1"].genotype
    return Network(genotype, 11, embedding=5, hidden=5, dropouts=DropoutRates(**dropouts)).double()


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
    words = EmbeddingDecoder(9, 4, 4, True, DropoutRates(word=0.4)).double()
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
