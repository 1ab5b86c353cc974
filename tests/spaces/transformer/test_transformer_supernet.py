"""The supernets of the transformer space equal their oracles and the discrete networks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, assert_same, gradients
from torch import Tensor
from torch.optim import SGD
from transformer_supernets import CLASSES, TASKS, WORDS, Batch, batch, loss_of, make_pair, texts

from darts.data.words import PADDING
from darts.methods.bilevel import first_order, unrolled
from darts.spaces import Mixture
from darts.spaces.transformer import Genotype, ModelConfig, Network

WITH_DROPOUT = {"dropout": 0.3}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": WITH_DROPOUT,
    "learned positions": {"positions": "learned", "max_length": 9},
    "one block": {"cells": 1},
}
HYPERGRADIENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}
both_tasks = pytest.mark.parametrize("task", TASKS)
# Dropout is the stricter case, because all networks must also draw the same masks.
with_and_without_dropout = pytest.mark.parametrize(
    "options", [pytest.param({}, marks=pytest.mark.slow), WITH_DROPOUT], ids=["plain", "dropout"]
)


def outputs(net: Any, data: Batch, *weights: Any, seed: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    out = net(data.tokens, *weights)
    return {"logits": out} if isinstance(out, Tensor) else out._asdict()


def backward(net: Any, data: Batch, *weights: Any, seed: int = 5) -> None:
    torch.manual_seed(seed)
    loss_of(net, data, *weights).backward()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@both_tasks
def test_outputs_and_gradients_equal_the_oracle(
    task: str, options: dict[str, Any], training: bool
) -> None:
    oracle, fast = make_pair(task, **options)
    assert_same(fast.state_dict(), oracle.state_dict())
    for net in (oracle, fast):
        net.train(training)
        backward(net, batch(task))
    assert_same(outputs(fast, batch(task)), outputs(oracle, batch(task)))
    assert_same(gradients(fast), gradients(oracle))
    for name, gradient in gradients(fast).items():
        assert bool(gradient.any()), name


def masks() -> dict[str, dict[str, list[list[int]]]]:
    """Return the active columns of each of two blocks, by group."""
    return {
        "one each": {"mixer": [[1], [4]], "feed_forward": [[3], [2]]},
        "identity alone": {"mixer": [[6], [6]], "feed_forward": [[0], [5]]},
        "few heads": {"mixer": [[0, 1], [0, 6]], "feed_forward": [[0, 1], [3, 4]]},
        "short kernels": {"mixer": [[3, 4], [3]], "feed_forward": [[1, 3], [0, 5]]},
        "nothing": {"mixer": [[], [2, 5]], "feed_forward": [[], [4]]},
    }


@pytest.mark.parametrize("columns", masks().values(), ids=masks())
@both_tasks
def test_inactive_candidates_do_not_contribute(
    task: str, columns: dict[str, list[list[int]]]
) -> None:
    actual, weight_gradients = [], []
    pair = make_pair(task, **WITH_DROPOUT)
    active = {
        group: torch.tensor(
            [[column in row for column in range(shape[1])] for row in columns[group]]
        )
        for group, shape in pair[0].shapes.items()
    }
    for net in pair:
        weights = {g: a.detach().softmax(-1).requires_grad_() for g, a in net.alphas.items()}
        mixture = Mixture(weights, active=active)
        backward(net, batch(task), mixture)
        actual.append(outputs(net, batch(task), mixture))
        weight_gradients.append(
            {g: torch.zeros_like(w) if w.grad is None else w.grad for g, w in weights.items()}
        )
    assert_same(actual[1], actual[0])
    assert_same(weight_gradients[1], weight_gradients[0])
    assert_same(gradients(pair[1]), gradients(pair[0]))


def discrete_of(net: Any, genotype: Genotype) -> Any:
    """Return the genotype's network with slices of the supernet's weights."""
    config = ModelConfig(8, dropout=net.frame.dropout)
    classes = None if net.frame.causal else CLASSES
    network: Any = Network(genotype, WORDS, classes=classes, config=config).double()
    network.frame.load_state_dict(net.frame.state_dict())
    for block, shared in zip(network.blocks, net.blocks, strict=True):
        pairs = [("feed_forward.norm", "feed_norm"), ("feed_forward.up", "up")]
        pairs += [("feed_forward.down", "down"), ("mixer.norm", "mixer_norm")]
        pairs += [("mixer.project", "project"), ("mixer.out", "out")]
        state = {}
        for target, source in pairs:
            for name, value in shared.get_submodule(source).state_dict().items():
                state[f"{target}.{name}"] = value
        for kernel in shared.kernels:
            state[f"mixer.kernel.{kernel.shape[1]}"] = kernel
        with torch.no_grad():
            for name, weight in block.named_parameters():
                key = f"{name}.{weight.shape[1]}" if name == "mixer.kernel" else name
                weight.copy_(state[key][tuple(slice(n) for n in weight.shape)])
    return network


@pytest.mark.parametrize(
    "blocks",
    [
        (("attention_2", "relu_1"), ("conv_15", "gelu_4")),
        (("attention_8", "gelu_2"), ("identity", "relu_4")),
        (("conv_3", "gelu_1"), ("attention_4", "relu_2")),
        (("conv_7", "relu_2"), ("conv_7", "relu_2")),
    ],
)
@both_tasks
def test_a_one_hot_mixture_equals_the_discrete_network(
    task: str, blocks: tuple[tuple[str, str], ...]
) -> None:
    """Other candidates are inactive or have a mixing weight of 0; in training and evaluation."""
    net = make_pair(task, **WITH_DROPOUT)[1]
    genotype = Genotype(blocks)
    names: Any = zip(net.candidates, zip(*blocks, strict=True), strict=True)
    mask = {
        group: torch.tensor(
            [
                [name == chosen_name for name in row]
                for row, chosen_name in zip(net.candidates[group], chosen, strict=True)
            ]
        )
        for group, chosen in names
    }
    one_hot = {group: m.double() for group, m in mask.items()}
    discrete = discrete_of(net, genotype)
    for training in (True, False):
        net.train(training)
        discrete.train(training)
        expected = outputs(discrete, batch(task))
        assert_same(outputs(net, batch(task), Mixture(one_hot, active=mask)), expected)
    assert_same(outputs(net, batch(task), one_hot), expected)


def trained(net: Any, task: str) -> SGD:
    """Take two steps, so that momentum buffers exist."""
    optimizer = SGD(net.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        net.zero_grad()
        backward(net, batch(task, seed), seed=seed)
        optimizer.step()
    net.zero_grad()
    return optimizer


def alpha_gradients(
    net: Any, task: str, name: str, optimizer: SGD, **more: float
) -> dict[str, Tensor]:
    gradient, options = HYPERGRADIENTS[name]
    torch.manual_seed(7)
    actual: dict[str, Tensor] = gradient(
        net, loss_of, batch(task, 1), batch(task, 2), optimizer, **options, **more
    )
    return actual


@with_and_without_dropout
@pytest.mark.parametrize("name", HYPERGRADIENTS)
@both_tasks
def test_hypergradients_equal_the_oracle(task: str, name: str, options: dict[str, float]) -> None:
    actual = []
    for net in make_pair(task, **options):
        optimizer = trained(net, task)
        before = copy.deepcopy(net.state_dict())
        actual.append(alpha_gradients(net, task, name, optimizer))
        assert_same(net.state_dict(), before, rtol=0, atol=0)
    # A finite difference divides the rounding of its two losses by a small number.
    exact = EXACT if name != "finite_difference" else {"rtol": 1e-6, "atol": 1e-8}
    assert_same(actual[1], actual[0], **exact)
    assert {group: tuple(g.shape) for group, g in actual[1].items()} == net.shapes
    assert all(bool(gradient.all()) for gradient in actual[1].values())


@both_tasks
def test_recomputation_repeats_the_dropout_masks(task: str) -> None:
    actual = []
    for recomputes in (False, True):
        net = make_pair(task, **WITH_DROPOUT)[1]
        if recomputes:
            net.recompute_cells()
        optimizer = trained(net, task)
        backward(net, batch(task))
        own = gradients(net)
        actual.append(own | alpha_gradients(net, task, "exact", optimizer))
    assert_same(actual[1], actual[0])


def test_a_text_does_not_depend_on_padding_or_other_texts() -> None:
    net = make_pair("classifier")[1].eval()
    together = net(texts(9, 1, 6))
    for number, length in enumerate((9, 1, 6)):
        for padding in (0, 4):
            alone = F.pad(texts(9, 1, 6)[:length, [number]], (0, 0, 0, padding), value=PADDING)
            torch.testing.assert_close(net(alone)[0], together[number], **EXACT)


def test_an_empty_text_gives_finite_logits_and_gradients() -> None:
    net = make_pair("classifier")[1]
    tokens = torch.full((4, 2), PADDING)
    tokens[:2, 0] = 5
    logits = net(tokens)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(logits[1], net.frame.classifier.bias, **EXACT)
    logits.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())
