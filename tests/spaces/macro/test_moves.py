"""Moves of genotypes with a shape: which there are, and networks that inherit weights."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces import parse_genotype
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.genotype import Shape
from darts.spaces.macro.moves import embedded
from darts.spaces.moves import Move

SPACE = Macro(skeleton="fast")
SIZES = {"classes": 3, "in_channels": 2}
PLAIN = Genotype(("conv_3x3",) * 6, shape=Shape((4, 6, 6)))


def trained_network(genotype: Genotype) -> Any:
    """Return a network in which no weight and no statistic has its initial value."""
    net = SPACE.network(genotype, **SIZES).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2)
    return net


def inheriting_network(genotype: Genotype, parent: Any) -> Any:
    net = SPACE.network(genotype, **SIZES).double()
    own, theirs = net.state_dict(), parent.state_dict()
    net.load_state_dict(SPACE.inherited_tensors(genotype, parent.genotype, own, theirs))
    return net


def gradients(net: Any, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    F.cross_entropy(net(images), labels).backward()
    return {name: p.grad for name, p in net.named_parameters()}


def draw_genotype(seed: int, steps: int) -> Genotype:
    draw, genotype = random.Random(seed), PLAIN
    for _ in range(steps):
        genotype = draw.choice([*SPACE.moves(genotype)]).genotype
    return genotype


@pytest.mark.parametrize("seed", range(12))
def test_moves_that_keep_the_function_change_neither_outputs_nor_shared_gradients(
    seed: int,
) -> None:
    torch.manual_seed(seed)
    genotype = draw_genotype(seed, seed % 6)
    parent = trained_network(genotype).eval()
    images, labels = torch.randn(3, 2, 12, 11, dtype=torch.float64), torch.tensor([0, 2, 1])
    expected, before = parent(images), gradients(parent, images, labels)
    kept = [move for move in SPACE.moves(genotype) if move.keeps_function]
    assert len(kept) > 8
    for move in kept:
        net = inheriting_network(move.genotype, parent).eval()
        torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-8, msg=move.name)
        shared = {name: tensor.shape for name, tensor in before.items()}
        own = {n: p for n, p in gradients(net, images, labels).items() if n in shared}
        same_blocks = move.genotype.depths == genotype.depths
        for name, gradient in own.items():
            if name.startswith("blocks") and not same_blocks:  # later blocks have other numbers
                continue
            largest = gradient.clone()
            part = embedded(before[name], largest)  # its first channels and center
            torch.testing.assert_close(
                part, before[name], rtol=0, atol=1e-8, msg=f"{move.name}: {name}"
            )


@pytest.mark.parametrize("seed", range(6))
def test_new_parts_learn_from_the_first_step(seed: int) -> None:
    torch.manual_seed(seed)
    parent = trained_network(draw_genotype(seed, seed))
    images, labels = torch.randn(8, 2, 8, 8, dtype=torch.float64), torch.randint(3, (8,))
    for move in SPACE.moves(parent.genotype):
        net = inheriting_network(move.genotype, parent).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        for _ in range(2):  # weights behind zeros have gradients after the first step
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
        assert loss.isfinite(), move.name
        still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == [], move.name


@pytest.mark.parametrize("seed", range(8))
def test_every_genotype_that_moves_reach_is_read_from_its_text(seed: int) -> None:
    genotype = draw_genotype(seed, 8)
    assert parse_genotype(str(genotype)) == genotype
    assert parse_genotype(genotype.to_json()) == genotype
    names = [move.name for move in SPACE.moves(genotype)]
    assert len(set(names)) == len(names)
    assert all(move.genotype.function != genotype.function for move in SPACE.moves(genotype))


def test_moves_change_one_thing() -> None:
    moves: dict[str, Move] = {move.name: move for move in SPACE.moves(PLAIN)}
    stages = [("conv_3x3",) * 2] * 3
    assert moves["wider stage 2"].genotype.shape.widths == (4, 9, 6)
    assert moves["res_3x3 in stage 1"].genotype.stages[0] == ("conv_3x3", "conv_3x3", "res_3x3")
    assert moves["larger kernels in stage 3"].genotype.stages == [*stages[:2], ("conv_5x5",) * 2]
    assert moves["kernels 3x3_d2 in stage 1"].genotype.blocks[:3] == (
        "conv_3x3+3x3_d2",
        "conv_3x3+3x3_d2",
        "conv_3x3",
    )
    assert moves["no pooling in stage 1"].genotype.shape.pools == (1, 2, 2)
    assert moves["head max_3"].genotype.shape.heads == ("max_1", "max_3")
    assert moves["2x2 parts"].genotype.shape == Shape((4, 6, 6), heads=("max_1", "max_2"), parts=2)
    assert not moves["2x2 parts"].keeps_function


def test_parts_are_seen_separately() -> None:
    torch.manual_seed(0)
    genotype = Genotype(("conv_3x3",) * 6, shape=Shape((4, 6, 6), heads=("max_2",), parts=2))
    net = SPACE.network(genotype, **SIZES).double().eval()
    images = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    whole = SPACE.network(PLAIN, **SIZES).double().eval()
    whole.load_state_dict(
        SPACE.inherited_tensors(PLAIN, genotype, whole.state_dict(), net.state_dict())
    )
    weight = net.head["max_2"].linear.weight.unflatten(1, (6, 2, 2))  # channel, row, column
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for row in range(2):
        for column in range(2):
            x = images[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            x = whole.stem(x)
            for block in whole.blocks:
                x = block(x)
            expected += 0.25 * x.amax((2, 3)) @ weight[:, :, row, column].t()
    torch.testing.assert_close(net(images), expected)


def test_a_convolution_of_several_kernels_is_their_sum() -> None:
    torch.manual_seed(0)
    genotype = Genotype(
        ("conv_3x3", "res_5x5+3x3_d4", "conv_3x3", "conv_3x3"),
        (2, 1, 1),
        Shape((4, 4, 4), pools=(1, 1, 1)),
    )
    conv = trained_network(genotype).blocks[1].layers[0]
    x = torch.randn(1, 4, 9, 9, dtype=torch.float64)
    weight = F.pad(conv.weight, (2, 2, 2, 2))  # 9x9
    weight = weight.clone()
    weight[:, :, ::4, ::4] += conv.others["3x3_d4"].weight
    torch.testing.assert_close(conv(x), F.conv2d(x, weight, padding=4))


@pytest.mark.parametrize(
    ("blocks", "shape", "message"),
    [
        (["conv_3x3"] * 3, {"widths": [1, 2]}, "widths=[1, 2]: must be 3 integers from 1 to 65536"),
        (["conv_3x3"] * 3, {"widths": [8, 8, True]}, "widths=[8, 8, True]: must be 3 integers"),
        (["conv_3x3"] * 3, {"widths": [8] * 3, "pools": [1, 2, 3]}, "pools=[1, 2, 3]: must be"),
        (["conv_3x3"] * 3, {"widths": [8] * 3, "heads": ["max"]}, "heads=['max']: must be diff"),
        (["conv_3x3"] * 3, {"widths": [8] * 3, "parts": 0}, "parts=0: must be an integer from 1"),
        (["conv_3x3"] * 3, {"width": 8}, "shape={'width': 8}: must be an object with widths"),
        (["conv_3x3", "res_5x5", "excite"], {"widths": [8] * 3}, "block 1 begins a stage and"),
        (["conv_3x3", "conv_3x5", "conv_3x3"], {"widths": [8] * 3}, "unknown operation 'conv_3x5'"),
        (["conv_3x3+3x3"] * 3, {"widths": [8] * 3}, "unknown operation 'conv_3x3+3x3'"),
    ],
)
def test_wrong_shapes_give_one_line(blocks: list[str], shape: object, message: str) -> None:
    text = json.dumps({"space": "macro", "blocks": blocks, "shape": shape})
    with pytest.raises(ValueError, match="^" + re.escape(message)) as error:
        parse_genotype(text)
    assert len(str(error.value).splitlines()) == 1


def test_operations_of_moves_need_a_shape() -> None:
    with pytest.raises(ValueError, match="block 0: conv_7x7 needs a genotype with a shape"):
        Genotype(("conv_7x7", "conv_3x3", "conv_3x3"))


@pytest.mark.parametrize("parts", [2, 3])
def test_networks_of_parts_are_exported_for_any_number_of_images(parts: int) -> None:
    shape = Shape((4, 4, 4), heads=("max_1", f"max_{parts}"), parts=parts)
    net = trained_network(Genotype(("conv_3x3",) * 3, shape=shape)).eval()
    images = torch.randn(2, 2, 13, 12, dtype=torch.float64)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(net, (images,), dynamic_shapes=({0: batch},)).module()
    more = torch.randn(5, 2, 13, 12, dtype=torch.float64)
    torch.testing.assert_close(exported(more), net(more))
