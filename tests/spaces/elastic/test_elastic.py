"""The elastic space: its networks are slices of the supernet, and mixtures are one network."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.comparing import EXACT, images, mixing
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from darts.spaces import SPACES, Mixture
from darts.spaces.elastic import Elastic, Genotype
from darts.spaces.elastic.genotype import SKIP
from darts.spaces.elastic.supernet import MixedBlock, Supernet
from darts.spaces.mixture import path_mixture
from darts.training.cost import count_macs, count_parameters

SPACE = Elastic(channels=4, widths=[100, 50, 75], expansions=[50, 100], kernels=[3, 7, 5])


def supernet(space: Elastic = SPACE) -> Supernet:
    """Return a supernet whose parameters and statistics are all random."""
    torch.manual_seed(0)
    net = space.supernet(classes=3, in_channels=2).double()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            nn.init.uniform_(tensor, 0.5, 1.5)
    for block in net.blocks:
        for name, table in block.maps.items():  # type: ignore[union-attr, operator]
            nn.init.normal_(table, std=1 / int(name))
    return net


def path(space: Elastic, net: Supernet, genotype: Genotype) -> Mixture:
    masks = space.mask(genotype, net.candidates)
    mixture = path_mixture(masks, net.shapes, torch.device("cpu"))
    return mixture.with_weights({group: w.double() for group, w in mixture.items()})


@given(seed=st.integers(0, 10**6), training=st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_path_equals_the_network_of_copied_slices(seed: int, training: bool) -> None:
    net, genotype = supernet(), SPACE.random(torch.Generator().manual_seed(seed))
    alone = SPACE.inherit(genotype, net)
    net.train(training)
    alone.train(training)
    xs = [images(5, 2, 9, 8).requires_grad_() for _ in range(2)]
    outputs = [net(xs[0], path(SPACE, net, genotype)), alone(xs[1])]
    torch.testing.assert_close(*outputs, **EXACT)
    for logits in outputs:
        logits.square().sum().backward()
    torch.testing.assert_close(xs[0].grad, xs[1].grad, **EXACT)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (alone.stem[0], net.stem[0]),
        (alone.classifier, net.classifier),
    ]
    for block, mixed in zip(alone.blocks, net.blocks, strict=True):
        if isinstance(block, nn.Identity):
            continue
        assert isinstance(mixed, MixedBlock)
        conv, norm, _, project, project_norm = block.layers  # type: ignore[misc, union-attr]
        pairs += [(norm, mixed.norm), (project, mixed.project), (project_norm, mixed.project_norm)]
        if conv.weight.shape[-1] == 7:
            pairs.append((conv, mixed.conv))
    for small, large in pairs:
        for name, parameter in small.named_parameters():
            whole = large.get_parameter(name).grad
            assert whole is not None
            own = whole[tuple(slice(size) for size in parameter.shape)]
            torch.testing.assert_close(own, parameter.grad, **EXACT)
            assert whole.count_nonzero() == own.count_nonzero()
        for name, buffer in small.named_buffers():
            rows = tuple(slice(size) for size in buffer.shape)
            torch.testing.assert_close(large.get_buffer(name)[rows], buffer, **EXACT)


def test_a_path_costs_as_much_as_its_network() -> None:
    space = Elastic(channels=4)
    net, x = supernet(space), images(1, 2, 9, 8)
    for seed in range(5):
        genotype = space.random(torch.Generator().manual_seed(seed))
        alone = space.network(genotype, classes=3, in_channels=2)
        with FlopCounterMode(display=False) as counter:
            net(x, path(space, net, genotype))
        assert counter.get_total_flops() == pytest.approx(
            2 * count_macs(alone, x.float()), rel=0.05
        )


def slow_block(block: MixedBlock, x: Tensor, weights: Tensor, factors: Tensor) -> Tensor:
    """The mixture of all candidates of a block, one channel after the other."""
    total = weights[: block.convs].sum()
    columns = [*product(block.outputs, block.kernels, block.hidden)]
    channels, share_of = [], []
    for channel in range(max(block.hidden)):
        kernel: Any = 0
        share: Any = 0
        for weight, (_, size, hidden) in zip(weights, columns, strict=False):
            if channel < hidden:
                margin = (max(block.kernels) - size) // 2
                own = block.kernel(size, max(block.hidden), x.shape[1])[channel]
                kernel = kernel + weight * F.pad(own, [margin] * 4)
                share = share + weight
        y = F.conv2d(x, (kernel / share)[None], padding=max(block.kernels) // 2)
        channels.append(y)
        share_of.append(share / total)
    z = block.norm(torch.cat(channels, dim=1)).relu()
    z = z * torch.stack(share_of).view(1, -1, 1, 1)
    y = F.conv2d(z, block.project.weight)
    norm = block.project_norm
    own = F.batch_norm(y, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
    y = total * factors.view(1, -1, 1, 1) * own
    return x * weights.sum() + y if block.adds else y


def test_mixtures_are_mixed_kernels_and_factors_of_channels() -> None:
    net = supernet()
    x = images(5, 4, 6, 5)
    weights = mixing(net)
    first, second = weights["first"][0], weights["rest"][0]
    factors = torch.zeros(4, dtype=torch.float64)
    for weight, (width, _, _) in zip(first, product((4, 2, 3), "kkk", "hh"), strict=True):
        factors[:width] += weight / first.sum()
    for block, own in zip(net.blocks, (first, second), strict=False):
        assert isinstance(block, MixedBlock)
        y = block(x, own, range(len(own)), factors)
        torch.testing.assert_close(y, slow_block(block, x, own, factors), **EXACT)
        x = y
    torch.testing.assert_close(
        net.blocks[0].output_factors(first, range(len(first))),  # type: ignore[operator]
        factors,
        **EXACT,
    )


def test_all_networks_are_between_the_extremes() -> None:
    sizes = {"classes": 3, "in_channels": 2}
    smallest, largest = (
        count_parameters(SPACE.network(genotype, **sizes).parameters())
        for genotype in SPACE.extremes()
    )
    assert SPACE.extremes()[0].count(SKIP) == 3
    for seed in range(10):
        net = SPACE.network(SPACE.random(torch.Generator().manual_seed(seed)), **sizes)
        assert smallest < count_parameters(net.parameters()) < largest
    with pytest.raises(ValueError, match="space=cnn are not slices of a largest one"):
        SPACES["cnn"]().extremes()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (["k3_e100"] * 3, "0 blocks that begin a stage .* none at the beginning; it needs 3"),
        (["w50_k3_e100"] * 2, "2 blocks that begin a stage"),
        (["w50_k4_e100"] * 3, "unknown operation 'w50_k4_e100'; choose from skip_connect, names"),
        (["w50_k3_e0"] * 3, "unknown operation"),
        (["w50_k3_e1001"] * 3, "w50_k3_e1001: widths must be at most 1000 %"),
    ],
)
def test_wrong_blocks_are_rejected(blocks: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Genotype(tuple(blocks))


@pytest.mark.parametrize(
    ("key", "values"), [("widths", []), ("kernels", [3, 4]), ("expansions", [50, 50])]
)
def test_wrong_candidates_are_rejected(key: str, values: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"space\.{key}=.*: must contain at least one value"):
        Elastic(**{key: values})  # type: ignore[arg-type]


def test_networks_with_another_depth_belong_to_another_space() -> None:
    genotype = SPACE.random(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"have 2, 2, 2 blocks, not 3; set space\.cells"):
        Elastic(cells=3).encode(genotype)
