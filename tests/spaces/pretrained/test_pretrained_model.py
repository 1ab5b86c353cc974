"""Models with trained weights, and what ``fit`` does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_pretrained import TinyNet, save_weights
from torch import Tensor, nn

from darts.data import SampleLoader
from darts.data.images import MemoryImages
from darts.spaces.network import FittingData, fit_layers
from darts.spaces.pretrained import Pretrained
from darts.spaces.pretrained.architectures import structure
from darts.spaces.pretrained.weights import Weights

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.1)


def loss(forward: Any, batch: Any) -> tuple[Tensor, Tensor]:
    logits = forward(batch[0])
    return F.cross_entropy(logits, batch[1]), logits


def colors(count: int = 60) -> SampleLoader:
    """Return images of three classes, which differ in their mean color."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 150, (count, 3, 8, 8), generator=draw)
    pixels[torch.arange(count), labels] += 100
    return SampleLoader(
        MemoryImages(pixels.to(torch.uint8), labels),
        torch.arange(count),
        batch_size=20,
        seed=0,
        name="train",
        mean=MEAN,
        std=STD,
        augmentation=None,
        shuffle=True,
        drop_last=True,
        device="cpu",
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_weights(tmp_path_factory.mktemp("weights"))


def fitted(space: Any, **choices: str) -> tuple[Any, float | None]:
    """Return the network of the plain genotype with other choices, fitted to colors."""
    names = {name: choices.get(name, "") for name in space.choices()}
    operations = [names[key] or options[0] for key, options in space.choices().items()]
    net = space.network(space.genotype_of(operations), classes=3, in_channels=3)
    return net, fit_layers(net, FittingData(colors(), loss))


def test_a_network_begins_with_the_weights_and_a_fitted_classifier(weights: str) -> None:
    net, before = fitted(Pretrained(weights=weights))
    state = Weights.parse(weights).read()
    for name, weight in net.model.backbone.named_parameters():
        assert weight.equal(state[name]), name
    images, labels = colors().batch(0, 0)
    assert before == pytest.approx(math.log(3), abs=1e-3)
    assert loss(net, (images, labels))[0] < 0.3 * before
    mean, std = (torch.tensor(own).view(3, 1, 1) for own in (MEAN, STD))
    wanted, spread = (torch.tensor(own).view(3, 1, 1) for own in TinyNet.statistics)
    inputs = images * net.model.scale + net.model.shift
    torch.testing.assert_close(inputs, (images * std + mean - wanted) / spread)


def test_the_network_of_skipped_blocks_has_the_other_weights(weights: str) -> None:
    space = Pretrained(weights=weights)
    net, _ = fitted(space, **{"backbone.blocks.1": "skip", "adapter": "adapter"})
    assert isinstance(net.model.backbone.blocks[1], nn.Identity)
    state = Weights.parse(weights).read()
    assert net.model.backbone.blocks[2].layers[0].weight.equal(state["blocks.2.layers.0.weight"])
    assert net.model.adapter(torch.ones(1, 8)).equal(torch.ones(1, 8))  # begins as the identity


def test_batch_norms_keep_their_statistics_in_training(weights: str) -> None:
    net, _ = fitted(Pretrained(weights=weights))
    x, norm = colors().batch(0, 0)[0], net.model.backbone.blocks[0].layers[1]
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
    ("network", "features", "blocks"),
    [("efficientnet_lite0", 1280, 9), ("resnet18", 512, 5), ("mobilenet_v3_small", 1024, 6)],
)
def test_blocks_that_keep_the_shape_are_choices(network: str, features: int, blocks: int) -> None:
    parts = structure(network)
    assert (parts.features, len(parts.blocks)) == (features, blocks)


@pytest.mark.parametrize("network", ["vit_b_16", "squeezenet1_0", "fasterrcnn_resnet50_fpn", "x"])
def test_other_networks_are_refused_in_one_line(network: str) -> None:
    with pytest.raises(ValueError, match=f"space.weights={network}: must be a network") as caught:
        structure(network)
    assert len(str(caught.value).splitlines()) == 1
