"""The searcher: a supernet, its two optimizers, and the components of the method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from darts.config import SearchConfig
from darts.data import Batch, Loader
from darts.methods.bilevel.arch_gradient import GradientInputs
from darts.methods.bilevel.functional import FunctionalLoss, gradients
from darts.methods.freezing import FreezingState, FrozenOperations
from darts.methods.stages import (
    best_candidates,
    partial_of,
    schedule_of,
    skip_dropout_at,
    stage_position,
)
from darts.searching.budget_alphas import add_anchors, alphas_at
from darts.searching.mixture_loss import SupernetMixtureLoss, masked
from darts.searching.students import student_losses
from darts.spaces import ByGroup, SearchContext, SupernetBase
from darts.spaces.network import FittingData, fit_layers
from darts.tasks import Forward, Objective
from darts.training.checkpoint import StateDict
from darts.training.device import loss_scaler, precision_context
from darts.training.distributed import Ranks
from darts.training.schedules import rate_of_epoch
from darts.training.scoring import evaluate
from darts.training.state import load_optimizer, require_fitting_network
from darts.training.steps import clipped_step, optimizer_steps, set_learning_rate, weight_optimizer
from darts.typed_values import Count, entry, typed


def epoch_kind(config: SearchConfig, epoch: int, epochs: int) -> tuple[int, bool]:
    """Return the stage of one of ``epochs`` epochs, and whether it takes architecture steps.

    Epochs of one kind have equal cost.
    """
    position = stage_position(epoch, epochs, config.all_stages)
    is_warm = position.progress(epoch) >= config.arch_optimizer.warmup
    return position.stage, config.bilevel.updates_alphas and is_warm


class SavedSearcher(TypedDict):
    """State of a searcher in a checkpoint."""

    stage: Count
    masks: dict[str, Tensor]  # (edges, operations) bool by group
    freezing: FreezingState
    net: dict[str, Tensor]
    optimizer: StateDict
    arch_optimizer: StateDict
    scaler: StateDict
    arch_scaler: StateDict


class SearchStep(NamedTuple):
    """Result of a step of the search; all but the outputs are scalars."""

    loss: Tensor  # of this rank
    outputs: Any  # of the supernet
    norm: Tensor  # of the gradient of the weights before clipping
    arch_norm: Tensor  # of the gradient of the alphas; 0 if they are not updated


class Searcher:
    """A supernet, its two optimizers and the components of the method, during a search.

    Args:
        config, objective, ranks: Configuration, losses and metrics, and processes of the search.
        sizes: Arguments that fit the supernet to the data, see ``DataModule.network_sizes``.
        saved: Checkpoint from which the searcher will be restored, or None. It sets the stage to
            start with.
        loader: Training samples that fit the ``FittedLayer`` modules of a new supernet, or None.
    """

    def __init__(
        self,
        config: SearchConfig,
        objective: Objective,
        ranks: Ranks,
        sizes: Mapping[str, int],
        *,
        saved: Mapping[str, object] | None = None,
        loader: Loader | None = None,
    ) -> None:
        self._loader = loader
        self.config, self.objective, self.ranks = config, objective, ranks
        clip = config.optimizer.clip if config.space.clips_virtual_step else 0.0
        # ``config.bilevel``, in some spaces with a limit on the gradient in its virtual step.
        self.bilevel = config.bilevel.with_clip(clip)
        self.stages = config.all_stages
        self.stage = 0 if saved is None else entry(saved, "searcher.stage", Count)
        self._sizes = dict(sizes)
        if saved is not None:  # its configuration may be untrusted and set huge sizes
            weights = entry(saved, "searcher.net", dict[str, Tensor])
            require_fitting_network(partial(self._initial_net, self.stage), weights, "searcher.net")
        # Functions that map probabilities by group to terms of the loss of the alphas.
        self.alpha_costs: list[Callable[[ByGroup], Tensor]] = []
        net = self._build_net(self.stage, fits=saved is None)
        self.context = SearchContext.from_supernet(config.space, net)
        self._set_supernet(net)  # also sets the optimizers, the loss scalers and ``frozen``

    def _initial_net(self, index: int) -> SupernetBase:
        """Return the supernet of a stage on the default device."""
        stage = self.stages[index]
        space, relaxation = self.config.space, self.config.relaxation
        build = space.droppable_supernet if self.config.drop_path > 0 else space.supernet
        net = build(
            **self._sizes,
            partial=partial_of(relaxation.partial, stage),
            auxiliary_skip=relaxation.auxiliary_skip > 0,
            depth=stage.depth,
        )
        relaxation.prepare(net)
        if self.config.learns_budgets:
            add_anchors(net, self.config.front.anchors)
        net.scale_alphas(self.config.arch_optimizer.initial_deviation)
        return net

    def _build_net(self, index: int, *, fits: bool = True) -> SupernetBase:
        config, net = self.config, self._initial_net(index)
        net.to(self.ranks.device)
        if fits and self._loader is not None:
            fit_layers(net, FittingData(self._loader, self.objective.supernet_loss))
        # Convolutions run fastest in this memory format.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ranks.prepare(net, sync_batchnorm=config.sync_batchnorm)
        if config.memory == "checkpoint":
            net.recompute_cells()
        return net

    def _set_supernet(self, net: SupernetBase) -> None:
        """Replace the supernet; make new optimizers and loss scalers for it."""
        self.net, self.context.counts = net, net.counts
        self.frozen = FrozenOperations(net)
        config, arch, device = self.config, self.config.arch_optimizer, self.ranks.device
        self.optimizer = weight_optimizer(self.net.weight_parameters(), config.optimizer)
        self.arch_optimizer = torch.optim.Adam(
            list(self.net.alphas.values()),
            lr=arch.lr,
            betas=(arch.betas[0], arch.betas[1]),
            weight_decay=arch.weight_decay,
        )
        self.scaler = loss_scaler(config.precision, device)
        self.arch_scaler = loss_scaler(config.precision, device)

    def _enter_stage(self, index: int) -> None:
        """Drop candidates, and rebuild supernet and optimizers for the stage with this index."""
        stage = self.stages[index]
        if stage.keep < 1:
            masks = best_candidates(self.probabilities(), self.context.masks, stage.keep)
            self.context.masks.update(masks)
        net = self._build_net(index)
        if not stage.fresh:
            net.load_state_dict(net.widened(self.net.state_dict()))
        self._set_supernet(net)

    def _alphas(self, net: SupernetBase) -> ByGroup:
        """Return the alphas by group; in a search for a front, those for the current budget."""
        return alphas_at(net, self.context.budget)

    def _drawn_budget(self) -> AbstractContextManager[None]:
        """In a search for a front, draw the budget of a step.

        The budget comes from PyTorch's global generator, which checkpoints save.
        """
        if not self.config.learns_budgets:
            return nullcontext()
        return self.context.changed(budget=float(torch.rand(())))

    def begin_epoch(self, epoch: int, lr_factor: float = 1.0) -> float:
        """Set stage, progress and learning rate of an epoch; return the learning rate.

        ``lr_factor`` multiplies the learning rate of the schedule.
        """
        epochs, optimizer = self.config.epochs, self.config.optimizer
        position = stage_position(epoch, epochs, self.stages)
        if position.stage != self.stage:
            self._enter_stage(position.stage)
        self.stage = position.stage
        self.context.epoch, self.context.epochs = epoch, epochs
        stage, warmup = self.stages[position.stage], self.config.arch_optimizer.warmup
        self.net.skip_dropout = skip_dropout_at(stage, position, epoch, warmup)
        share = 1.0 if self.config.drop_path_schedule == "constant" else epoch / max(epochs - 1, 1)
        self.net.drop_path = self.config.drop_path * share
        first, length = schedule_of(epoch, epochs, self.stages)
        lr = lr_factor * rate_of_epoch(optimizer, epoch - first, length)
        set_learning_rate(self.optimizer, lr)
        self.net.train()
        return lr

    @property
    def arch_lr(self) -> float:
        """The learning rate of the alphas."""
        return float(self.arch_optimizer.param_groups[0]["lr"])

    def updates_alphas_in(self, epoch: int) -> bool:
        """Return whether the search takes architecture steps in an epoch."""
        return epoch_kind(self.config, epoch, self.config.epochs)[1]

    def arch_loss(self, net: SupernetBase, batch: Batch, *, deterministic: bool = False) -> Tensor:
        """Return this rank's share of the loss of the alphas: validation loss plus all terms.

        With ``deterministic``, the mixture has no random draws, as second derivatives need.
        """
        relaxation = self.config.relaxation
        relax = relaxation.mean_mixture if deterministic else relaxation.mixture
        mixture = relax(self._alphas(net), self.context)
        loss = self.objective.alpha_loss(partial(net, mixture=mixture), batch)
        share = self.ranks.loss_share(loss, self.objective.num_samples(batch))
        return share + self._alpha_terms(net)

    def _alpha_terms(self, net: SupernetBase) -> Tensor:
        """Return this rank's share of the terms of the regularizer and of ``alpha_costs``."""
        alphas = self._alphas(net)
        total = torch.zeros((), device=self.ranks.device)
        if (term := self.config.regularizer.alpha_term(alphas, self.context)) is not None:
            total = total + term / self.ranks.size
        if self.alpha_costs:
            probabilities = self.config.relaxation.probabilities(alphas, self.context)
            for cost in self.alpha_costs:
                total = total + cost(probabilities) / self.ranks.size
        return total

    def arch_step(self, batch: Batch, valid_batch: Batch) -> Tensor:
        """Take one optimizer step of the alphas; return the norm of their gradient.

        In fp16 the loss is scaled up so that no intermediate gradient underflows. Every gradient is
        divided by the scale before it is used. A step whose gradient overflows is skipped, and the
        scale is reduced.
        """
        scaler, device = self.arch_scaler, self.ranks.device
        scale = scaler.scale(torch.ones((), device=device)) if scaler.is_enabled() else None

        def loss_fn(net: SupernetBase, batch: Batch) -> Tensor:
            loss = self.arch_loss(net, batch)
            return loss if scale is None else scale * loss

        def sum_unscaled(scaled: Sequence[Tensor]) -> Sequence[Tensor]:
            total = self.ranks.all_reduce(scaled)
            return total if scale is None else [gradient / scale for gradient in total]

        inputs = GradientInputs(self.net, loss_fn, batch, valid_batch, self.optimizer, sum_unscaled)
        with self._drawn_budget(), precision_context(self.config.precision, device):
            by_group = self.bilevel.gradient(inputs)
        for name, alpha in self.net.alphas.items():
            # The scaler looks for overflows while it unscales, so the gradients are scaled again.
            # This is exact, because the scale is a power of two.
            alpha.grad = by_group[name] if scale is None else by_group[name] * scale
        norm = clipped_step(self.arch_optimizer, scaler, self.config.arch_optimizer.clip)
        scaler.update()
        self.arch_optimizer.zero_grad(set_to_none=True)
        return norm

    def observe_gradients(self, step: int, batch: Batch, valid_batch: Batch) -> None:
        """Pass the weight gradients of both batches to the freezing rule if it is due."""
        freezing = self.config.freezing
        if not freezing.is_due(step):
            return
        loss = FunctionalLoss(self.net, self.arch_loss)

        def weight_gradients(data: Batch) -> dict[nn.Parameter, Tensor]:
            weights = [weight.detach().requires_grad_() for weight in loss.weights]
            with precision_context(self.config.precision, self.ranks.device):
                value = loss.at(weights, [alpha.detach() for alpha in loss.alphas], data)
            summed = self.ranks.all_reduce(gradients(value, weights))
            return dict(zip(loss.weights, summed, strict=True))

        self.frozen.observe(freezing, weight_gradients(batch), weight_gradients(valid_batch))

    def weight_step(self, batch: Batch, *, joint: bool = False) -> SearchStep:
        """Take one weight step; a joint step updates the alphas from the same backward pass."""
        config = self.config
        with self._drawn_budget():
            with torch.set_grad_enabled(joint):
                alphas = self._alphas(self.net)
                mixture, *students = config.relaxation.mixtures(alphas, self.context)
            with torch.no_grad():
                loss_of = self._mixture_loss(batch, config.precision)
                constant = config.perturbation(mixture.detached(), loss_of, self.context.progress)
            mixture = mixture.with_values(constant) if joint else constant
            forward = partial(self.net, mixture=mixture)
            with precision_context(config.precision, self.ranks.device):
                loss, outputs = self.objective.supernet_loss(forward, batch)
                total = self.ranks.loss_share(loss, self.objective.num_samples(batch))
            # In true float32, because the term may be a finite difference.
            loss_of = self._mixture_loss(batch, "fp32")
            term = config.regularizer.weight_term(constant, loss_of, self.context)
            updates = [(self.optimizer, config.optimizer.clip)]
            if joint:
                total = total + self._alpha_terms(self.net)
                updates.append((self.arch_optimizer, config.arch_optimizer.clip))
        losses = student_losses(self, total, outputs, students, batch) if students else total
        norms = optimizer_steps(
            losses, updates, self.scaler, exact_term=term, reduce=self.ranks.all_reduce
        )
        self.arch_optimizer.zero_grad(set_to_none=True)
        self.frozen.restore()
        arch_norm = norms[1] if joint else torch.zeros_like(norms[0])
        return SearchStep(loss.detach(), outputs, norms[0], arch_norm)

    def search_step(
        self, batch: Batch, valid_batch: Batch, *, update_alphas: bool, step: int | None = None
    ) -> SearchStep:
        """Take an architecture step, then a weight step (DARTS, algorithm 1).

        Some methods update the alphas in the weight step instead. ``step`` is the number of the
        step, from 0, for the freezing rule; without it, no further operations are frozen.
        """
        joint = update_alphas and self.bilevel.joins_weight_step
        # 1. Update the alphas by a gradient step on the validation loss.
        arch_norm = self.arch_step(batch, valid_batch) if update_alphas and not joint else None
        if step is not None:
            self.observe_gradients(step, batch, valid_batch)
        # 2. Update the weights by a gradient step on the training loss.
        done = self.weight_step(batch, joint=joint)
        return done if arch_norm is None else done._replace(arch_norm=arch_norm)

    def _mixture_loss(self, batch: Batch, precision: str) -> SupernetMixtureLoss:
        return SupernetMixtureLoss(self.net, self.objective, self.ranks, batch, precision)

    @torch.no_grad()
    def probabilities(self) -> dict[str, Tensor]:
        """Return the probabilities that discretization uses, ``(edges, operations)`` by group."""
        return self.config.relaxation.probabilities(self._alphas(self.net), self.context)

    @torch.no_grad()
    def score(self, batches: Iterable[Batch], only: ByGroup | None = None) -> dict[str, float]:
        """Return all metrics of the supernet in evaluation mode.

        Mixing weights outside the masks ``only``, ``(edges, operations)`` by group, become 0. A
        group without a mask keeps its mixing weights.
        """
        mixture = self.config.relaxation.mean_mixture(self._alphas(self.net), self.context)
        if only is not None:
            kept = {group: masked(mixture[group], mask) for group, mask in only.items()}
            mixture = mixture.with_weights({**mixture, **kept})
        return self.evaluate(batches, partial(self.net, mixture=mixture))

    def evaluate(self, batches: Iterable[Batch], forward: Forward) -> dict[str, float]:
        """Return all metrics of the supernet for a forward pass, in evaluation mode."""
        device, precision = self.ranks.device, self.config.precision
        return evaluate(
            self.net, batches, self.objective, device=device, precision=precision, forward=forward
        )

    def state_dict(self) -> SavedSearcher:
        return {
            "stage": self.stage,
            "masks": dict(self.context.masks),
            "freezing": self.frozen.state,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "arch_optimizer": self.arch_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "arch_scaler": self.arch_scaler.state_dict(),
        }

    def load_state_dict(self, state: object) -> None:
        """Continue from the result of ``state_dict``, which may be of an earlier stage."""
        saved = typed(SavedSearcher, state, "searcher")
        if saved["stage"] < self.stage:  # restart after a divergence
            self.stage = saved["stage"]
            self._set_supernet(self._build_net(self.stage))
        self.net.load_state_dict(saved["net"])
        load_optimizer(self.optimizer, saved["optimizer"], "searcher.optimizer")
        load_optimizer(self.arch_optimizer, saved["arch_optimizer"], "searcher.arch_optimizer")
        self.scaler.load_state_dict(saved["scaler"])
        self.arch_scaler.load_state_dict(saved["arch_scaler"])
        self.context.masks = saved["masks"]
        self.frozen = FrozenOperations(self.net, saved["freezing"])
