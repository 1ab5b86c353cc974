"""The fast search cell against the edge-wise one, and that one against one worked out by hand."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from both_recurrent import (
    DROPPING,
    EXACT,
    assert_same,
    batch,
    gradients,
    loss_of,
    make,
    make_pair,
)
from several_ranks import on_ranks
from torch import Tensor
from torch.optim import SGD

from darts.bilevel import first_order, unrolled
from darts.data import rank_slice
from darts.ops.sync_batch_norm import convert_sync_batch_norm
from darts.spaces import Mixture
from darts.spaces.recurrent import DropoutRates, EdgewiseCell, Supernet

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropping": {"dropouts": DROPPING},
    "one node": {"nodes": 1},
    "eight nodes": {"nodes": 8},
    "untied": {"embedding": 3, "tied": False},
}
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}


def run(net: Any, seed: int = 5) -> Any:
    """The outputs; gradients are in the net, and draws are those of a seed."""
    torch.manual_seed(seed)
    loss_of(net, batch()).backward()
    torch.manual_seed(seed)
    return copy.deepcopy(net)(batch().tokens, hidden=batch().hidden)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_outputs_gradients_and_statistics(options: dict[str, Any], training: bool) -> None:
    pair = make_pair(**options)
    found = []
    for net in pair:
        if not training:  # with statistics that are not those of the start
            torch.manual_seed(2)
            net(batch(2).tokens)
        net.train(training)
        found.append(run(net)._asdict())
    assert_same(found[1], found[0])
    assert_same(gradients(pair.fast), gradients(pair.slow))
    assert_same(dict(pair.fast.named_buffers()), dict(pair.slow.named_buffers()))
    nodes = pair.fast.cell.nodes
    seen = int(pair.fast.cell.norm.num_batches_tracked)
    assert seen == 4 * (nodes + 1)  # steps of one sequence, states of a cell


def masks() -> dict[str, list[list[int]]]:
    """Which of the five columns are active on each of six edges."""
    one = [[edge == number for number in range(5)] for edge in (1, 0, 4, 2, 1, 3)]
    node_without = [
        [True] * 5,
        [False] * 5,
        [True] + [False] * 4,
        *[[False, True] + [True] * 3] * 3,
    ]
    some = [[(edge + number) % 2 == 0 for number in range(5)] for edge in range(6)]
    return {"one an edge": one, "a node without edges": node_without, "some": some}


@pytest.mark.parametrize("mask", masks().values(), ids=masks())
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_what_is_not_active_is_left_out(mask: list[list[int]], training: bool) -> None:
    pair = make_pair(dropouts=DROPPING)
    active = torch.tensor(mask)
    outputs, slopes = [], []
    for net in pair:
        net.train(training)
        weights = net.alphas["recurrent"].detach().softmax(-1).requires_grad_()
        mixture = Mixture({"recurrent": weights}, active={"recurrent": active})
        torch.manual_seed(3)
        loss_of(net, batch(), mixture).backward()
        torch.manual_seed(3)
        outputs.append(net(batch().tokens, mixture)._asdict())
        slopes.append(weights.grad)
        assert not weights.grad[~active].any()
        off = Mixture({"recurrent": weights.detach() * active})  # weights of 0 are as good
        torch.manual_seed(3)
        assert torch.allclose(net(batch().tokens, off).logits, outputs[-1]["logits"], **EXACT)
    assert_same(outputs[1], outputs[0])
    torch.testing.assert_close(slopes[1], slopes[0], **EXACT)
    assert_same(gradients(pair.fast), gradients(pair.slow))


def trained(net: Any) -> SGD:
    """After two steps, so that momenta are there and statistics have moved."""
    optimizer = SGD(net.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        net.zero_grad()
        torch.manual_seed(seed)
        loss_of(net, batch(seed)).backward()
        optimizer.step()
    net.zero_grad()
    return optimizer


@pytest.mark.parametrize("dropouts", [DropoutRates(), DROPPING], ids=["plain", "dropping"])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_the_alphas(way: str, dropouts: DropoutRates) -> None:
    gradient, options = WAYS[way]
    found = []
    for net in make_pair(dropouts=dropouts):
        optimizer = trained(net)
        before = copy.deepcopy(net.state_dict())
        torch.manual_seed(7)
        found.append(gradient(net, loss_of, batch(1), batch(2), optimizer, **options))
        assert_same(net.state_dict(), before)  # left as found, statistics included
    assert found[0]["recurrent"].shape == (6, 5)
    # A finite difference divides the rounding of its two losses by a small number.
    exact = EXACT if way != "finite_difference" else {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(found[1]["recurrent"], found[0]["recurrent"], **exact)
    assert bool((found[0]["recurrent"][:, 1:] != 0).all())


def test_none_adds_nothing_whatever_its_weight() -> None:
    net = make(Supernet)
    weights = torch.rand(6, 5, dtype=torch.float64)
    other = weights.clone()
    other[:, 0] += 1
    first, second = (net(batch().tokens, {"recurrent": own}) for own in (weights, other))
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(x: float, h: float, weights: dict[str, Any], mix: list[list[float]]) -> float:
    """One unit, two nodes, one step; in evaluation the norm, still fresh, divides by a root."""
    root = math.sqrt(1 + 1e-5)
    gate = sigmoid(x * weights["x"][0] + h * weights["h"][0])
    new = math.tanh(x * weights["x"][1] + h * weights["h"][1])
    states = [(h + gate * (new - h)) / root]
    edge = 0
    for node in range(2):
        total = 0.0
        for state in states:
            gate = sigmoid(state * weights["nodes"][node][0])
            g = state * weights["nodes"][node][1]
            _, tanh, relu, squash, identity = mix[edge]
            total += tanh * (state + gate * (math.tanh(g) - state))
            total += relu * (state + gate * (max(g, 0.0) - state))
            total += squash * (state + gate * (sigmoid(g) - state))
            total += identity * (state + gate * (g - state))
            edge += 1
        states.append(total / root)
    return (states[1] + states[2]) / 2


@pytest.mark.parametrize("steps", [1, 3])
def test_a_cell_of_one_unit_and_two_nodes(steps: int) -> None:
    weights = {"x": (0.3, -1.1), "h": (0.7, 0.4), "nodes": ((1.3, -2.0), (-0.6, 0.9))}
    mix = [[0.1, 0.2, 0.3, 0.1, 0.3], [0.4, 0.1, 0.2, 0.2, 0.1], [0.2, 0.3, 0.1, 0.3, 0.1]]
    cell = EdgewiseCell(1, 1, 2).double().eval()
    with torch.no_grad():
        cell.input_weight.copy_(torch.tensor([weights["x"]]))
        cell.hidden_weight.copy_(torch.tensor([weights["h"]]))
        cell.node_weights.copy_(torch.tensor(weights["nodes"]).view(2, 1, 2))
    inputs = [0.8, -0.5, 1.7][:steps]
    wanted, h = [], -0.6
    for x in inputs:
        h = by_hand(x, h, weights, mix)
        wanted.append(h)
    found, last = cell(
        torch.tensor(inputs, dtype=torch.float64).view(-1, 1, 1),
        torch.tensor([[-0.6]], dtype=torch.float64),
        torch.tensor(mix, dtype=torch.float64),
    )
    # float32 rounds the weights above.
    assert found.flatten().tolist() == pytest.approx(wanted, abs=1e-6)
    assert last.item() == found[-1].item()


def test_batch_norm_of_state_0_and_of_every_node() -> None:
    """In training each is normalized over the batch, so the means that are put out have mean 0."""
    net = make(Supernet, nodes=1)
    raw = net(batch(size=9).tokens).raw
    torch.testing.assert_close(raw.mean(1), torch.zeros(4, 5, dtype=torch.float64), **EXACT)
    torch.testing.assert_close(
        raw.var(1, correction=0), torch.ones(4, 5, dtype=torch.float64), rtol=1e-3, atol=1e-3
    )
    with pytest.raises(ValueError, match="more than one value a channel"):
        net(batch(size=1).tokens)
    net.eval()
    assert net(batch(size=1).tokens).logits.shape == (4, 1, 7)


def test_seven_steps_are_three_and_then_four() -> None:
    net = make(Supernet).eval()
    tokens = batch(steps=7).tokens
    whole = net(tokens)
    first = net(tokens[:3])
    second = net(tokens[3:], hidden=first.hidden)
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits, **EXACT)
    torch.testing.assert_close(second.hidden, whole.hidden, **EXACT)
    torch.testing.assert_close(whole.hidden, whole.raw[-1], **EXACT)


def test_size_and_layout() -> None:
    """The search network of the paper: 300 units, 10,000 words, 36 edges of 5 candidates."""
    net = Supernet(10_000)
    weights = 10_000 * 300 + 10_000 + 600 * 600 + 8 * 300 * 600
    assert sum(weight.numel() for weight in net.weight_parameters()) == weights
    assert net.shapes == {"recurrent": (36, 5)}
    assert net.alphas["recurrent"].shape == (36, 5)
    assert net.candidates["recurrent"] == (("none", "tanh", "relu", "sigmoid", "identity"),) * 36
    assert net.edges["recurrent"][:6] == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert net.edges["recurrent"][-1] == (7, 8)
    assert net.counts == {"recurrent": 1}
    for weight in net.weight_parameters():
        assert float(weight.detach().abs().max()) <= 0.04
    assert float(net.words.bias.detach().abs().max()) == 0
    assert net.state_dict().keys() >= {"alphas.recurrent", "cell.norm.running_mean"}


def test_what_it_cannot_do_is_refused_in_one_line() -> None:
    net = make(Supernet)
    data = batch()
    cases: list[tuple[Any, str]] = [
        (
            lambda: net(data.tokens, {"recurrent": torch.ones(5, 5)}),
            r"shape \(5, 5\), not \(6, 5\)",
        ),
        (lambda: net(data.tokens[0]), r"tokens must be \(T, B\), got \(6,\)"),
        (
            lambda: net(data.tokens, hidden=data.hidden[:2]),
            r"hidden must be \(6, 5\), got \(2, 5\)",
        ),
        (lambda: net(data.tokens[:0]), r"inputs must be \(T, B, 5\) with T at least 1"),
        (lambda: Supernet(7, embedding=3, hidden=4), "tied=false"),
        (lambda: Supernet(7, dropouts=DropoutRates(weight=0.5)), "drops no weights, got 0.5"),
        (lambda: Supernet(7, nodes=0), "nodes must be"),
        (lambda: net.recompute_cells(), "memory=checkpoint"),
        (lambda: net.compile_regions(), "nothing to compile"),
        (lambda: net.operation_rows(), "choose freezing=none"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_mixed_precision_is_near_the_exact_result() -> None:
    net = make_pair().fast.float()
    data = batch()
    exact = net(data.tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(data.tokens)
        F.cross_entropy(rounded.logits.flatten(0, 1), data.targets.flatten()).backward()
    assert rounded.hidden.dtype == torch.float32
    assert (rounded.raw - exact.raw).norm() < 0.1 * exact.raw.norm()
    for name, gradient in gradients(net).items():
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all()), name


def step(net: Any, share: slice) -> dict[str, dict[str, Tensor]]:
    """Gradients of the share's part of the whole loss, and statistics."""
    data = batch(size=7)
    tokens, targets, hidden = (
        part[..., share, :] if part is data.hidden else part[:, share] for part in data
    )
    out = net(tokens, hidden=hidden)
    F.cross_entropy(out.logits.flatten(0, 1), targets.flatten(), reduction="sum").backward()
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    return {"gradients": gradients(net), "buffers": buffers}  # type: ignore[dict-item]


def work() -> dict[str, dict[str, Tensor]]:
    net = convert_sync_batch_norm(make(Supernet), dist.group.WORLD)
    return step(net, rank_slice(7, dist.get_rank(), 2))


def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    wanted = step(make_pair().slow, slice(None))
    one, other = on_ranks(work, tmp_path)
    total = {name: one["gradients"][name] + other["gradients"][name] for name in one["gradients"]}
    assert_same(total, wanted["gradients"])
    for rank in (one, other):
        assert_same(rank["buffers"], wanted["buffers"])
