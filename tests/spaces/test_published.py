"""Published cell genotypes, and lookup by name."""

from __future__ import annotations

import re

import pytest
import torch

from darts.spaces.any_genotype import PublishedGenotype
from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.genotype import Genotype
from darts.spaces.lookup import find_genotype


@pytest.mark.parametrize("entry", PUBLISHED.values(), ids=PUBLISHED)
def test_published_entries_are_complete(entry: PublishedGenotype[Genotype]) -> None:
    assert PUBLISHED[entry.name] is entry
    assert entry.name == entry.name.upper()
    assert re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
    assert entry.paper
    assert re.fullmatch(r"([23]\.\d\d( ± 0\.[01]\d)?)?", entry.result)
    assert Genotype.parse(str(entry.genotype)) == entry.genotype
    for cell in Genotype.cells:
        assert entry.genotype.nodes(cell) == (5 if entry.name in ("NASNET", "AMOEBANET") else 4)


def test_published_architectures_differ() -> None:
    assert len({entry.genotype.canonical() for entry in PUBLISHED.values()}) == len(PUBLISHED)


def test_darts_v2_matches_the_paper() -> None:
    published = Genotype.parse(
        "DARTS_V2 = Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
        "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
        "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
        "('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
    )
    entry = PUBLISHED["DARTS_V2"]
    assert entry.genotype == published
    assert (entry.result, entry.parameters_million) == ("2.76 ± 0.09", 3.3)


@pytest.mark.parametrize(
    ("name", "size"),
    [("GDAS", 3.4), ("PDARTS", 3.4), ("PC_DARTS_CIFAR", 3.6), ("SGAS", 3.8), ("DRNAS_CIFAR", 4.1)],
)
def test_reported_sizes_match_the_cells(name: str, size: float) -> None:
    """The convolutions of 20 cells with 36 channels have about the reported number of weights."""
    kernel = {"sep_conv_3x3": 9, "sep_conv_5x5": 25, "dil_conv_3x3": 9, "dil_conv_5x5": 25}
    entry = PUBLISHED[name]
    total, channels = 0, 36
    for index in range(20):
        cell = "reduce" if index in (6, 13) else "normal"
        channels *= 2 if cell == "reduce" else 1
        for _, _, operation in entry.genotype.edges(cell):
            times = 2 if operation.startswith("sep") else 1
            if operation in kernel:
                total += times * channels * (kernel[operation] + channels)
        total += 2 * channels * 4 * channels  # the two 1x1 convolutions on the cell's inputs
    assert entry.parameters_million == size
    assert total / 1e6 == pytest.approx(size, rel=0.08)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("DARTS_V3", r"'DARTS_V3'; did you mean DARTS_V[12]\? choose from NASNET, AMOEBANET"),
        ("darts_rnn_v3", "did you mean DARTS_RNN_V2"),
        ("qqq", "called 'qqq'; choose from NASNET"),
        ("z" * 1000, r"zzz\.\.\.; choose"),
    ],
)
def test_unknown_names_are_rejected_with_the_choices(name: str, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        find_genotype(name)
    assert len(str(caught.value).splitlines()) == 1
    assert all(known in str(caught.value) for known in PUBLISHED)


@pytest.mark.parametrize("letter", "ABCDEFG")
def test_cells_of_fair_darts_have_the_reported_number_of_parameters(letter: str) -> None:
    """Sizes are reported with two decimals, cut off, and include the auxiliary head but for C."""
    entry = PUBLISHED[f"FAIR_DARTS_{letter}"]
    net = Network(entry.genotype, channels=36, cells=20, classes=10, auxiliary=letter != "C")
    size = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert 0 <= size - entry.parameters_million < 0.01 or round(size, 2) == entry.parameters_million


def test_nodes_without_inputs_are_not_concatenated() -> None:
    a, c = (PUBLISHED[f"FAIR_DARTS_{letter}"].genotype for letter in "AC")
    assert (a.concat("normal"), a.concat("reduce")) == ((2, 4, 5), (2, 3, 4, 5))
    assert ("none", 3) in c.normal  # a skip connection from a node that does not exist
    net = Network(a, channels=2, cells=3, classes=3, auxiliary=False)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    # Nothing of the missing node remains: no parameters, and the others get gradients.
    assert all(parameter.grad is not None for parameter in net.parameters())
