"""The supernet of the macro space equals the sum over its candidates, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.macro_supernet import EdgewiseSupernet
from torch import Tensor, nn

from darts import bilevel
from darts.spaces.macro import PRIMITIVES, Genotype, Macro, Network, Supernet
from darts.spaces.macro.skeleton import SKELETONS, InvertedResidual
from darts.spaces.mixture import Mixture

EXACT = {"rtol": 1e-9, "atol": 1e-9}
CLASSES = 4


def make(cells: int = 2, **options: Any) -> Supernet:
    torch.manual_seed(0)
    return Supernet(channels=2, cells=cells, classes=CLASSES, **options).double()


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixing(net: Supernet, seed: int = 2) -> dict[str, Tensor]:
    return {g: images(*shape, seed=seed).softmax(-1) for g, shape in net.shapes.items()}


def test_shapes_and_names_of_alphas() -> None:
    net = Supernet(channels=4, cells=3)
    assert {group: tuple(alpha.shape) for group, alpha in net.alphas.items()} == {
        "first": (3, 6),
        "rest": (6, 7),
    }
    assert net.shapes == {"first": (3, 6), "rest": (6, 7)}
    assert net.counts == {"first": 1, "rest": 1}
    assert net.candidates["first"] == (PRIMITIVES[:-1],) * 3
    assert net.candidates["rest"] == (PRIMITIVES,) * 6
    assert net.edges["first"] == ((0, 1), (3, 4), (6, 7))
    assert sorted(net.edges["first"] + net.edges["rest"]) == [(i, i + 1) for i in range(9)]
    assert set(Supernet(channels=2, cells=1).alphas) == {"first"}


def test_weight_parameters_exclude_the_alphas() -> None:
    net = make()
    weights, alphas = net.weight_parameters(), list(net.alphas.values())
    assert not {id(w) for w in weights} & {id(a) for a in alphas}
    assert len(weights) + len(alphas) == len(list(net.parameters()))
    assert {f"alphas.{group}" for group in net.alphas} <= set(net.state_dict())
    assert max(float(alpha.detach().abs().max()) for alpha in alphas) < 1e-2


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (5, 6), (32, 32)])
def test_any_image_size(size: tuple[int, int], cells: int) -> None:
    net = make(cells, in_channels=1)
    assert net(images(2, 1, *size)).shape == (2, CLASSES)


def by_definition(net: Supernet, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Compute the supernet with functions of PyTorch, candidate by candidate."""

    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

    x = F.relu6(norm(F.conv2d(x, net.stem[0].weight, padding=1)))
    rows = {"first": 0, "rest": 0}
    for number, block in enumerate(net.blocks):
        group = "first" if number % (len(net.blocks) // 3) == 0 else "rest"
        stride = 2 if group == "first" and number else 1
        total: Any = 0
        for column, name in enumerate(PRIMITIVES if group == "rest" else PRIMITIVES[:-1]):
            if name == "skip_connect":
                y = x
            else:
                kernel = int(name[4])
                state = dict(block.operations[column].named_parameters())
                y = F.relu6(norm(F.conv2d(x, state["layers.0.weight"])))
                assert y.shape[1] == int(name[7]) * x.shape[1]
                depthwise = state["layers.3.weight"]
                assert depthwise.shape[2:] == (kernel, kernel)
                y = F.conv2d(y, depthwise, None, stride, kernel // 2, groups=y.shape[1])
                y = norm(F.conv2d(F.relu6(norm(y)), state["layers.6.weight"]))
                y = y + x if y.shape == x.shape else y
            total = total + weights[group][rows[group], column] * y
        rows[group] += 1
        x = total
    x = F.relu6(norm(F.conv2d(x, net.head[0].weight)))
    return F.linear(x.mean((2, 3)), net.head[5].weight, net.head[5].bias)


def test_the_output_is_the_weighted_sum_of_the_candidates() -> None:
    net, x = make(3), images(3, 3, 7, 10)
    weights = mixing(net)
    torch.testing.assert_close(net(x, weights), by_definition(net, x, weights), **EXACT)


@pytest.mark.parametrize("skip_dropout", [0.0, 0.4])
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_outputs_gradients_and_statistics_equal_the_oracle(
    skeleton: str, skip_dropout: float
) -> None:
    x, results = images(4, 3, 9, 12), []
    for net_class in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = net_class(channels=4, cells=2, classes=CLASSES, skeleton=skeleton).double()
        net.skip_dropout = skip_dropout
        for _ in range(2):  # the second pass changes running statistics that differ
            net(x).square().sum().backward()
        parameters = {name: p.grad for name, p in net.named_parameters()}
        results.append({"output": net(x), **parameters, **dict(net.named_buffers())})
    expected, actual = results
    assert list(actual) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, **EXACT, msg=lambda m, n=name: n + m)


@pytest.mark.slow  # the test above compares first derivatives
def test_hypergradients_equal_the_oracle() -> None:
    batch = images(4, 3, 6, 6), torch.tensor([0, 1, 2, 3])
    results = []
    for net_class in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = net_class(channels=2, cells=2, classes=CLASSES).double()
        optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
        results.append(
            {
                hvp: bilevel.unrolled(
                    net,
                    lambda net, b: F.cross_entropy(net(b[0]), b[1]),
                    *(batch, batch),
                    optimizer,
                    hvp=hvp,
                )
                for hvp in ("exact", "finite_difference")
            }
        )
    for hvp, tolerance in (("exact", 1e-9), ("finite_difference", 1e-6)):
        for group, expected in results[0][hvp].items():
            actual = results[1][hvp][group]
            torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_default_weights_are_the_softmax_of_the_alphas() -> None:
    net, x = make(), images(3, 3, 8, 8)
    own = {group: alpha.softmax(-1) for group, alpha in net.alphas.items()}
    assert torch.equal(net(x), net(x, own))
    sliced = {group: weights[None] for group, weights in own.items()}  # one slice per cell
    assert torch.equal(net(x), net(x, sliced))


@pytest.mark.parametrize("training", [True, False])
def test_one_hot_weights_equal_the_discrete_network(training: bool) -> None:
    net = make(3)
    genotype = Macro(channels=2, cells=3).random(torch.Generator().manual_seed(3))
    assert 0 < genotype.count("skip_connect") < 6
    masks = Macro().mask(genotype, net.candidates)
    discrete = Network(genotype, channels=2, classes=CLASSES).double()
    state = discrete.state_dict()
    for name, value in net.state_dict().items():
        words = name.split(".")
        if words[0] == "blocks":
            if genotype.blocks[int(words[1])] == PRIMITIVES[int(words[3])]:
                state[".".join([*words[:2], *words[4:]])] = value
        elif words[0] != "alphas":
            state[name] = value
    discrete.load_state_dict(state)  # the norms keep their initial ones and zeros
    x = images(3, 3, 9, 11)
    one_hot = {group: mask.double() for group, mask in masks.items()}
    actual = discrete.train(training)(x)
    torch.testing.assert_close(actual, net.train(training)(x, one_hot), **EXACT)


def test_gradients_of_the_alphas_match_finite_differences() -> None:
    net, x = make(), images(4, 3, 6, 5)
    target = torch.tensor([0, 1, 2, 3])

    def loss() -> Tensor:
        return F.cross_entropy(net(x), target)

    actual = torch.autograd.grad(loss(), list(net.alphas.values()))
    for alpha, gradient in zip(net.alphas.values(), actual, strict=True):
        for index in [(0, 0), (1, 3), (2, alpha.shape[1] - 1)]:
            with torch.no_grad():
                values = []
                for step in (1e-6, -2e-6):
                    alpha[index] += step
                    values.append(float(loss()))
                alpha[index] += 1e-6
            expected = (values[0] - values[1]) / 2e-6
            assert float(gradient[index]) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["first_order", "unrolled"])
def test_hypergradients_leave_the_supernet_unchanged(name: str) -> None:
    net = make()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    batch = images(4, 3, 6, 6), torch.tensor([0, 1, 2, 3])
    gradients = getattr(bilevel, name)(
        net, lambda net, b: F.cross_entropy(net(b[0]), b[1]), batch, batch, optimizer
    )
    assert {group: g.shape for group, g in gradients.items()} == {
        group: alpha.shape for group, alpha in net.alphas.items()
    }
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_inactive_candidates_do_not_contribute() -> None:
    net, x = make(3).eval(), images(2, 3, 6, 6)
    generator = torch.Generator().manual_seed(5)
    active = {g: torch.rand(s, generator=generator) < 0.5 for g, s in net.shapes.items()}
    weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
    ran: list[str] = []
    for name, module in net.named_modules():
        if isinstance(module, InvertedResidual):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    actual = net(x, Mixture(weights, active=active))
    assert len(ran) == sum(
        int(mask[:, : len(PRIMITIVES) - 1].sum()) for mask in active.values()
    )  # skip_connect is no InvertedResidual
    zeroed = {group: w * active[group] for group, w in weights.items()}
    torch.testing.assert_close(actual, net(x, zeroed), **EXACT)
    actual.square().sum().backward()
    for group, w in weights.items():
        assert w.grad is not None
        assert not bool(w.grad[~active[group]].any())
        assert bool(w.grad[active[group]].any())


def test_a_block_without_active_candidates_outputs_zeros() -> None:
    net, x = make(), images(2, 3, 7, 6)
    active = {"first": torch.ones(3, 6) > 0, "rest": torch.ones(3, 7) > 0}
    active["first"][1] = False  # of stride 2
    weights = mixing(net)
    actual = net(x, Mixture(weights, active=active))
    weights["first"][1] = 0
    torch.testing.assert_close(actual, net(x, weights), **EXACT)


def test_only_active_norms_update_their_statistics() -> None:
    net, x = make(1), images(2, 3, 6, 6)
    active = {"first": torch.tensor([[True] + 5 * [False]] * 3)}
    net(x, Mixture(mixing(net), active=active))
    for name, value in net.state_dict().items():
        if name.startswith("blocks") and name.endswith("num_batches_tracked"):
            assert int(value) == (name.split(".")[3] == "0")


def test_skip_dropout_acts_only_in_training() -> None:
    net, x = make(), images(3, 3, 8, 8)
    skips = mixing(net)
    skips["rest"] = F.one_hot(torch.tensor([6, 6, 6]), 7).double()
    blocks = {**skips, "rest": F.one_hot(torch.tensor([0, 2, 4]), 7).double()}
    kept = [net(x, skips), net(x, blocks)]
    net.skip_dropout = 0.5
    assert not torch.allclose(net(x, skips), kept[0])
    torch.testing.assert_close(net(x, blocks), kept[1], **EXACT)
    net.eval()
    assert torch.equal(net(x, skips), net(x, skips))


@pytest.mark.parametrize("skip_dropout", [0.0, 0.3])
def test_recomputation_changes_nothing(skip_dropout: float) -> None:
    x, results = images(3, 3, 8, 8), []
    for recomputes in (False, True):
        net = make(3)
        net.skip_dropout = skip_dropout
        if recomputes:
            net.recompute_cells()
        torch.manual_seed(7)
        net(x).square().sum().backward()
        results.append([p.grad for p in net.parameters()] + [b.clone() for b in net.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_only_norms_of_stem_and_head_have_parameters() -> None:
    affine = {
        (name.split(".")[0], module.affine)
        for name, module in make().named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert affine == {("stem", True), ("blocks", False), ("head", True)}


def test_bfloat16_is_close_to_float32() -> None:
    net, x = make().float(), images(3, 3, 8, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x)
    logits.float().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    torch.testing.assert_close(logits.float(), net(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("size", ["channels", "cells", "classes", "in_channels"])
def test_invalid_sizes_are_rejected(size: str) -> None:
    with pytest.raises(ValueError, match=f"{size}=0: must be an integer >= 1"):
        Supernet(**{size: 0})


def test_mixing_weights_of_other_shapes_are_rejected() -> None:
    net, x = make(), images(2, 3, 8, 8)
    with pytest.raises(ValueError, match="mixing weights of rest are missing"):
        net(x, {"first": torch.ones(3, 6).double()})
    with pytest.raises(ValueError, match=r"mixing weights of first have shape \(3, 7\)"):
        net(x, {"first": torch.ones(3, 7).double(), "rest": torch.ones(3, 7).double()})


def test_mask_rejects_other_numbers_of_blocks() -> None:
    with pytest.raises(ValueError, match="the genotype has 3 blocks, not 6"):
        Macro().mask(Genotype(("mb_k3_e3",) * 3), make().candidates)
