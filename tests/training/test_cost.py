"""Parameters and MACs equal those counted by hand."""

from __future__ import annotations

import torch
from torch import nn

from darts.spaces.cnn import PUBLISHED, Network
from darts.training.cost import count_macs, count_parameters


def test_macs_and_parameters_of_layers_equal_a_count_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # on 10x12
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False),  # to 5x6
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 7),
    )
    by_hand = 10 * 12 * 8 * 3 * 9 + 5 * 6 * 8 * 25 + 5 * 6 * 16 * 8 + 16 * 7
    assert count_macs(net, torch.zeros(1, 3, 10, 12)) == by_hand
    weights = 8 * 3 * 9 + 2 * 8 + 8 * 25 + (16 * 8 + 16) + (16 * 7 + 7)
    assert count_parameters(net.parameters()) == weights
    assert count_parameters([]) == 0


def test_macs_of_a_normal_cell_equal_a_count_by_hand() -> None:
    genotype = PUBLISHED["DARTS_V2"].genotype
    assert genotype.count("sep_conv_3x3", "normal") == 5
    assert genotype.count("dil_conv_3x3", "normal") == 1
    net = Network(genotype, channels=2, cells=3, classes=5, auxiliary=False)
    net.cells = nn.ModuleList([net.cells[0]])
    net.classifier = nn.Linear(8, 5)
    stem, preprocessing = 64 * 6 * 27, 64 * 2 * (6 * 2)
    separable, dilated = 64 * 2 * (2 * 9 + 2 * 2), 64 * (2 * 9 + 2 * 2)
    by_hand = stem + preprocessing + 5 * separable + dilated + 8 * 5
    assert count_macs(net, torch.zeros(1, 3, 8, 8)) == by_hand
