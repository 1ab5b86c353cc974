"""``darts.create_model``: networks of genotypes without a run."""

from __future__ import annotations

import json

import pytest
import torch

import darts
from darts.training.cost import count_parameters

PLAIN = json.dumps({"space": "macro", "blocks": ["conv_3x3", "skip_connect"] * 3})


def test_a_published_cell_has_the_published_number_of_weights() -> None:
    net = darts.create_model("DARTS_V2")
    assert count_parameters(net.parameters()) == 3_349_342
    net = darts.create_model("DARTS_V2", classes=1000, channels=48, cells=14, stem="imagenet")
    assert count_parameters(net.parameters()) == 4_718_752


@pytest.mark.parametrize(
    ("genotype", "size"),
    [
        ('{"space": "mlp", "layers": ["relu_16"]}', 1),
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|", 8),
        (PLAIN, 8),
    ],
)
def test_other_spaces(genotype: str, size: int) -> None:
    sizes: dict[str, object] = {"skeleton": "plain"} if "macro" in genotype else {}
    net = darts.create_model(genotype, classes=3, in_channels=5, **sizes).eval()
    assert net(torch.zeros(2, 5, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("genotype", "sizes", "message"),
    [
        ("DARTS_V9", {}, "did you mean DARTS_V2"),
        ("DARTS_V2", {"chanels": 3}, "did you mean 'space.channels'"),
        ("DARTS_V2", {"channels": 0}, "space.channels=0: must be >= 1"),
        ("DARTS_RNN_V1", {}, "belongs to space=recurrent"),
    ],
)
def test_wrong_settings_end_in_one_line(
    genotype: str, sizes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        darts.create_model(genotype, **sizes)
    assert "\n" not in str(caught.value)
