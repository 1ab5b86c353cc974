"""Genotypes: notations, errors, differences, and published cells."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from space_cases import parse_or_one_line

from darts.spaces import mlp, nas201, parse_genotype
from darts.spaces.any_genotype import PublishedGenotype
from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.describe import difference
from darts.spaces.genotype import OPERATIONS, Genotype
from darts.spaces.lookup import find_genotype

NORMAL = [("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_5x5", 2), ("none", 0)]
REDUCE = [("max_pool_3x3", 1), ("conv_7x1_1x7", 0)]
SMALL = Genotype(NORMAL, [2, 3], REDUCE, [2])  # type: ignore[arg-type]
CLASSIC = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('none', 0)], "
    "normal_concat=[2, 3], reduce=[('max_pool_3x3', 1), ('conv_7x1_1x7', 0)], reduce_concat=[2])"
)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    parts: list[Any] = []
    for _ in range(2):
        nodes = draw(st.integers(1, 6))
        parts.append(
            [
                (draw(st.sampled_from(OPERATIONS)), draw(st.integers(0, i // 2 + 1)))
                for i in range(2 * nodes)
            ]
        )
        states = st.sampled_from(range(2, nodes + 2))
        parts.append(draw(st.lists(states, min_size=1, unique=True)))
    return Genotype(*parts)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"normal": []}, "normal must be a list with at least one entry"),
        ({"normal": NORMAL[:3]}, "normal has 3 edges"),
        ({"normal": [("sep_conv_9x9", 0), *NORMAL[1:]]}, "'sep_conv_9x9'; choose from none, max"),
        ({"normal": [("none", 2), *NORMAL[1:]]}, "source 2 is not a state from 0 to 1"),
        ({"normal": [("none", True), *NORMAL[1:]]}, "source True"),
        ({"normal": [("none", 10**5000), *NORMAL[1:]]}, "a value of type int"),
        ({"normal": [("none", 0, 1), *NORMAL[1:]]}, "not an .operation, source. pair"),
        ({"normal_concat": [2, 2]}, "twice"),
        ({"normal_concat": [1]}, "1 is not a node; nodes are the states from 2 to 3"),
        ({"reduce_concat": 2}, "reduce_concat must be a list with at least one entry, not 2"),
    ],
)
def test_invalid_fields_are_rejected_in_one_line(change: dict[str, Any], match: str) -> None:
    parts: dict[str, Any] = {"normal": NORMAL, "reduce": REDUCE}
    parts |= {"normal_concat": [2], "reduce_concat": [2]}
    Genotype(**parts)
    with pytest.raises(ValueError, match=match) as caught:
        Genotype(**(parts | change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        CLASSIC,
        f"NAME = {CLASSIC}",
        f"genotype = {CLASSIC}",
        CLASSIC.replace("'", '"').replace("[2, 3]", "range(2, 4)"),
        CLASSIC.replace("[2, 3]", "range(2, 4, 1)").replace("[", "(").replace("]", ",)"),
        CLASSIC.replace("normal=", "").replace("normal_concat=", ""),
        CLASSIC.replace(", reduce_concat=[2]", "").replace("(", "(reduce_concat=[2], ", 1),
        CLASSIC.replace("normal_concat", "\n  # what; a (comment)[0] - says: {}\n  normal_concat"),
        "\ufeff" + SMALL.to_json(),
        SMALL.to_json().replace('"space": "cnn",', ""),
    ],
)
def test_all_notations_parse_to_the_same_genotype(text: str) -> None:
    assert Genotype.parse(text) == SMALL


INVALID: list[tuple[Any, str]] = [
    (SMALL.to_json().replace("[2]", "[NaN]"), "nan is not a node"),
    ('{"normal": {"none": 0}, "normal_concat": [2], "reduce": [], "reduce_concat": [2]}',
     "normal must be a list with at least one entry, not {'none': 0}"),
    ("[" * 50_000, "not a genotype"),
    (CLASSIC.replace("normal_concat", "concat"), "its fields are .*'concat'"),
    (CLASSIC.replace("normal=", "", 1).replace("normal_concat", "normal"), "its fields are"),
    (CLASSIC.replace("[2, 3]", "range(2, 10 ** 9)"), "one Genotype"),
    (CLASSIC.replace("[2, 3]", "range(2, 1000000000000)"), "one Genotype"),
    (CLASSIC.replace("[2, 3]", "range(0, 4, 0)"), "one Genotype"),
    (CLASSIC + "\nx", "expected a JSON object or one Genotype"),
    ("x = [1]", "expected a JSON object or one Genotype"),
    ("Genotype()", r"its fields are \[\]"),
    ("Genotype(**{})", "one Genotype"),
    (f"Genotype({'[1],' * 5})", "one Genotype"),
    ("Genotype([1], normal=)", "one Genotype"),
    ("Genotype(normal=" + "[" * 20_000, "not a genotype"),
    ("not " * 24_000 + "x", "not a genotype"),
    ("f" + "()" * 40_000, "not a genotype"),
    ("Genotype(1in [2])", "not a genotype"),
    ("Genotype(\x00)", "one Genotype"),
    (" \n", "empty text"),
    ("x" * 100_001, "100000 characters"),
    (b"Genotype()", "not from b'Genotype"),
]  # fmt: skip
RECURRENT = "Genotype(recurrent=[('{}', {})], concat=[{}])"
BLOCKS = '{{"space": "transformer", "blocks": [{}]}}'
ARCH = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|skip_connect~1|nor_conv_3x3~2|"


@pytest.mark.parametrize(
    ("parse", "text", "match"),
    [
        *((Genotype.parse, *case) for case in INVALID),
        (mlp.Genotype.parse, '{"layers": ["relu"]}', "unknown layer 'relu'.*relu, leaky_relu, elu"),
        (mlp.Genotype.parse, '{"layers": ["relu_064"]}', "unknown layer 'relu_064'"),
        # A digit, but not an ASCII one.
        (mlp.Genotype.parse, '{"layers": ["relu_\\u0664"]}', "unknown layer"),
        (mlp.Genotype.parse, '{"layers": [64]}', "unknown layer 64"),
        (mlp.Genotype.parse, '{"layers": ["relu_65537"]}', "the width must be at most 65536"),
        (nas201.Genotype.parse, "|none~0|", "not a NAS-Bench-201 architecture"),
        (nas201.Genotype.parse, ARCH.replace("none", "conv"), "unknown operation 'conv'; choose"),
        (nas201.Genotype.parse, '{"space": "nas201", "arch": 3}', "read from text, not from 3"),
        (parse_genotype, "Genotype([('none', 0)], [1])", "normal"),
        (parse_genotype, RECURRENT.format("gelu", 0, 1), "node 1: unknown operation 'gelu'"),
        (parse_genotype, RECURRENT.format("tanh", 1, 1), "node 1: source 1 is not a state from 0"),
        (parse_genotype, RECURRENT.format("tanh", 0, 2), "concat: 2 is not a node; nodes are the"),
        (parse_genotype, BLOCKS.format('"conv_3"'), "block 0 is 'conv_3', not a pair of mixer"),
        (parse_genotype, BLOCKS.format('["conv_3", "relu_1"], ["identity", "identity"]'),
         "block 1 has neither a mixer nor a feed-"),
        (parse_genotype, BLOCKS.format('["relu_1", "conv_3"]'), "block 0: unknown mixer 'relu_1'"),
        (parse_genotype, BLOCKS.format('["conv_3", "lstm"]'), "unknown feed-forward layer 'lstm'"),
        (parse_genotype, BLOCKS.format('["conv_3", ["relu_1"]]'), r"forward layer \['relu_1'\]"),
    ],
)  # fmt: skip
def test_invalid_text_is_rejected_with_a_reason(parse: Any, text: Any, match: str) -> None:
    assert parse_or_one_line(text, parse) is None
    with pytest.raises(ValueError, match=match):
        parse(text)


@pytest.mark.parametrize("template", ["{}", "Genotype({})", "Genotype(normal=[{}])", "x = {}"])
def test_code_is_never_executed(template: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attacks = (
        f"__import__('os').system('touch {trace}')",
        f"open('{trace}', 'w')",
        f"getattr(__import__('pathlib'), 'Path')('{trace}')",
        f"[p for p in open('{trace}', 'w')]",
    )
    for attack in attacks:
        assert parse_or_one_line(template.format(attack)) is None
        assert parse_or_one_line(CLASSIC.replace("[2, 3]", attack)) is None
    assert os.listdir(tmp_path) == []


@given(genotypes(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_canonical_form_ignores_the_order_of_edges(genotype: Genotype, random: Any) -> None:
    parts: list[Any] = []
    for cell in Genotype.cells:
        pairs = getattr(genotype, cell)
        nodes = [list(pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
        for two in nodes:
            random.shuffle(two)
        parts += [[edge for two in nodes for edge in two], genotype.concat(cell)]
    shuffled = Genotype(*parts)
    assert shuffled.canonical() == genotype.canonical().canonical()
    assert difference(shuffled, genotype) == []


def test_difference_describes_edges_outputs_and_sizes() -> None:
    other = Genotype(
        (("skip_connect", 1), ("sep_conv_3x3", 0), ("dil_conv_5x5", 2), ("sep_conv_3x3", 2)),
        (3,),
        (("max_pool_3x3", 1), ("conv_7x1_1x7", 0), ("none", 0), ("skip_connect", 1)),
        (2,),
    )
    assert difference(SMALL, other) == [
        "normal cell, node 1: none from c_{k-2} vs. sep_conv_3x3 from node 0",
        "normal cell, output: node 0, node 1 vs. node 1",
        "reduce cell: 1 nodes vs. 2",
        "reduce cell, node 1: no edge vs. none from c_{k-2}",
        "reduce cell, node 1: no edge vs. skip_connect from c_{k-1}",
    ]


COMPLETE = [("skip_connect", s) if s < 2 else ("none", s) for n in range(2, 6) for s in range(n)]


def test_a_complete_cell_lists_all_edges_of_its_nodes() -> None:
    text = f"SNAS = Genotype({COMPLETE!r}, range(2, 6), {REDUCE!r}, [2])"
    genotype = Genotype.parse(text)
    assert (genotype.nodes("normal"), genotype.nodes("reduce")) == (4, 1)
    assert [(source, node) for source, node, _ in genotype.edges("normal")] == [
        (source, node) for node in range(2, 6) for source in range(node)
    ]
    assert genotype.edges("normal")[4] == (2, 3, "none")
    assert Genotype.parse(str(genotype)) == Genotype.parse(genotype.to_json()) == genotype
    assert genotype.canonical().normal == genotype.normal
    lines = genotype.to_json().splitlines()
    assert sum(line.startswith("    [") for line in lines) == 5  # one per node


def test_a_cell_with_other_sources_or_nodes_is_not_complete() -> None:
    swapped = [COMPLETE[1], COMPLETE[0], *COMPLETE[2:]]
    for pairs, last in ((swapped, 5), (COMPLETE, 8)):
        genotype = Genotype(pairs, range(2, last + 1), REDUCE, [2])  # type: ignore[arg-type]
        assert genotype.nodes("normal") == 7
        assert genotype.edges("normal")[4][1] == 4


def test_the_source_of_a_missing_edge_does_not_matter() -> None:
    one, other = (
        Genotype((("none", s), ("skip_connect", 1)), (2,), (("skip_connect", 0),) * 2, (2,))
        for s in (0, 1)
    )
    assert one != other
    assert one.canonical() == other.canonical()


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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "DARTS_V2",
            "DARTS_V2 = Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
            "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
            "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
            "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
            "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
            "('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])",
        ),
        (
            "DARTS_RNN_V2",
            "DARTS_V2 = Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), "
            "('identity', 1), ('tanh', 2), ('sigmoid', 5), ('tanh', 3), ('relu', 5)], "
            "concat=range(1, 9))",
        ),
        (
            "ENAS_RNN",
            "ENAS = Genotype(recurrent = [('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), "
            "('tanh', 3), ('relu', 3), ('relu', 4), ('relu', 7), ('relu', 8), ('relu', 8), "
            "('relu', 8)], concat = [2, 5, 6, 9, 10, 11])",
        ),
    ],
)
def test_published_text_parses_to_the_published_cells(name: str, text: str) -> None:
    assert find_genotype(name) == find_genotype(name.lower()) == (name, parse_genotype(text))


def test_published_architectures_differ() -> None:
    entry = PUBLISHED["DARTS_V2"]
    assert (entry.result, entry.parameters_million) == ("2.76 ± 0.09", 3.3)
    assert len({entry.genotype.canonical() for entry in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "size"),
    [("GDAS", 3.4), ("PDARTS", 3.4), ("PC_DARTS_CIFAR", 3.6), ("SGAS", 3.8), ("DRNAS_CIFAR", 4.1)],
)
def test_reported_sizes_match_the_cells(name: str, size: float) -> None:
    """Without the auxiliary head, which some of the papers count."""
    entry = PUBLISHED[name]
    with torch.device("meta"):
        net = Network(entry.genotype, channels=36, cells=20, classes=10, auxiliary=False)
    assert entry.parameters_million == size
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(size, rel=0.08)


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
