"""What a search does in one step: the supernet, its two optimizers and the parts of the method.

The command ``darts.search`` decides when a step is taken, what is told and what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from darts.bilevel.functional import FunctionalLoss, gradients
from darts.methods.freezing import Share
from darts.methods.stages import Place, Stage, best_candidates, place_of, skip_dropout
from darts.searching.architecture_step import architecture_step
from darts.spaces import Mixture, SearchContext
from darts.tasks import Objective
from darts.training.device import autocast, loss_scaler
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate
from darts.training.steps import cosine, optimizer_step, set_learning_rate, weight_optimizer

Batch = Any


def updates_alphas(config: Any, place: Place, epoch: int) -> bool:
    """Whether a search takes steps of the alphas in an epoch that lies at a place."""
    moves: bool = config.bilevel.updates_alphas
    return moves and place.share(epoch) >= config.arch_optimizer.warmup


class Searcher:
    """The searched supernet and how it learns.

    Args:
        config: of the search.
        objective: gives losses and scores.
        ranks: who share the work.
        sizes: what the supernet must know to fit the data, see ``DataModule.sizes``.
        stage: number of the stage to begin with.

    Attributes:
        net: the supernet.
        context: of the search.
        place: where the present epoch lies.
        alpha_cost: added to the loss of the alphas, from the expected probabilities; or None.
    """

    def __init__(
        self,
        config: Any,
        objective: Objective,
        ranks: Ranks,
        sizes: Mapping[str, int],
        *,
        stage: int = 0,
    ) -> None:
        self.config, self.objective, self.ranks = config, objective, ranks
        self.relaxation = config.relaxation
        self.stages: list[Stage] = config.stages or [Stage()]
        place_of(0, config.epochs, self.stages)  # refuses too few epochs
        self._sizes = dict(sizes)
        self.alpha_cost: Callable[[Mapping[str, Tensor]], Tensor] | None = None
        self.place = Place(stage, 0, 1)
        self.net = self._make_net(stage)
        self.context = SearchContext.of(config.space, self.net)
        self._make_optimizers()
        self.frozen: dict[str, Any] = {}  # of the rule that freezes operations
        self._held: dict[str, list[tuple[Share, Tensor]]] = {}

    # Building.

    def _make_net(self, number: int) -> Any:
        config, stage = self.config, self.stages[number]
        net = config.space.supernet(
            **self._sizes,
            partial=max(1, self.relaxation.partial // stage.widen),
            auxiliary_skip=self.relaxation.auxiliary_skip > 0,
            depth=stage.depth,
        )
        self.relaxation.prepare(net)
        # The layout that convolutions run fastest on.
        net = net.to(self.ranks.device, memory_format=torch.channels_last)
        self.ranks.prepare(net)
        if config.memory == "checkpoint":
            net.recompute_cells()
        if config.compile:
            net.compile_regions()
        return net

    def _make_optimizers(self) -> None:
        """The alphas are in no list of the weights' optimizer."""
        config, arch = self.config, self.config.arch_optimizer
        self.optimizer = weight_optimizer(self.net.weight_parameters(), config.optimizer)
        self.arch_optimizer = torch.optim.Adam(
            list(self.net.alphas.values()),
            lr=arch.lr,
            betas=(arch.betas[0], arch.betas[1]),
            weight_decay=arch.weight_decay,
        )
        device = self.ranks.device
        self.scaler, self.arch_scaler = (loss_scaler(config.precision, device) for _ in range(2))

    def _enter(self, number: int) -> None:
        """Go to a later stage: drop candidates, and build what the stage changes."""
        stage = self.stages[number]
        if stage.keep < 1:
            expected = self.expected()
            self.context.kept.update(best_candidates(expected, self.context.kept, stage.keep))
        before, self.net = self.net, self._make_net(number)
        if not stage.fresh:
            self.net.load_state_dict(self.net.widened(before.state_dict()))
        self.context.counts = self.net.counts
        self._make_optimizers()
        self.frozen, self._held = {}, {}

    # The epoch and its steps.

    def begin_epoch(self, epoch: int) -> float:
        """Set what changes from epoch to epoch; returns the learning rate."""
        epochs = self.config.epochs
        place = place_of(epoch, epochs, self.stages)
        if place.stage != self.place.stage:
            self._enter(place.stage)
        self.place = place
        self.context.progress = epoch / epochs
        self.net.skip_dropout = skip_dropout(self.stages[place.stage], place, epoch)
        first, length = self._span(epoch)
        lr = cosine(epoch - first, length, self.config.optimizer.lr, self.config.optimizer.lr_min)
        set_learning_rate(self.optimizer, lr)
        self.net.train()
        return lr

    def _span(self, epoch: int) -> tuple[int, int]:
        """First epoch and length of the schedule, which begins anew with fresh weights."""
        starts = [0]
        for other in range(self.config.epochs):
            place = place_of(other, self.config.epochs, self.stages)
            if other == place.first and place.stage and self.stages[place.stage].fresh:
                starts.append(other)
        first = max(start for start in starts if start <= epoch)
        after = min([start for start in starts if start > epoch], default=self.config.epochs)
        return first, after - first

    def updates_alphas(self, epoch: int) -> bool:
        """Whether steps of the alphas are taken in an epoch."""
        place = place_of(epoch, self.config.epochs, self.stages)
        return updates_alphas(self.config, place, epoch)

    def arch_loss(self, net: Any, batch: Batch) -> Tensor:
        """What the alphas are to lower; a rank's part of it."""
        return self._alpha_loss(net, batch, self.relaxation.mixture(net.alphas, self.context))

    def judged_loss(self, net: Any, batch: Batch) -> Tensor:
        """The same without draws, some of which cannot be differentiated twice."""
        return self._alpha_loss(net, batch, self.relaxation.judged(net.alphas, self.context))

    def _alpha_loss(self, net: Any, batch: Batch, mixture: Mixture) -> Tensor:
        loss, _ = self.objective.supernet_loss(partial(_run, net, mixture), batch)
        total = self.ranks.loss_share(loss, self.objective.samples(batch))
        terms = [self.config.regularizer.alpha_term(net.alphas, self.context)]
        if self.alpha_cost is not None:
            terms.append(self.alpha_cost(self.relaxation.expected(net.alphas, self.context)))
        for term in terms:
            if term is not None:
                total = total + term / self.ranks.size
        return total

    def arch_step(self, batch: Batch, valid: Batch) -> Tensor:
        """One step of the alphas; returns the norm of the gradient."""
        return architecture_step(
            *(self.net, self.arch_loss, batch, valid),
            gradient=self.config.bilevel,
            optimizer=self.optimizer,
            arch_optimizer=self.arch_optimizer,
            scaler=self.arch_scaler,
            precision=self.config.precision,
            device=self.ranks.device,
            reduce=self.ranks.reduce,
        )

    def report(self, step: int, batch: Batch, valid: Batch) -> dict[str, float]:
        """What the gradient of the alphas has to tell at a step."""
        return self.config.bilevel.report(
            *(step, self.net, self.arch_loss, batch, valid, self.optimizer),
            reduce=self.ranks.reduce,
        )

    def look(self, step: int, batch: Batch, valid: Batch) -> None:
        """Let the rule that freezes operations see the gradients of a step."""
        freezing = self.config.freezing
        if not freezing.looks_at(step):
            return
        loss = FunctionalLoss(self.net, self.arch_loss)
        seen = []
        for one in (batch, valid):
            weights = [weight.detach().requires_grad_() for weight in loss.weights]
            with autocast(self.config.precision, self.ranks.device):
                value = loss.at(weights, [alpha.detach() for alpha in loss.alphas], one)
            found: Any = gradients(value, weights)
            found = found if self.ranks.reduce is None else self.ranks.reduce(found)
            seen.append(dict(zip(loss.weights, found, strict=True)))
        shares = {
            name: [Share(*row) for row in rows]
            for name, rows in self.net.operation_shares().items()
        }
        freezing.look(shares, *seen, self.frozen)
        self._hold()

    def _hold(self) -> None:
        """Remember the weights of frozen operations, to put them back after each step."""
        shares = self.net.operation_shares() if self.frozen.get("frozen") else {}
        for name in self.frozen.get("frozen", ()):
            if name in shares and name not in self._held:
                rows = [Share(*row) for row in shares[name]]
                self._held[name] = [(row, row.of(row.parameter).detach().clone()) for row in rows]

    def weight_step(self, batch: Batch) -> tuple[Tensor, Any, Tensor]:
        """One step of the weights; returns loss, outputs and the norm of the gradient."""
        with torch.no_grad():  # the alphas are constants here
            mixture = self.relaxation.mixture(self.net.alphas, self.context)
            slope = partial(self._slope, batch)
            mixture = self.config.perturbation(mixture, slope, self.context.progress)
        with autocast(self.config.precision, self.ranks.device):
            loss, outputs = self.objective.supernet_loss(partial(_run, self.net, mixture), batch)
            total = self.ranks.loss_share(loss, self.objective.samples(batch))
            term = self.config.regularizer.weight_term(
                mixture, partial(self._loss, batch), slope, self.context
            )
        total = total if term is None else total + term
        clip = self.config.optimizer.clip
        norm = optimizer_step(
            total, self.optimizer, self.scaler, clip=clip, reduce=self.ranks.reduce
        )
        with torch.no_grad():
            # Momentum and weight decay would move them without a gradient, too.
            for row, values in (pair for pairs in self._held.values() for pair in pairs):
                row.of(row.parameter).copy_(values)
        return loss.detach(), outputs, norm

    def _loss(self, batch: Batch, mixture: Mixture) -> Tensor:
        """A rank's part of the training loss of any mixture."""
        loss, _ = self.objective.supernet_loss(partial(_run, self.net, mixture), batch)
        return self.ranks.loss_share(loss, self.objective.samples(batch))

    @torch.enable_grad()
    def _slope(self, batch: Batch, mixture: Mixture) -> dict[str, Tensor]:
        """Gradient of the training loss for mixing weights; statistics stay as they are."""
        leaves = {group: w.detach().requires_grad_() for group, w in mixture.items()}
        moved = mixture.replaced(leaves)

        def loss_fn(net: Any, batch: Batch) -> Tensor:
            loss, _ = self.objective.supernet_loss(partial(_run, net, moved), batch)
            return self.ranks.loss_share(loss, self.objective.samples(batch))

        functional = FunctionalLoss(self.net, loss_fn)
        weights = [weight.detach() for weight in functional.weights]
        with autocast(self.config.precision, self.ranks.device):
            value = functional.at(weights, functional.alphas, batch)
        found: Any = gradients(value, list(leaves.values()))
        found = found if self.ranks.reduce is None else self.ranks.reduce(found)
        return dict(zip(leaves, found, strict=True))

    # What is read out.

    @torch.no_grad()
    def expected(self) -> dict[str, Tensor]:
        """By group the probabilities that the architecture is read from."""
        return self.relaxation.expected(self.net.alphas, self.context)

    @torch.no_grad()
    def score(
        self, batches: Iterable[Batch], only: Mapping[str, Tensor] | None = None
    ) -> dict[str, float]:
        """Scores of the supernet in evaluation mode; outside the masks all weights are 0."""
        mixture = self.relaxation.judged(self.net.alphas, self.context)
        if only is not None:
            columns = {group: mask.shape[1] for group, mask in only.items()}
            mixture = mixture.replaced(
                {
                    group: torch.cat(
                        [w[:, : columns[group]] * only[group].to(w.device), w[:, columns[group] :]],
                        dim=1,
                    )
                    if group in only
                    else w
                    for group, w in mixture.items()
                }
            )
        return evaluate(
            self.net,
            batches,
            self.objective,
            device=self.ranks.device,
            precision=self.config.precision,
            forward=partial(_run, self.net, mixture),
        )

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {
            "stage": self.place.stage,
            "kept": dict(self.context.kept),
            "frozen": self.frozen,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "arch_optimizer": self.arch_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "arch_scaler": self.arch_scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``; the stage must be the one the searcher was made for."""
        self.context.kept = dict(state["kept"])
        for name in ("net", "optimizer", "arch_optimizer", "scaler", "arch_scaler"):
            getattr(self, name).load_state_dict(state[name])
        self.frozen = state["frozen"]
        self._hold()


def _run(net: Any, mixture: Mixture, samples: Any, /, **more: Any) -> Any:
    return net(samples, mixture, **more)
