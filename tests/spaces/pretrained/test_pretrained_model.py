"""Models with trained weights, and what ``fit`` does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_pretrained import MEAN, STD, TinyNet, colors, save_weights
from torch import Tensor

from darts.spaces.network import FittingData, fit_layers
from darts.spaces.pretrained import Pretrained
from darts.spaces.pretrained.architectures import structure
from darts.spaces.pretrained.weights import Weights


def loss(forward: Any, batch: Any) -> tuple[Tensor, Tensor]:
    logits = forward(batch[0])
    return F.cross_entropy(logits, batch[1]), logits


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_weights(tmp_path_factory.mktemp("weights"))


def fitted(space: Any, **choices: str) -> tuple[Any, float | None]:
    """Return the network of the plain genotype with other choices, fitted to colors."""
    operations = [choices.get(key, options[-1]) for key, options in space.choices().items()]
    net = space.network(space.genotype_of(operations), classes=3, in_channels=3)
    return net, fit_layers(net, FittingData(colors(), loss))


def test_a_network_begins_with_the_weights_and_a_fitted_classifier(weights: str) -> None:
    net, before = fitted(Pretrained(weights=weights))
    state = Weights.parse(weights).read()
    stage0, _, stage1 = net.model.backbone.net.blocks
    for number, block in zip([0, 1, 3], [*stage0, *stage1], strict=True):
        for name, weight in block.named_parameters():
            assert weight.equal(state[f"blocks.{number}.{name}"]), name
    images, labels = colors().batch(0, 0)
    assert before == pytest.approx(math.log(3), abs=1e-3)
    assert loss(net, (images, labels))[0] < 0.3 * before
    mean, std = (torch.tensor(own).view(3, 1, 1) for own in (MEAN, STD))
    wanted, spread = (torch.tensor(own).view(3, 1, 1) for own in TinyNet.statistics)
    inputs = images * net.model.backbone.scale + net.model.backbone.shift
    torch.testing.assert_close(inputs, (images * std + mean - wanted) / spread)


def test_a_shorter_stage_keeps_its_first_blocks(weights: str) -> None:
    space = Pretrained(weights=weights)
    net, _ = fitted(space, stage0="1", adapter="adapter")
    stage0, _, stage1 = net.model.backbone.net.blocks
    state = Weights.parse(weights).read()
    assert (len(stage0), len(stage1)) == (1, 1)
    assert stage1[0].layers[0].weight.equal(state["blocks.3.layers.0.weight"])
    assert net.model.adapter(torch.ones(1, 8)).equal(torch.ones(1, 8))  # begins as the identity


def test_the_stages_of_a_supernet_have_the_weights(weights: str) -> None:
    space = Pretrained(weights=weights)
    net = space.supernet(classes=3, in_channels=3)
    fit_layers(net, FittingData(colors(), loss))
    state = Weights.parse(weights).read()
    stage0, _, stage1 = net.model.backbone.net.blocks
    assert stage0.blocks[1].layers[0].weight.equal(state["blocks.1.layers.0.weight"])
    assert stage1.blocks[0].layers[0].weight.equal(state["blocks.3.layers.0.weight"])


def test_batch_norms_keep_their_statistics_in_training(weights: str) -> None:
    net, _ = fitted(Pretrained(weights=weights))
    x, norm = colors().batch(0, 0)[0], net.model.backbone.net.blocks[0][0].layers[1]
    assert net.train().training
    assert net(x).equal(net.eval()(x))
    assert norm.running_mean.equal(torch.zeros(8))


def test_small_images_are_enlarged(weights: str) -> None:
    net, _ = fitted(Pretrained(weights=weights, size=16))
    x = colors().batch(0, 0)[0]
    larger = F.interpolate(x, (16, 16), mode="bilinear")
    torch.testing.assert_close(net(x), net(larger))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"stem.weight": torch.ones(1)}, tmp_path / "other.pth")
    for name in ("text.pth", "other.pth"):
        with pytest.raises(ValueError, match="cannot be loaded: ") as caught:
            fitted(Pretrained(weights=f"tiny:{tmp_path / name}"))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("network", "features", "lengths"),
    [
        ("efficientnet_lite0", 1280, [1, 1, 2, 2, 3]),
        ("resnet18", 512, [2, 1, 1, 1]),
        ("vgg11", 4096, []),
    ],
)
def test_blocks_of_equal_shape_are_stages(network: str, features: int, lengths: list[int]) -> None:
    parts = structure(network)
    assert (parts.features, [len(own) for own in parts.stages]) == (features, lengths)


def test_a_module_between_blocks_ends_a_stage() -> None:
    assert structure("tiny").stages == (("blocks.0", "blocks.1"), ("blocks.3",))


@pytest.mark.parametrize("network", ["vit_b_16", "squeezenet1_0", "fasterrcnn_resnet50_fpn", "x"])
def test_other_networks_are_refused_in_one_line(network: str) -> None:
    with pytest.raises(ValueError, match=f"space.weights={network}: must be a network") as caught:
        structure(network)
    assert len(str(caught.value).splitlines()) == 1
