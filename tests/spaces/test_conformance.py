"""What every space has in common: texts, points, masks, supernets, networks and costs."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.comparing import HYPERGRADIENTS, mixing
from several_ranks import on_ranks
from space_cases import (
    CASES,
    IMAGE,
    ONE_PER_SPACE,
    WORDS,
    Case,
    OwnModel,
    one_line,
    outputs,
    parse_or_one_line,
)
from torch import Tensor, nn
from torch.func import functional_call

from darts.data.loader import rank_slice
from darts.ops.sync_batch_norm import convert_sync_batch_norm
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import SPACES, Mixture, NetworkBase, parse_genotype, space_of
from darts.spaces.describe import difference
from darts.spaces.lookup import find_genotype
from darts.spaces.module.targets import passed
from darts.spaces.parameters import Parameters, point_key
from darts.training.cost import count_macs, count_parameters

EXACT = {"rtol": 1e-8, "atol": 1e-9}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_space = pytest.mark.parametrize("case", [CASES[s] for s in ONE_PER_SPACE], ids=ONE_PER_SPACE)


@pytest.fixture(autouse=True, scope="module")
def _own_model() -> Iterator[None]:
    with passed(OwnModel()):
        yield


@every_case
def test_text_can_be_inverted(case: Case) -> None:
    for seed in range(20):
        genotype = case.random(seed)
        for text in (str(genotype), genotype.to_json(), f" \n{genotype.to_json()}\n"):
            assert parse_genotype(text) == type(genotype).parse(text.strip()) == genotype
        assert len(str(genotype).splitlines()) == 1
        assert json.loads(genotype.to_json())["space"] == case.space.name
        assert find_genotype(str(genotype)) == ("given", genotype)
        assert hash(parse_genotype(str(genotype))) == hash(genotype)
        assert space_of(genotype).name == case.space.name
    field = dataclasses.fields(genotype)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(genotype, field, ())


@every_space
def test_cells_consist_of_edges_from_earlier_states(case: Case) -> None:
    genotype, other = case.random(0), case.random(1)
    for cell in genotype.cells:
        states = genotype.inputs + genotype.nodes(cell)
        edges = genotype.edges(cell)
        assert all(0 <= source < target < states for source, target, _ in edges)
        assert set(genotype.concat(cell)) <= set(range(genotype.inputs, states))
        names = [name for _, _, name in edges]
        assert all(genotype.count(name, cell) == names.count(name) for name in names)
    for ask in (genotype.nodes, genotype.concat, genotype.edges):
        with pytest.raises(ValueError, match=f"unknown cell 'x'; choose from {genotype.cells[0]}"):
            ask("x")
    if genotype.vocabulary:
        with pytest.raises(ValueError, match="unknown operation 'x'; choose from"):
            genotype.count("x")
    assert genotype.canonical().canonical() == genotype.canonical()
    assert difference(genotype, genotype) == []
    assert bool(difference(genotype, other)) == (genotype.canonical() != other.canonical())


@every_space
@given(
    seed=st.integers(0, 9),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 5),
            st.one_of(st.text(max_size=4), st.sampled_from(list("()[]{},='\"|~+0123456789 \n_"))),
        ),
        min_size=1,
        max_size=6,
    ),
)
@settings(deadline=None, max_examples=100)
def test_damaged_text_is_parsed_or_rejected_in_one_line(
    case: Case, seed: int, edits: list[tuple[float, int, str]]
) -> None:
    genotype = case.random(seed)
    for text in (str(genotype), genotype.to_json()):
        damaged = text
        for place, removed, inserted in edits:
            start = int(place * len(damaged))
            damaged = damaged[:start] + inserted + damaged[start + removed :]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for parse in (parse_genotype, type(genotype).parse):
                parsed = parse_or_one_line(damaged, parse)
                assert parsed is None or parse_genotype(str(parsed)) == parsed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["none", "relu_1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@every_space
@given(value=JSON, position=st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_any_json_is_parsed_or_rejected_in_one_line(case: Case, value: Any, position: int) -> None:
    content = json.loads(case.random().to_json())
    fields = [name for name in content if name != "space"]
    content[fields[position % len(fields)]] = value
    parse_or_one_line(json.dumps(content))


@every_space
def test_text_of_another_form_is_rejected(case: Case) -> None:
    genotype = case.random()
    parse, content = type(genotype).parse, json.loads(genotype.to_json())
    field = [*content][1]
    missing = json.dumps({"space": case.space.name})
    for text, message in (
        ("{", "bad JSON at line 1"),
        ("[1]", "expected a JSON object"),
        (json.dumps(content | {"space": "other"}), "belongs to the space 'other'"),
        (missing, rf"its fields are \[\]; the fields must be {field}"),
        (json.dumps(content | {"more": 1}), "its fields are .*; the fields must be"),
        (json.dumps(content | {field: {}}), "not .*{}|1 to 10,000 choices, not 0"),
        (f'{{"{field}":' * 5_000, "deep nesting"),
        (f'{{"space": "{case.space.name}", "{field}": {"9" * 5000}}}', "thousands of digits"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            parse(text)
        one_line(caught.value)


@every_case
def test_points_and_masks_can_be_inverted(case: Case) -> None:
    space, parameters = case.space, Parameters(case.space.parameters())
    net = case.supernet()
    before = torch.get_rng_state()
    for seed in range(20):
        genotype = case.random(seed)
        assert case.random(seed) == genotype
        point = space.encode(genotype)
        assert parameters.contains(point)
        assert space.decode(point) == genotype
        masks = space.mask(genotype, net.candidates)
        assert {g: m.shape for g, m in masks.items()} == {g: a.shape for g, a in net.alphas.items()}
        assert all(m.dtype == torch.bool and int(m.sum(-1).max()) <= 1 for m in masks.values())
        probabilities = {group: 0.5 * mask.double() for group, mask in masks.items()}
        derived = space.derive(probabilities, net.candidates)
        assert derived.canonical() == genotype.canonical()
        used = space.derived_mask(probabilities, net.candidates)
        assert all(torch.equal(used[group], mask) for group, mask in masks.items())
    assert torch.equal(torch.get_rng_state(), before)
    assert len({case.random(seed) for seed in range(20)}) > 5


@every_case
def test_mutated_and_crossed_points_encode_genotypes(case: Case) -> None:
    space, random = case.space, Random(2)
    parameters = Parameters(space.parameters())
    point = parameters.draw(random)
    for _ in range(30):
        mutant = parameters.mutate(point, random)
        assert point_key(mutant) != point_key(point)
        for new in (mutant, parameters.crossover(mutant, parameters.draw(random), random)):
            assert parameters.contains(new)
            assert space.encode(space.decode(new)) == new
        point = mutant


TINY: dict[str, tuple[dict[str, Any], int]] = {
    "transformer": ({"cells": 1}, 7 * 6),
    "recurrent": ({"nodes": 2}, 4 * 8),
    "mlp": ({"cells": 2, "widths": [4, 2], "activations": ["relu", "tanh"]}, 4 + 16),
    "nas201": ({"candidates": ["none", "nor_conv_1x1"]}, 2**6),
}


@pytest.mark.parametrize(("name", "options", "count"), [(name, *TINY[name]) for name in TINY])
def test_all_genotypes_have_one_point_and_one_probability(
    name: str, options: dict[str, Any], count: int
) -> None:
    space, generator = SPACES[name](**options), torch.Generator().manual_seed(0)
    points = list(Parameters(space.parameters()).points(9))
    genotypes = [space.decode(point) for point in points]
    assert len(set(genotypes)) == len(genotypes) == count
    assert [space.encode(genotype) for genotype in genotypes] == points
    drawn = Counter(space.random(generator) for _ in range(200 * count))
    assert set(drawn) == set(genotypes)
    assert max(abs(number - 200) for number in drawn.values()) < 60  # four standard deviations


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("-list")])
def test_a_list_of_candidates_limits_genotypes(name: str) -> None:
    space = CASES[name].space
    candidates = space.supernet(**CASES[name].sizes).candidates
    generator = torch.Generator().manual_seed(0)
    drawn = [space.random(generator) for _ in range(100)]
    names = {name for g in drawn for cell in g.cells for _, _, name in g.edges(cell)}
    assert names == set(space.candidates) - ({"none"} if space.name == "recurrent" else set())
    masks = space.initial_masks(candidates)
    for group, mask in masks.items():
        expected = [[name in space.candidates for name in row] for row in candidates[group]]
        assert mask.tolist() == expected
    every = type(space)(**{"nodes": 3} if space.name == "recurrent" else {"cells": space.cells})
    assert every.initial_masks(candidates) == {}
    for genotype in (every.random(generator) for _ in range(30)):
        names = {name for cell in genotype.cells for _, _, name in genotype.edges(cell)}
        if not names <= set(space.candidates):
            with pytest.raises(ValueError, match="is not a candidate of"):
                space.encode(genotype)


@every_space
def test_invalid_probabilities_are_rejected(case: Case) -> None:
    net = case.supernet()
    group, (edges, columns) = next(iter(net.shapes.items()))
    tables = {group: alpha.softmax(-1) for group, alpha in net.alphas.items()}
    case.space.derive(tables, net.candidates)
    for change, message in (
        ({group: torch.zeros(edges, columns + 1)}, rf"of {group} have shape|edges, not"),
        ({group: torch.full((edges, columns), torch.nan)}, "range from nan to nan"),
        ({group: torch.full((edges, columns), 1.2)}, "take the softmax of the alphas first"),
        ({group: torch.full((edges, columns), -0.1)}, "not within 0 and 1"),
        ({"other": torch.zeros(1, 1)}, "probabilities: groups .*'other'.* must be"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            case.space.derive({**tables, **change}, net.candidates)
        one_line(caught.value)


OPTIONS = {"depth": 0.5, "partial": 2, "auxiliary_skip": True, "auxiliary": True, "drop_path": 0.2}
SUPPORTED = {
    "cnn": {*OPTIONS},
    "nas201": {*OPTIONS} - {"auxiliary"},
    "macro": {"drop_path"},
    "elastic": {"drop_path"},
    "transformer": {"drop_path"},
}


@every_space
@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_supported_or_rejected_in_one_line(case: Case, option: str) -> None:
    space, value = case.space, {option: OPTIONS[option]}

    def build() -> nn.Module:
        if option in ("auxiliary", "drop_path"):
            net: nn.Module = space.network(case.random(), **case.sizes, **value)
        else:
            net = space.supernet(**case.sizes, **value)
        return net

    if option in SUPPORTED.get(space.name, set()):
        assert build()
        return
    key = f"relaxation.{option}" if option in ("partial", "auxiliary_skip") else option
    message = f"space={space.name} does not support {key}={value[option]}; set {key}="
    with pytest.raises(ValueError, match=message) as caught:
        build()
    one_line(caught.value)


@every_case
def test_the_supernet_describes_its_alphas(case: Case) -> None:
    torch.manual_seed(0)
    net = case.space.supernet(**case.sizes)
    for group, rows in net.candidates.items():
        alpha = net.alphas[group].detach()
        assert alpha.shape == net.shapes[group] == (len(rows), len(rows[0]))
        assert 0 < float(alpha.abs().max()) < 0.01
        assert len(alpha.unique()) == alpha.numel()
        assert len(net.edges[group]) == len(rows)
        assert torch.equal(net.state_dict()[f"alphas.{group}"], alpha)
    assert sum(net.counts.values()) >= 1
    weights, alphas = net.weight_parameters(), list(net.alphas.values())
    assert not {id(w) for w in weights} & {id(a) for a in alphas}
    assert len(weights) + len(alphas) == len(list(net.parameters()))


@every_case
def test_mixing_weights_default_to_the_softmax_of_the_alphas(case: Case) -> None:
    net, x = case.supernet(), case.batch()
    own = {group: alpha.softmax(-1) for group, alpha in net.alphas.items()}
    logits = outputs(net, x)
    torch.testing.assert_close(outputs(net, x, own), logits, **EXACT)
    by_cell = {g: w.expand(net.counts[g], -1, -1) for g, w in own.items() if net.counts[g] > 0}
    torch.testing.assert_close(outputs(net, x, {**own, **by_cell}), logits, **EXACT)
    assert not torch.allclose(outputs(net, x, mixing(net)), logits)
    group, shape = next(iter(net.shapes.items()))
    with pytest.raises(ValueError, match=f"mixing weights of {group} are missing"):
        net(x, {name: w for name, w in own.items() if name != group})
    for other in ((shape[0] + 1, shape[1]), (shape[0], shape[1] + 1), (2, shape[0] + 1, shape[1])):
        with pytest.raises(ValueError, match=f"mixing weights of {group} have shape"):
            net(x, {**own, group: torch.ones(other).double()})


@every_case
def test_inactive_candidates_equal_weights_of_zero_and_get_no_gradient(case: Case) -> None:
    net, x = case.supernet().eval(), case.batch()
    for seed, share in enumerate((0.5, 0.2, 0.0)):  # also one candidate per edge
        draw = torch.Generator().manual_seed(seed)
        active = {g: torch.rand(shape, generator=draw) < share for g, shape in net.shapes.items()}
        for mask in active.values():
            columns = torch.randint(mask.shape[1], (len(mask),), generator=draw)
            mask[torch.arange(len(mask)), columns] = True
        weights = {group: w.requires_grad_() for group, w in mixing(net).items()}
        logits = outputs(net, x, Mixture(weights, active=active))
        zeroed = {group: w * active[group] for group, w in weights.items()}
        torch.testing.assert_close(logits, outputs(net, x, zeroed), **EXACT)
        logits.square().sum().backward()
        assert share < 0.5 or any(w.grad is not None and w.grad.any() for w in weights.values())
        for group, w in weights.items():
            assert w.grad is None or not w.grad[~active[group]].any()


def loss_of(net: Any, x: Tensor) -> Tensor:
    return outputs(net, x).square().mean()


@every_case
def test_gradients_of_the_alphas_match_finite_differences(case: Case) -> None:
    net, x = case.supernet(), case.batch()
    names = [f"alphas.{group}" for group in net.alphas]

    def loss(*alphas: Tensor) -> Tensor:
        out = functional_call(net, dict(zip(names, alphas, strict=True)), x)
        return getattr(out, "logits", out).square().mean()

    assert torch.autograd.gradcheck(loss, tuple(net.alphas.values()), fast_mode=True)


@every_space
@pytest.mark.parametrize(("call", "options"), HYPERGRADIENTS.values(), ids=HYPERGRADIENTS)
def test_hypergradients_leave_the_supernet_unchanged(
    case: Case, call: Callable[..., dict[str, Tensor]], options: dict[str, str]
) -> None:
    net = case.supernet()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    gradients = call(net, loss_of, case.batch(), case.batch(seed=2), optimizer, **options)
    assert {g: v.shape for g, v in gradients.items()} == {g: a.shape for g, a in net.alphas.items()}
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@every_case
def test_recomputation_changes_nothing_or_is_rejected(case: Case) -> None:
    if not case.supernet().supports_recomputation:
        with pytest.raises(ValueError, match=r"memory=checkpoint: .* does not support it"):
            case.supernet().recompute_cells()
        return
    results = []
    for recomputes in (False, True):
        net = case.supernet()
        net.skip_dropout = 0.3
        if recomputes:
            net.recompute_cells()
        torch.manual_seed(7)
        loss_of(net, case.batch()).backward()
        results.append([p.grad for p in net.parameters()] + [b.clone() for b in net.buffers()])
    for one, other in zip(*results, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, **EXACT)


@every_space
def test_operation_rows_own_disjoint_weights_or_are_rejected(case: Case) -> None:
    net = case.supernet()
    if case.space.name in ("elastic", "mlp", "recurrent", "transformer"):
        with pytest.raises(ValueError, match=r"freezing: .* set freezing=none"):
            net.operation_rows()
        return
    rows = net.operation_rows()
    owned = [(id(r.parameter), r.start, r.stop) for own in rows.values() for r in own]
    assert len(set(owned)) == len(owned) > 0
    assert {number for number, *_ in owned} <= {id(p) for p in net.weight_parameters()}


@every_space
def test_bfloat16_is_close_to_float32(case: Case) -> None:
    net = case.supernet().float()
    x = case.batch(8)
    x = x if case.kind == "tokens" else x.float()
    exact = outputs(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = outputs(net, x)
    rounded.float().square().mean().backward()
    assert (rounded.float() - exact).norm() < 0.2 * exact.norm()
    for parameter in net.parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all())


SAMPLES = 7  # four on one rank, three on the other


def gradients_and_buffers(net: Any, x: Tensor) -> dict[str, dict[str, Tensor]]:
    (outputs(net, x).square().sum() / SAMPLES).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {"gradients": gradients, "buffers": {n: b.clone() for n, b in net.named_buffers()}}


def run_rank(name: str) -> dict[str, dict[str, Tensor]]:
    net = convert_sync_batch_norm(CASES[name].supernet(), dist.group.WORLD)
    rows = rank_slice(SAMPLES, dist.get_rank(), 2)
    x = CASES[name].batch(SAMPLES)
    return gradients_and_buffers(net, x[:, rows] if CASES[name].kind == "tokens" else x[rows])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "nas201", "macro-standard", "elastic", "mlp", "recurrent"])
def test_two_ranks_compute_the_same_as_one(name: str, tmp_path: Path) -> None:
    expected = gradients_and_buffers(CASES[name].supernet(), CASES[name].batch(SAMPLES))
    first, second = on_ranks(run_rank, tmp_path, name)
    for key, gradient in expected["gradients"].items():
        total = first["gradients"][key] + second["gradients"][key]
        torch.testing.assert_close(total, gradient, **EXACT)
    for rank in (first, second):
        torch.testing.assert_close(rank["buffers"], expected["buffers"], **EXACT)


@every_case
def test_networks_share_their_base_and_train(case: Case) -> None:
    genotype = case.random(3)
    net = case.network(genotype)
    assert isinstance(net, NetworkBase)
    assert net.genotype is genotype
    assert (net.drop_path, net.auxiliary) == (0.0, None)
    loss_of(net, case.batch()).backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    net.eval()
    logits = outputs(net, case.batch())
    assert logits.isfinite().all()
    if "classes" in case.sizes:
        assert logits.shape == (4, 4)


NOISE = dataclasses.replace(
    CASES["cnn-s1"], space=SPACES["cnn"](channels=2, cells=4, candidates="s4")
)


@pytest.mark.parametrize(
    "name",
    ["cnn-s4", *(n for n, c in CASES.items() if c.space.name not in ("module", "pretrained"))],
)
def test_the_expected_cost_of_one_architecture_is_the_cost_of_its_network(name: str) -> None:
    """The pieces of own and pretrained models call choices, see their tests."""
    case = NOISE if name == "cnn-s4" else CASES[name]
    classes = case.sizes.get("classes", WORDS)
    shape: tuple[int, ...] = IMAGE
    sample = torch.zeros(1, *IMAGE)
    if case.kind == "tokens":
        shape = (WORDS,) if "classes" in case.sizes else ()
        sample = torch.ones(getattr(case.space, "length", 1), 1, dtype=torch.int64)
    candidates = case.supernet().candidates
    flops, parameters = (
        ExpectedCost.measured(
            case.space, candidates, classes=classes, sample_shape=shape, measure=MEASURES[cost]
        )
        for cost in ("flops", "parameters")
    )
    for seed in range(4):
        genotype = case.random(seed)
        net = case.network(genotype).float()
        assert flops.of_genotype(genotype) == 2 * count_macs(net, sample)
        assert parameters.of_genotype(genotype) == count_parameters(net.parameters())
