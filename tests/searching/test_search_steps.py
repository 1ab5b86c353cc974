"""Steps of the weights and of the alphas of a search, in every precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import darts
from darts.config import compose
from darts.methods.bilevel.arch_gradient import GradientInputs
from darts.methods.bilevel.curvature import AlphaHessian
from darts.methods.bilevel.unrolled import _VirtualStep
from darts.methods.perturbation import Perturbation
from darts.methods.regularizer import Regularizer
from darts.ops.float32 import float32_products
from darts.searching.budget_alphas import LARGEST, alphas_at
from darts.searching.mixture_loss import SupernetMixtureLoss
from darts.searching.searcher import Searcher
from darts.spaces import Mixture
from darts.tasks.task import ObjectiveSpec
from darts.training import loop
from darts.training.distributed import Ranks
from darts.training.steps import optimizer_steps

Batch = tuple[Tensor, Tensor]
ORDERS = [
    ("bilevel=first_order",),
    ("bilevel=unrolled", "bilevel.epsilon=0.1"),
    ("bilevel=unrolled", "bilevel.hvp=exact"),
]


def take_step(
    *overrides: str,
    scale: float | None = None,
    loss: Callable[[Any, Batch], Tensor] | None = None,
    precision: str = "fp32",
    ranks: int = 1,
) -> tuple[Tensor, Tensor, Tensor, torch.amp.GradScaler]:
    """Take an architecture step.

    Returns:
        The decrease of the alphas, the returned norm, the float32 gradient of the unscaled default
        loss, and the scaler.
    """
    searcher = make_searcher("space=nas201", "space.cells=1", *overrides)
    searcher.begin_epoch(0)
    alpha, batches = searcher.net.alphas["cell"], (make_batch(0), make_batch(1))
    # With lr=1, a step subtracts the gradient.
    searcher.arch_optimizer = torch.optim.SGD([alpha], lr=1.0)
    enabled = scale is not None
    searcher.arch_scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=enabled)
    inputs = GradientInputs(searcher.net, searcher.arch_loss, *batches, searcher.optimizer)
    expected = searcher.bilevel.gradient(inputs)["cell"]
    searcher.config.precision = precision
    searcher.ranks.all_reduce = lambda tensors: [ranks * tensor for tensor in tensors]
    if loss is not None:
        searcher.arch_loss = loss
    before = alpha.detach().clone()
    norm = searcher.arch_step(*batches)
    assert alpha.grad is None
    return before - alpha.detach(), norm, expected, searcher.arch_scaler


@pytest.mark.parametrize("scale", [None, 2.0**14])
@pytest.mark.parametrize("overrides", ORDERS)
def test_steps_subtract_the_hypergradient(overrides: tuple[str, ...], scale: float | None) -> None:
    step, norm, expected, _ = take_step(*overrides, scale=scale)
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm, expected.norm(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("scale", [None, 2.0**14])
def test_clipping_bounds_the_norm_of_the_step(scale: float | None) -> None:
    unclipped, norm, _, _ = take_step(scale=scale)
    limit = f"arch_optimizer.clip={0.25 * float(norm)}"
    clipped, norm_before, _, _ = take_step(limit, scale=scale)
    torch.testing.assert_close(norm_before, norm, rtol=1e-4, atol=0)
    torch.testing.assert_close(clipped, 0.25 * unclipped, rtol=1e-3, atol=1e-6)


def test_fp16_loses_small_gradients_unless_the_loss_is_scaled() -> None:
    """The gradients of this small loss underflow in half precision."""

    def error(scale: float | None) -> float:
        searcher = make_searcher("space=nas201", "space.cells=1")

        def tiny(net: Any, batch: Batch) -> Tensor:
            weights = searcher.config.relaxation.mixture(dict(net.alphas.items()), searcher.context)
            return 1e-6 * F.cross_entropy(net(batch[0], weights), batch[1])

        step, _, unscaled, _ = take_step(scale=scale, loss=tiny, precision="fp16")
        expected = 1e-6 * unscaled
        # A step is a difference of alphas of about 1e-3, so it has lost a few digits.
        return float((step - expected).norm() / expected.norm())

    assert error(2.0**20) < 0.2
    assert error(None) > 0.5


def test_a_step_that_overflows_is_skipped_and_halves_the_scale() -> None:
    def infinite(net: Any, batch: Batch) -> Tensor:
        return net.alphas["cell"].sum() * float("inf")

    step, _, _, scaler = take_step(scale=2.0**8, loss=infinite)
    assert not step.any()
    assert scaler.get_scale() == 2.0**7


def test_gradients_are_reduced_over_ranks_and_then_unscaled() -> None:
    step, _, expected, _ = take_step(scale=4.0, ranks=3)
    torch.testing.assert_close(step, 3 * expected, rtol=1e-4, atol=1e-6)


def weight_gradient(precision: str, weight: float) -> Tensor:
    """Return the gradient of a weight step of Lambda-DARTS in the last of two epochs."""
    torch.manual_seed(0)
    given = (f"precision={precision}", f"regularizer.weight={weight}")
    rates = ("optimizer.lr=1", "optimizer.lr_min=1")
    zeros = [f"optimizer.{name}=0" for name in ("momentum", "weight_decay", "clip")]
    own = ("method=lambda_darts", "space.cells=5", "epochs=2")
    searcher = make_searcher(*own, *given, *rates, *zeros)
    searcher.begin_epoch(1)
    before = [parameter.detach().clone() for parameter in searcher.net.weight_parameters()]
    searcher.weight_step(make_batch(0))
    after = searcher.net.weight_parameters()
    return torch.cat([(a - b.detach()).flatten() for a, b in zip(before, after, strict=True)])


@pytest.mark.slow
def test_a_finite_difference_is_the_same_in_bf16() -> None:
    """In 16 bits, the difference of two losses 1e-4 apart would be noise."""
    expected = weight_gradient("fp32", 0.125) - weight_gradient("fp32", 0.0)
    actual = weight_gradient("bf16", 0.125) - weight_gradient("bf16", 0.0)
    assert float(expected.norm()) > 1e-3
    assert float((actual - expected).norm()) < 0.05 * float(expected.norm())


def test_the_loss_of_a_mixture_has_no_side_effects_and_the_gradient_of_autograd() -> None:
    searcher = make_searcher("space.cells=3", "space.channels=2")
    searcher.begin_epoch(0)
    given = (searcher.net, searcher.objective, searcher.ranks)
    loss = SupernetMixtureLoss(*given, make_batch(0), "fp32")
    mixture = searcher.config.relaxation.mixture(alphas_at(searcher.net, LARGEST), searcher.context)
    mixture = mixture.with_weights({g: w.detach().requires_grad_() for g, w in mixture.items()})
    before = copy.deepcopy(searcher.net.state_dict())
    with loss.evaluating():
        assert not searcher.net.training
        evaluated = loss.value(mixture)
    assert searcher.net.training
    value = loss(mixture)
    gradient = loss.gradient(mixture)
    expected = torch.autograd.grad(value, list(mixture.values()), retain_graph=True)
    torch.testing.assert_close(tuple(gradient.values()), expected)
    weights = searcher.net.weight_parameters()
    assert any(g is not None for g in torch.autograd.grad(value, weights, allow_unused=True))
    assert loss.value(mixture) == pytest.approx(value.item())
    assert evaluated != pytest.approx(value.item())  # running statistics instead of the batch's
    after = searcher.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("perturbation", ["none", "random"])
def test_a_single_level_step_updates_weights_and_alphas_from_one_draw(perturbation: str) -> None:
    searcher = make_searcher(
        "method=snas",
        "space=nas201",
        "space.cells=1",
        "space.channels=4",
        f"perturbation={perturbation}",
        *(f"optimizer.{key}=0" for key in ("momentum", "weight_decay", "clip")),
    )
    searcher.begin_epoch(0)
    net, batch = searcher.net, make_batch(0)
    parameters = [*net.weight_parameters(), *net.alphas.values()]
    before = [parameter.detach().clone() for parameter in parameters]

    torch.manual_seed(3)
    weights = searcher.config.relaxation.mixture(alphas_at(net, LARGEST), searcher.context)["cell"]
    noise = torch.zeros_like(weights)
    if perturbation == "random":
        loss = SupernetMixtureLoss(net, searcher.objective, searcher.ranks, batch, "fp32")
        perturbed = searcher.config.perturbation(Mixture({"cell": weights.detach()}), loss, 0.0)
        noise = perturbed["cell"] - weights.detach()
        assert float(noise.norm()) > 0
    images, labels = batch
    value = F.cross_entropy(net(images, {"cell": weights + noise}), labels)
    expected = torch.autograd.grad(value, parameters, allow_unused=True)

    searcher.arch_optimizer = torch.optim.SGD(list(net.alphas.values()), lr=2.0)
    lr = searcher.optimizer.param_groups[0]["lr"]
    torch.manual_seed(3)
    step = searcher.weight_step(batch, joint=True)
    assert float(step.arch_norm) == pytest.approx(float(expected[-1].norm()), rel=1e-4)
    for old, new, gradient in zip(before, parameters, expected, strict=True):
        rate = 2.0 if new is parameters[-1] else lr
        change = torch.zeros_like(old) if gradient is None else -rate * gradient
        torch.testing.assert_close(new.detach() - old, change, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_the_term_of_a_regularizer_is_taken_at_the_perturbed_mixture(
    joint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = make_searcher("space=nas201", "space.cells=1", "space.channels=4")
    searcher.begin_epoch(0)

    def halve(_: Perturbation, mixture: Mixture, *others: object) -> Mixture:
        return mixture.with_weights({group: weight / 2 for group, weight in mixture.items()})

    term = Mock(return_value=None)
    monkeypatch.setattr(Perturbation, "__call__", halve)
    monkeypatch.setattr(Regularizer, "weight_term", term)
    expected = searcher.net.alphas["cell"].detach().softmax(-1) / 2
    searcher.weight_step(make_batch(0), joint=joint)
    term.assert_called_once()
    mixture = term.call_args.args[0]
    torch.testing.assert_close(mixture["cell"], expected)
    assert not mixture["cell"].requires_grad


@pytest.mark.parametrize(
    ("overrides", "clip"), [((), 0.25), (("optimizer.clip=1",), 1.0), (("bilevel.clip=0",), 0.0)]
)
def test_recurrent_cells_clip_as_the_weights_do(overrides: tuple[str, ...], clip: float) -> None:
    sizes = ("space.embedding=4", "space.hidden=4", "space.nodes=2")
    task = ("method=darts_v2", "task=language_model", "dataset=ptb", "space=recurrent")
    config = compose("search", [*task, *sizes, *overrides])
    objective = config.task.make_objective(ObjectiveSpec(tuple(str(number) for number in range(9))))
    assert Searcher(config, objective, Ranks(), {"vocab_size": 9}).bilevel.clip == clip


@pytest.mark.parametrize(("overrides", "clip"), [((), 0.0), (("bilevel.clip=2",), 2.0)])
def test_other_spaces_do_not_clip_unless_set(overrides: tuple[str, ...], clip: float) -> None:
    searcher = make_searcher("method=darts_v2", "space.cells=1", *overrides)
    assert searcher.bilevel.clip == clip


CONVOLUTIONS = {"convolution", "convolution_backward"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "matmul"}


def rounded(x: object) -> object:
    """Return float32 numbers rounded to the 10 bits of the mantissa that TF32 keeps."""
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        return x
    bits = (x.detach().view(torch.int32) + 0x1000) & ~0x1FFF
    return bits.view(torch.float32)


class EmulatedTf32(TorchDispatchMode):
    """Rounds where PyTorch's flags allow it, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        allowed = (name in CONVOLUTIONS and torch.backends.cudnn.allow_tf32) or (
            name in PRODUCTS and torch.backends.cuda.matmul.allow_tf32
        )
        if allowed:
            self.count += 1
            args = tuple(map(rounded, args))
        return func(*args, **(kwargs or {}))


SMALL = ("space.channels=4", "space.cells=2")


def weights_of(searcher: Searcher) -> list[Tensor]:
    return [w for group in searcher.optimizer.param_groups for w in group["params"]]


def require_equal(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert any(bool(tensor.any()) for tensor in expected)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_the_emulation_changes_a_step_of_the_weights() -> None:
    weights = []
    for tf32 in (False, True):
        searcher = make_searcher(*SMALL, f"precision={'tf32' if tf32 else 'fp32'}")
        with float32_products(tf32=tf32), EmulatedTf32() as mode:
            searcher.weight_step(make_batch(0))
        weights.append(torch.cat([w.detach().flatten() for w in weights_of(searcher)]))
        assert (mode.count > 0) == tf32
    assert not torch.equal(*weights)


def test_the_finite_difference_does_not_round() -> None:
    searcher = make_searcher(*SMALL, "bilevel=unrolled")
    batches = make_batch(0), make_batch(1)
    inputs = GradientInputs(searcher.net, searcher.arch_loss, *batches, searcher.optimizer)
    step = _VirtualStep(inputs, graph=False, clip=0.0)
    expected = step.finite_difference(0.01)
    with float32_products(tf32=True), EmulatedTf32() as mode:
        actual = step.finite_difference(0.01)
    assert mode.count == 0
    require_equal(actual, expected)


def test_products_with_the_hessian_of_the_alphas_do_not_round() -> None:
    searcher = make_searcher(*SMALL)
    results = []
    for tf32 in (False, True):
        with float32_products(tf32=tf32), EmulatedTf32() as mode:
            hessian = AlphaHessian(searcher.net, searcher.arch_loss, make_batch(0))
            results.append(hessian.times(torch.ones(hessian.size)))
        assert mode.count == 0
    require_equal(results[1:], results[:1])


@pytest.mark.parametrize("classes", [True, False])
def test_slices_learn_from_the_largest_network(
    classes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow way: build all networks with copied weights, and add the gradients of the stem."""
    words = ("method=sandwich", "space=elastic", "space.channels=4", "optimizer.clip=0")
    searcher, batch = make_searcher(*words, "relaxation.networks=1"), make_batch(0)
    if not classes:
        monkeypatch.setattr(type(searcher.config.task), "targets", "other")
    searcher.begin_epoch(0)
    space, net = searcher.config.space, copy.deepcopy(searcher.net)
    torch.manual_seed(1)
    drawn = space.random(torch.default_generator)
    smallest, largest = space.extremes()
    networks = [space.inherit(genotype, net).train() for genotype in (largest, drawn, smallest)]
    logits = [own(batch[0]) for own in networks]
    losses = [F.cross_entropy(own, batch[1]) for own in logits]
    if classes:
        wanted = logits[0].detach().softmax(-1)
        losses[1:] = [-(wanted * own.log_softmax(-1)).sum(1).mean() for own in logits[1:]]
    (sum(losses) / 3).backward()  # type: ignore[union-attr]
    torch.manual_seed(1)
    step = searcher.weight_step(batch)
    torch.testing.assert_close(step.loss, losses[0].detach())
    torch.testing.assert_close(step.outputs, logits[0])
    stems = [own.stem[0].weight.grad for own in networks]
    actual = searcher.net.stem[0].weight.grad
    torch.testing.assert_close(actual, torch.stack(stems).sum(0), rtol=1e-3, atol=1e-5)
    # Running statistics belong to the largest network.
    name = "blocks.0.norm.running_mean"
    expected = networks[0].get_buffer("blocks.0.layers.1.running_mean")
    torch.testing.assert_close(searcher.net.get_buffer(name), expected)


@pytest.mark.slow
def test_the_alignment_of_cells_does_not_round() -> None:
    """Its term of the loss of the weights is a difference of two losses; it is differentiated."""
    gradients = []
    for tf32 in (False, True):
        searcher = make_searcher(
            "space.channels=4", "space.cells=4", "regularizer=alignment", "regularizer.epsilon=0.01"
        )
        searcher.context.epoch, searcher.context.epochs = 1, 2  # the weight of the term is full
        loss = searcher._mixture_loss(make_batch(0), "fp32")
        with float32_products(tf32=tf32), EmulatedTf32() as mode:
            mixture = searcher.config.relaxation.mixture(
                {g: a.detach() for g, a in searcher.net.alphas.items()}, searcher.context
            )
            term = searcher.config.regularizer.weight_term(mixture, loss, searcher.context)
            assert term is not None
            nothing = torch.stack([w.sum() * 0 for w in weights_of(searcher)]).sum()
            optimizer_steps(nothing, [(searcher.optimizer, 0.0)], searcher.scaler, exact_term=term)
        assert mode.count == 0
        gradients.append([w.grad for w in weights_of(searcher) if w.grad is not None])
    require_equal(gradients[1], gradients[0])


@pytest.mark.parametrize("tf32", [False, True])
def test_a_run_sets_the_rounding_and_restores_it(
    tf32: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    original = loop.require_finite

    def record(*arguments: Any) -> float:
        seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return original(*arguments)

    monkeypatch.setattr(loop, "require_finite", record)
    if tf32:  # as if there were an NVIDIA GPU
        monkeypatch.setattr("darts.recipes.checks.check_precision", lambda *arguments: None)
    with float32_products(tf32=not tf32):
        overrides = [*SMALL, "dataset.samples=32", "tracking.figures=false"]
        overrides += ["loader.batch_size=8", f"precision={'tf32' if tf32 else 'fp32'}"]
        darts.search(data="synthetic", epochs=1, out=tmp_path / "run", overrides=overrides)
        after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert seen == {(tf32, tf32)}
    assert after == (not tf32, not tf32)
