"""Checkpoints that networks of another genotype inherit."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from darts.recipes.states import inherited_checkpoint
from darts.spaces.macro import Genotype, Macro
from darts.spaces.macro.genotype import Shape
from darts.spaces.macro.moves import embedded

SPACE = Macro(skeleton="fast")
GENOTYPE = Genotype(
    ("conv_3x3", "res_3x3", "conv_3x3", "excite", "conv_3x3", "mb_k3_e3"), shape=Shape((4, 6, 6))
)
ALGORITHMS = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.AdamW, lr=0.01),
}


def network(genotype: Genotype) -> Any:
    return SPACE.network(genotype, classes=3, in_channels=2).double().train()


def step(net: Any, optimizer: torch.optim.Optimizer, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 2, 8, 8, generator=draw, dtype=torch.float64)
    optimizer.zero_grad()
    F.cross_entropy(net(images), torch.arange(6) % 3).backward()
    optimizer.step()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "move",
    [
        *("wider", "wider stage 2", "larger kernels in stage 1", "kernels 3x3_d2 in stage 3"),
        *("head max_3", "res_3x3 in stage 3", "excite in stage 3"),
    ],
)
def test_the_next_step_changes_old_weights_as_in_the_parent(move: str, algorithm: str) -> None:
    torch.manual_seed(0)
    parent = network(GENOTYPE)
    optimizer = ALGORITHMS[algorithm](parent.parameters())
    for seed in range(3):
        step(parent, optimizer, seed)
    saved = {
        "net": parent.state_dict(),
        "averaging": {"average": parent.state_dict(), "count": 3},
        "best": {"epoch": 1, "scores": {}, "net": parent.state_dict()},
        "optimizer": optimizer.state_dict(),
        "slow_steps": 7,
    }
    (genotype,) = (m.genotype for m in SPACE.moves(GENOTYPE) if m.name == move)
    net = network(genotype)
    fitting = inherited_checkpoint(
        saved, net, partial(SPACE.inherited_tensors, genotype, GENOTYPE), partial(network, GENOTYPE)
    )
    assert fitting["slow_steps"] == 7
    for weights in (fitting["net"], fitting["averaging"]["average"], fitting["best"]["net"]):
        net.load_state_dict(weights)
    own = ALGORITHMS[algorithm](net.parameters())
    groups = own.state_dict()["param_groups"]
    own.load_state_dict({"state": fitting["optimizer"]["state"], "param_groups": groups})
    step(parent, optimizer, 3)
    step(net, own, 3)
    for name, weight in parent.named_parameters():
        changed = dict(net.named_parameters())[name]
        part = embedded(weight.detach(), changed.detach())
        torch.testing.assert_close(part, weight, rtol=0, atol=1e-9, msg=name)
