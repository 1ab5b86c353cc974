"""Relaxations: edge weights, auxiliary skips, masks, and sampled mixing weights."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from oracles import nas201_supernet
from tiny_search import context_and_supernet, make_batch, make_searcher
from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Sigmoid, Softmax, edge_group
from darts.methods.relaxation_sampled import Concrete, Dirichlet, Gumbel, Uniform, concentration
from darts.spaces import SPACES, SearchContext, cnn
from darts.spaces.mixture import Mixture

CONTEXT, _ = context_and_supernet("cnn")
GENERATOR = torch.Generator().manual_seed(0)


def alphas_of(context: SearchContext) -> dict[str, Tensor]:
    """Return non-uniform alphas in float64, including those of edges."""
    alphas = {}
    for group, rows in context.candidates.items():
        alphas[group] = torch.randn(len(rows), len(rows[0]), generator=GENERATOR).double()
        alphas[edge_group(group)] = torch.randn(len(rows), generator=GENERATOR).double()
    return {name: alpha.requires_grad_() for name, alpha in alphas.items()}


def test_edge_weights_into_a_node_sum_to_one() -> None:
    for space, entering in (("cnn", [2, 3, 4, 5]), ("nas201", [1, 2, 3])):
        context, _ = context_and_supernet(space)
        alphas = alphas_of(context)
        mixture = Softmax(edge_normalization=True).mixture(alphas, context)
        for group in context.candidates:
            raw = alphas[edge_group(group)].detach()
            first = 0
            for count in entering:  # edges are sorted by target node
                wanted = raw[first : first + count].softmax(0)
                actual = mixture.bypass[group][first : first + count]
                torch.testing.assert_close(actual, wanted)
                assert float(actual.detach().sum()) == pytest.approx(1)
                # The weights of the operations of an edge sum to the weight of the edge.
                jacobian = torch.diag(wanted) - wanted.outer(wanted)
                for weights in (mixture.bypass[group], mixture[group].sum(1)):
                    for row, weight in enumerate(weights[first : first + count]):
                        alpha = alphas[edge_group(group)]
                        (gradient,) = torch.autograd.grad(weight, alpha, retain_graph=True)
                        own = gradient[first : first + count]
                        torch.testing.assert_close(own, jacobian[row])
                first += count
            assert first == len(raw)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_mixing_weights_are_edge_weight_times_operation_weight(name: str) -> None:
    relaxation = RELAXATIONS[name]()
    with_edges = RELAXATIONS[name](edge_normalization=True)
    alphas = alphas_of(CONTEXT)
    torch.manual_seed(1)
    plain = relaxation.mixture(alphas, CONTEXT)
    torch.manual_seed(1)
    weighted = with_edges.mixture(alphas, CONTEXT)
    for group in CONTEXT.candidates:
        edges = weighted.bypass[group]
        torch.testing.assert_close(weighted[group], plain[group] * edges[:, None])
        expected = with_edges.probabilities(alphas, CONTEXT)[group]
        own = relaxation.operation_probabilities(alphas[group], None)
        torch.testing.assert_close(expected, own * edges[:, None])
    assert plain.bypass is None


def test_edge_alphas_weight_the_bypassed_channels() -> None:
    """The output depends on the edge alphas even if all operations have weight 0."""
    torch.manual_seed(0)
    space = SPACES["nas201"](channels=4, cells=1)
    net = space.supernet(classes=3, in_channels=3, partial=2)
    relaxation = Softmax(partial=2, edge_normalization=True)
    relaxation.prepare(net)
    assert net.alphas["cell_edges"].shape == (6,)
    assert id(net.alphas["cell_edges"]) not in {id(p) for p in net.weight_parameters()}
    context = SearchContext.from_supernet(space, net)
    images, _ = make_batch(0)
    base = net(images, relaxation.mixture(net.alphas, context)).detach()
    nothing = {"cell": torch.zeros(6, 5)}
    outputs = []
    for move in (0.0, 2.0):
        with torch.no_grad():
            net.alphas["cell_edges"][1] += move
        mixture = relaxation.mixture(net.alphas, context).with_weights(nothing)
        outputs.append(net(images, mixture))
    assert not torch.allclose(*outputs, atol=1e-4)
    assert not torch.allclose(base, outputs[0], atol=1e-4)


def test_auxiliary_skip_adds_a_column_to_the_mixing_weights() -> None:
    alphas = alphas_of(CONTEXT)
    relaxation = Softmax(auxiliary_skip=0.8)
    plain = Softmax().mixture(alphas, CONTEXT)
    mixture = relaxation.mixture(alphas, dataclasses.replace(CONTEXT, epoch=1, epochs=4))
    for group in CONTEXT.candidates:
        assert mixture[group].shape == (14, 9)
        assert mixture[group][:, :8].equal(plain[group])
        assert mixture[group][:, 8].tolist() == pytest.approx([0.6] * 14)
        # The auxiliary skip is not a candidate and has no probability.
        assert relaxation.probabilities(alphas, CONTEXT)[group].shape == (14, 8)
    weighted = dataclasses.replace(relaxation, edge_normalization=True).mixture(alphas, CONTEXT)
    torch.testing.assert_close(weighted["normal"][:, 8], 0.8 * weighted.bypass["normal"])


@pytest.mark.parametrize(
    ("decay", "values"),
    [
        ("linear", [2.0, 1.5, 1.0, 0.04]),
        ("constant", [2.0] * 4),
        ("cosine", [2.0, 1 + math.cos(math.pi / 4), 1.0, 1 + math.cos(0.98 * math.pi)]),
    ],
)
def test_auxiliary_weight_follows_its_schedule(decay: str, values: list[float]) -> None:
    relaxation = Softmax(auxiliary_skip=2.0, auxiliary_decay=decay)
    actual = [relaxation.auxiliary_weight(progress) for progress in (0, 0.25, 0.5, 0.98)]
    assert actual == pytest.approx(values)


def random_mask() -> Tensor:
    kept = torch.rand(14, 8, generator=torch.Generator().manual_seed(3)) < 0.6
    kept[:, 4] = True
    kept[5] = False  # an edge without candidates
    return kept


@pytest.mark.parametrize("masked", [False, True])
def test_softmax_and_its_gradient_match_equation_two_of_the_paper(masked: bool) -> None:
    alpha = torch.randn(14, 8, generator=GENERATOR).double().requires_grad_()
    kept = random_mask() if masked else torch.ones(14, 8, dtype=torch.bool)
    weights = Softmax().operation_probabilities(alpha, kept if masked else None)
    for row, mask, out in zip(alpha.tolist(), kept.tolist(), weights.tolist(), strict=True):
        powers = [math.exp(a) if present else 0.0 for a, present in zip(row, mask, strict=True)]
        assert out == pytest.approx([p / (sum(powers) or 1) for p in powers])
    p = weights[2].detach()
    wanted = torch.zeros(14, 8).double()
    wanted[2] = p[4] * (torch.eye(8)[4].double() - p)
    torch.testing.assert_close(torch.autograd.grad(weights[2, 4], alpha)[0], wanted)
    large = torch.tensor([[1e4, 0.0], [-1e4, 0.0]])
    assert Softmax().operation_probabilities(large, None).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("options", [{}, {"edge_normalization": True, "auxiliary_skip": 1.0}])
@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_masked_candidates_have_no_weight_and_gradient(name: str, options: dict[str, Any]) -> None:
    relaxation = RELAXATIONS[name](**options)
    kept = random_mask()
    context = dataclasses.replace(CONTEXT, masks={"normal": kept})
    alphas = alphas_of(context)
    torch.manual_seed(2)
    for mixture in (relaxation.mixture(alphas, context), relaxation.mean_mixture(alphas, context)):
        weights = mixture["normal"][:, :8]
        assert not weights[~kept].any()
        assert "reduce" not in mixture.active or name == "gumbel"
        active = mixture.active["normal"]
        assert not active[:, :8][~kept].any()
        assert active[:, 8:].all()  # the auxiliary skip always runs
        if name != "gumbel":
            assert active[:, :8].equal(kept)
    expected = relaxation.probabilities(alphas, context)["normal"]
    assert not expected[~kept].any()
    if name != "sigmoid" and not options:
        torch.testing.assert_close(expected.sum(1), kept.any(1).double())
    factors = torch.rand(14, 8, generator=GENERATOR).double()
    for weights in (expected, relaxation.mixture(alphas, context)["normal"][:, :8]):
        alphas["normal"].grad = None
        (weights * factors).sum().backward(retain_graph=True)
        gradient = alphas["normal"].grad
        assert gradient.isfinite().all()
        assert (gradient[~kept].abs() < 1e-10).all()
        assert gradient[kept].any()


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_mean_mixture_and_probabilities_are_deterministic(name: str) -> None:
    relaxation = RELAXATIONS[name]()
    alphas = alphas_of(CONTEXT)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = relaxation.mean_mixture(alphas, CONTEXT), relaxation.probabilities(alphas, CONTEXT)
    assert torch.get_rng_state().equal(state)
    again = relaxation.mean_mixture(alphas, CONTEXT), relaxation.probabilities(alphas, CONTEXT)
    for a, b in zip(first, again, strict=True):
        assert all(a[group].equal(b[group]) for group in CONTEXT.candidates)
    before = copy.deepcopy(alphas)
    relaxation.mixture(alphas, CONTEXT)
    assert all(alphas[key].equal(before[key]) for key in alphas)


def test_sigmoid_and_its_gradient_match_the_formula_and_keep_edges_independent() -> None:
    alpha = torch.tensor([[0.0, 2.0, -3.0], [1.0, -0.5, 0.25]]).double().requires_grad_()
    weights = Sigmoid().operation_probabilities(alpha, None)
    wanted = 1 / (1 + (-alpha.detach()).exp())
    torch.testing.assert_close(weights, wanted)
    upstream = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
    (weights * upstream).sum().backward()
    torch.testing.assert_close(alpha.grad, upstream * wanted * (1 - wanted))
    kept = torch.tensor([[True, False, True], [True, True, True]])
    assert Sigmoid().operation_probabilities(alpha, kept).equal(weights * kept)


NAS201 = context_and_supernet("nas201")[0]
ROW = torch.tensor([0.8, -0.5, 0.0, 1.5, -1.2], dtype=torch.float64)
KEPT = torch.tensor([True, False, True, True, False])
SAMPLES = 40_000


def sample(alpha: Tensor, kept: Tensor | None = None) -> Tensor:
    torch.manual_seed(0)
    mask = None if kept is None else kept.expand(SAMPLES, -1)
    return Dirichlet().sample_weights(alpha.expand(SAMPLES, -1), mask, NAS201)


def test_concentration_is_elu_plus_one_and_positive() -> None:
    wanted = torch.where(ROW > 0, ROW + 1, ROW.exp())
    torch.testing.assert_close(concentration(ROW), wanted)
    assert (concentration(torch.tensor([-1e4, -200.0])) > 0).all()


@pytest.mark.parametrize("kept", [None, KEPT])
def test_samples_have_the_moments_of_the_distribution(kept: Tensor | None) -> None:
    """A subset of the entries, divided by its sum, is Dirichlet with the same concentrations."""
    weights = sample(ROW, kept)
    torch.testing.assert_close(weights.sum(1), torch.ones(SAMPLES, dtype=torch.float64))
    beta = concentration(ROW) * (1 if kept is None else kept)
    total = beta.sum()
    mean = beta / total
    variance = beta * (total - beta) / (total.square() * (total + 1))
    limit = 5 * (variance / SAMPLES).sqrt()  # standard errors
    assert ((weights.mean(0) - mean).abs() <= limit).all()
    torch.testing.assert_close(weights.var(0), variance, rtol=0.05, atol=1e-12)
    covariance = torch.cov(weights.T)
    wanted = -beta[:, None] * beta / (total.square() * (total + 1))
    wanted = wanted - torch.diag(wanted.diagonal()) + torch.diag(variance)
    torch.testing.assert_close(covariance, wanted, rtol=0.1, atol=5e-4)


@pytest.mark.parametrize("kept", [None, KEPT])
def test_probabilities_and_mean_weights_are_the_mean(kept: Tensor | None) -> None:
    mask = None if kept is None else kept[None]
    actual = Dirichlet().operation_probabilities(ROW[None], mask)[0]
    beta = concentration(ROW) * (1 if kept is None else kept)
    torch.testing.assert_close(actual, beta / beta.sum())
    assert Dirichlet().mean_weights(ROW[None], mask)[0].equal(actual)


@pytest.mark.parametrize("kept", [None, KEPT])
def test_the_authors_code_ranks_by_the_softmax_of_the_alphas(kept: Tensor | None) -> None:
    """The mixing weights of evaluation stay the mean of the distribution."""
    mask = None if kept is None else kept[None]
    code = Dirichlet(ranking="softmax")
    logits = ROW if kept is None else ROW.masked_fill(~kept, -torch.inf)
    torch.testing.assert_close(code.operation_probabilities(ROW[None], mask)[0], logits.softmax(0))
    mean = code.mean_weights(ROW[None], mask)
    torch.testing.assert_close(mean, Dirichlet().operation_probabilities(ROW[None], mask))


LOGITS = torch.tensor([0.7, -0.4, 0.0, 1.1, -2.0], dtype=torch.float64)


def context_at(schedule: float) -> SearchContext:
    return dataclasses.replace(NAS201, epoch=round(100 * schedule), epochs=101)


def noise_of(seed: int, shape: torch.Size) -> Tensor:
    torch.manual_seed(seed)
    return -torch.empty(shape, dtype=torch.float64).exponential_().log()


@pytest.mark.parametrize("kept", [None, KEPT])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_hard_samples_have_softmax_frequencies(kept: Tensor | None, progress: float) -> None:
    torch.manual_seed(1)
    count = 20_000
    mask = None if kept is None else kept.expand(count, -1)
    weights = Gumbel().sample_weights(LOGITS.expand(count, -1), mask, context_at(progress))
    assert weights.unique().tolist() == [0, 1]
    assert weights.sum(1).eq(1).all()
    logits = LOGITS if kept is None else LOGITS.masked_fill(~kept, float("-inf"))
    wanted = count * logits.softmax(0)
    possible = wanted > 0
    actual = weights.sum(0)
    assert actual[~possible].sum() == 0
    chi_square = ((actual - wanted).square() / wanted)[possible].sum()
    assert chi_square < 18.5  # 4 degrees of freedom: one seed in a thousand


def test_soft_sample_matches_the_formula_of_the_paper() -> None:
    relaxation = Concrete(temperature=2.0, temperature_end=1.0)
    alpha = LOGITS.expand(6, -1)
    noise = noise_of(3, alpha.shape)
    torch.manual_seed(3)
    weights = relaxation.sample_weights(alpha, None, context_at(0.25))
    torch.testing.assert_close(weights, ((alpha + noise) / 1.75).softmax(1))


@pytest.mark.parametrize("epochs", [2, 8, 250])
def test_the_last_epoch_has_the_last_temperature(epochs: int) -> None:
    """GDAS code: 10 in the first epoch and 0.1 in the last one, in equal steps."""
    contexts = [dataclasses.replace(NAS201, epoch=n, epochs=epochs) for n in range(epochs)]
    temperatures = [Gumbel().temperature_at(context.schedule_position) for context in contexts]
    assert temperatures == pytest.approx(torch.linspace(10, 0.1, epochs).tolist())


def test_hard_sample_has_the_softmax_gradient_of_the_sampled_operation() -> None:
    context = context_at(0.25)
    alpha = (LOGITS * torch.tensor([[1.0], [-1.0], [0.3]], dtype=torch.float64)).requires_grad_()
    temperature = Gumbel().temperature_at(0.25)
    soft = ((alpha.detach() + noise_of(4, alpha.shape)) / temperature).softmax(1)
    torch.manual_seed(4)
    weights = Gumbel().sample_weights(alpha, None, context)
    drawn = soft.argmax(1)
    assert weights.nonzero()[:, 1].equal(drawn)
    upstream = torch.tensor([2.0, -3.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights[range(3), drawn] * upstream).sum(), alpha)
    for edge in range(3):
        p, k = soft[edge], int(drawn[edge])
        row = p[k] * (torch.eye(5, dtype=torch.float64)[k] - p) / temperature
        torch.testing.assert_close(gradient[edge], upstream[edge] * row)


def test_mean_weights_are_one_hot_or_the_softmax() -> None:
    assert Gumbel().mean_weights(LOGITS[None], None).tolist() == [[0, 0, 0, 1, 0]]
    torch.testing.assert_close(Concrete().mean_weights(LOGITS[None], None), LOGITS.softmax(0)[None])


UNFUSE = {"cnn": cnn.unfuse_state_dict, "nas201": nas201_supernet.unfuse_state_dict}


@pytest.mark.parametrize("space", UNFUSE)
def test_only_sampled_operations_update_running_statistics(space: str) -> None:
    context, net = context_and_supernet(space)
    num_sampled = 0
    for seed in range(3):
        torch.manual_seed(seed)
        mixture = Gumbel().mixture(net.alphas, context)
        before = UNFUSE[space](net.state_dict())
        net(make_batch(seed)[0], mixture)
        for name, value in UNFUSE[space](net.state_dict()).items():
            match = re.search(r"edges\.(\d+)\.operations\.(\d+)\..*running_var$", name)
            if match is None:
                continue
            (group,) = [g for g in context.candidates if context.counts[g]]
            ran = bool(mixture.active[group][int(match[1]), int(match[2])])
            assert (not value.equal(before[name])) == ran, name
            num_sampled += ran
    assert num_sampled > 0


@pytest.mark.parametrize("bilevel", ["first_order", "unrolled"])
def test_search_survives_cells_whose_operations_are_all_none(bilevel: str) -> None:
    """All edges sample ``none``, so the loss depends on no alpha and on no weight of a cell."""
    own = (f"bilevel={bilevel}", "arch_optimizer.weight_decay=0")
    searcher = make_searcher("method=gdas", "space=nas201", *own)
    searcher.begin_epoch(0)
    with torch.no_grad():
        searcher.net.alphas["cell"][:, 0] = 100.0
    before = searcher.net.alphas["cell"].detach().clone()
    assert searcher.arch_step(make_batch(0), make_batch(1)) == 0
    step = searcher.weight_step(make_batch(0))
    assert step.loss.isfinite()
    assert step.norm > 0  # the bias of the classifier has a gradient
    assert searcher.net.alphas["cell"].equal(before)


def sample_mixtures(
    space: str, count: int
) -> tuple[list[Mixture], dict[str, tuple[tuple[str, ...], ...]]]:
    """Sample mixtures with alphas that strongly prefer the last operation."""
    context, net = context_and_supernet(space)
    alphas = {group: torch.zeros_like(alpha) for group, alpha in net.alphas.items()}
    for alpha in alphas.values():
        alpha[:, -1] = 50
    torch.manual_seed(0)
    return [Uniform().mixture(alphas, context) for _ in range(count)], dict(context.candidates)


def chi_square(counts: Tensor) -> float:
    wanted = counts.sum() / counts.numel()
    return float((counts - wanted).square().sum() / wanted)


def test_cnn_samples_two_edges_per_node_and_never_none() -> None:
    mixtures, candidates = sample_mixtures("cnn", 1500)
    for cell in ("normal", "reduce"):
        weights = torch.stack([m[cell] for m in mixtures])
        assert weights.unique().tolist() == [0, 1]
        used = weights.sum(2)
        assert used.max() == 1
        first = 0
        for inputs in range(2, 6):
            entering = used[:, first : first + inputs]
            assert entering.sum(1).eq(2).all()
            # Each edge occurs in 2 of `inputs` architectures.
            wanted = 2 * len(mixtures) / inputs
            spread = (wanted * (1 - 2 / inputs)) ** 0.5
            assert ((entering.sum(0) - wanted).abs() <= 4 * spread).all()
            first += inputs
        by_operation = weights.sum((0, 1))
        none = candidates[cell][0].index("none")
        assert by_operation[none] == 0
        others = by_operation[[c for c in range(8) if c != none]]
        assert chi_square(others) < 22.5  # 6 degrees of freedom, p = 0.001


def test_only_the_sampled_architecture_is_active() -> None:
    for space in ("cnn", "nas201"):
        for mixture in sample_mixtures(space, 3)[0]:
            for group, weight in mixture.items():
                assert mixture.active[group].equal(weight > 0)


def test_samples_are_uniform_over_the_remaining_candidates() -> None:
    context, net = context_and_supernet("nas201")
    kept = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    kept[2], kept[3] = torch.tensor([False, True, False, False, False]), False
    context.masks["cell"] = kept
    torch.manual_seed(0)
    weights = torch.stack([Uniform().mixture(net.alphas, context)["cell"] for _ in range(2000)])
    assert not weights[:, ~kept].any()
    assert weights.sum(2).eq(kept.any(1)).all()
    for edge in range(6):
        if kept[edge].sum() > 1:
            counts = weights[:, edge, kept[edge]].sum(0)
            assert chi_square(counts) < 18.5  # at most 4 degrees of freedom


def test_probabilities_are_uniform_over_the_mask() -> None:
    alpha = torch.randn(2, 4)
    kept = torch.tensor([[True, True, False, True], [False, False, True, False]])
    assert Uniform().operation_probabilities(alpha, None).eq(0.25).all()
    wanted = torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [0, 0, 1, 0]])
    torch.testing.assert_close(Uniform().operation_probabilities(alpha, kept), wanted)
