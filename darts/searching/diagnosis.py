"""The measurements of collapse checks; ``darts.methods.collapse`` has the rules that judge them.

A check does not change the search: it restores the supernet and all random states.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from darts.data import Batch, Loader
from darts.methods.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.methods.collapse import Measurements, count_edges, genotype_drift
from darts.searching.calibration import calibrate, preserved_state
from darts.searching.flaws import FlawFinder
from darts.searching.mixture_loss import run_mixture
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype, SearchContext
from darts.spaces.mixture import path_mixture
from darts.training.checkpoint import StateDict
from darts.training.scoring import evaluate
from darts.typed_values import typed


class CheckInterrupted(Exception):
    """A signal arrived during a collapse check, which must be repeated."""


def dominant_alpha_eigenvalue(
    searcher: Searcher, batch: Batch, before_product: Callable[[int, int], None] | None = None
) -> float:
    """Return the dominant eigenvalue of the Hessian of the loss of the alphas, in training mode.

    ``before_product`` is as in ``dominant_eigenvalue``.
    """
    loss, reduce = searcher.mean_mixture_loss, searcher.ranks.reduce
    with preserved_state(searcher.net):
        hessian = AlphaHessian(searcher.net, loss, batch, reduce)
        return dominant_eigenvalue(hessian, before_product=before_product)


def path_masks(
    genotype: AnyGenotype, probabilities: Mapping[str, Tensor], context: SearchContext
) -> dict[str, Tensor]:
    """Return the masks ``(edges, operations)`` of a genotype by group.

    They follow from the probabilities if the space derives this genotype from them, because a
    genotype does not record everything, for example which layers of a supernet are skipped.
    """
    if context.derive(probabilities).to_json() == genotype.to_json():
        return context.derived_mask(probabilities)
    return context.space.mask(genotype, context.candidates)


@torch.no_grad()
def path_score(
    searcher: Searcher,
    masks: Mapping[str, Tensor],
    calibration: Sequence[Batch],
    batches: Iterable[Batch],
) -> dict[str, float]:
    """Return the metrics of the path of one genotype, by name.

    The operations of the path have the mixing weight 1, as in the discrete network. Batch norm uses
    statistics of the path, which come from the calibration batches.
    """
    net, precision, device = searcher.net, searcher.config.precision, searcher.ranks.device
    forward = partial(run_mixture, net, path_mixture(masks, net.shapes, device))
    objective = searcher.objective
    with preserved_state(net):
        calibrate(net, forward, calibration, objective, device=device, precision=precision)
        return evaluate(
            net, batches, objective, device=device, precision=precision, forward=forward
        )


class DiagnosisReport(NamedTuple):
    """Result of one collapse check."""

    verdict: str  # "healthy", "worthless so far", or the number of warnings
    warnings: list[str]  # for the console
    stop_at: int | None  # epoch, from 0, whose genotype ends the search; None to continue
    row: dict[str, object]  # for metrics.jsonl
    scalars: dict[str, float | None]  # for TensorBoard, by tag
    text: str  # Markdown for TensorBoard


class Diagnosis:
    """The collapse checks of one search.

    Args:
        searcher: Searcher of a running search.
        train_loader: Batches that train the weights, for batch norm statistics.
        valid_loader: Batches that train the alphas, for the eigenvalue.
        score_loader: Validation batches, for scores.
        flaw_finder: Finds flaws; a search with a flaw is not healthy.
        poll: Called with the name of the measurement that is running, before each of its parts; may
            raise ``CheckInterrupted``.
    """

    def __init__(
        self,
        searcher: Searcher,
        train_loader: Loader,
        valid_loader: Loader,
        score_loader: Loader,
        flaw_finder: FlawFinder,
        poll: Callable[[str], None],
    ) -> None:
        self._searcher, self._flaw_finder, self._poll = searcher, flaw_finder, poll
        self._train_loader, self._valid_loader = train_loader, valid_loader
        self._score_loader = score_loader
        self._rules = searcher.config.collapse
        self.checks: list[Measurements] = []

    def is_due(self, epoch: int) -> bool:
        """Return whether a check is due at the end of an epoch; never without use of the alphas."""
        return self._rules.is_due(epoch) and self._searcher.config.relaxation.uses_alphas

    def check(
        self, genotypes: Sequence[str], scores: Mapping[str, float], eigenvalue: float | None
    ) -> DiagnosisReport:
        """Check the search at the end of an epoch.

        Args:
            genotypes: Genotypes of all epochs up to this one, as JSON.
            scores: Metrics of the supernet on all validation data.
            eigenvalue: Result of ``eigenvalue`` for this epoch; None to compute it here if
                ``collapse.ratio`` needs it.
        """
        start = time.perf_counter()
        searcher, epoch = self._searcher, len(genotypes)
        space, metric = searcher.context.space, searcher.config.metric
        genotype = space.parse(genotypes[-1])
        supernet, path = self._supernet_and_path_scores(epoch - 1, genotype)
        if eigenvalue is None and self._rules.ratio:
            eigenvalue = self.eigenvalue(epoch - 1)
        drift = None
        if self.checks:
            drift = genotype_drift(genotype, space.parse(genotypes[self.checks[-1].epoch - 1]))
        check = Measurements(
            epoch=epoch,
            stage=searcher.position.stage,
            edges=count_edges(genotype),
            skips=count_edges(genotype, space.skip_operations),
            weightless=count_edges(genotype, space.weightless_operations),
            eigenvalue=eigenvalue,
            supernet_score=supernet,
            path_score=path,
            higher_is_better=searcher.objective.metrics[metric].higher_is_better,
            drift=drift,
            flaws=self._flaw_finder.find(
                scores, searcher.net.state_dict(), searcher.probabilities()
            ),
        )
        self.checks.append(check)
        return self._report(check, time.perf_counter() - start)

    def eigenvalue(self, epoch: int) -> float:
        """Return the dominant eigenvalue after an epoch, counted from 0."""

        def before_product(done: int, total: int) -> None:
            self._poll(f"eigenvalue, part {done + 1} of at most {total}")

        self._poll("eigenvalue")
        batch = self._valid_loader.batch(epoch, 0)
        return dominant_alpha_eigenvalue(self._searcher, batch, before_product)

    def _supernet_and_path_scores(self, epoch: int, genotype: AnyGenotype) -> tuple[float, float]:
        """Return the steering metric of the supernet and of the path, on the same batches."""
        searcher, rules = self._searcher, self._rules

        def batches() -> Iterator[Batch]:
            for batch in islice(self._score_loader.epoch(0), rules.batches):
                self._poll("path score")
                yield batch

        self._poll("path score")
        with preserved_state(searcher.net):
            scores = searcher.score(batches())
        count = min(rules.calibration, len(self._train_loader))
        calibration = [self._train_loader.batch(epoch, step) for step in range(count)]
        masks = path_masks(genotype, searcher.probabilities(), searcher.context)
        path_scores = path_score(searcher, masks, calibration, batches())
        metric = searcher.config.metric
        return scores[metric], path_scores[metric]

    def _report(self, check: Measurements, seconds: float) -> DiagnosisReport:
        rules, config = self._rules, self._searcher.config
        metric, epochs = config.metric, config.epochs
        warnings, healthy = self._warnings(), self._last_healthy_epoch()
        lines = [f"collapse: {text}" for text in warnings]
        if not rules.in_warmup(check, epochs):
            lines += [f"worthless so far: {flaw}" for flaw in check.flaws]
        stop_at: int | None = None
        if warnings and rules.action == "rollback":
            stop_at = None if healthy is None else healthy - 1
            if stop_at is None:
                lines.append("collapse: no healthy epoch to roll back to; the search continues")
        elif warnings and rules.action == "stop" and check.epoch < epochs:
            stop_at = check.epoch - 1
        numbers: dict[str, float | None] = {
            **{f"collapse/{cell}/skips": count for cell, count in check.skips.items()},
            **{f"collapse/{cell}/weightless": count for cell, count in check.weightless.items()},
            "collapse/eigenvalue": check.eigenvalue,
            "collapse/eigenvalue_ratio": rules.eigenvalue_ratio(self.checks),
            f"collapse/supernet_{metric}": check.supernet_score,
            f"collapse/path_{metric}": None if math.isnan(check.path_score) else check.path_score,
            "collapse/gap": check.gap,
            "collapse/drift": check.drift,
        }
        items = "\n".join(f"* {text}" for text in [*warnings, *check.flaws] or ["healthy"])
        verdict = "healthy"
        if warnings:
            verdict = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        elif check.flaws:
            verdict = "worthless so far"
        return DiagnosisReport(
            verdict=verdict,
            warnings=lines,
            stop_at=stop_at,
            row={**numbers, **self.summary(check.flaws), "collapse_seconds": seconds},
            scalars={**numbers, "collapse/warnings": len(warnings), "collapse/seconds": seconds},
            text=f"epoch {check.epoch}\n\n{items}",
        )

    def _warnings(self) -> list[str]:
        return self._rules.warnings(self.checks, self._searcher.config.epochs)

    def _last_healthy_epoch(self) -> int | None:
        return self._rules.last_healthy_epoch(self.checks, self._searcher.config.epochs)

    def summary(self, flaws: Sequence[str]) -> dict[str, object]:
        """Return the verdict of the last check and the last healthy epoch; empty without checks.

        The verdict contains ``flaws``, the flaws of the search as it is now.
        """
        if not self.checks:
            return {}
        return {
            "collapse_verdict": "; ".join([*self._warnings(), *flaws]) or "healthy",
            "collapse_healthy_epoch": self._last_healthy_epoch(),
        }

    def state_dict(self) -> list[StateDict]:
        return [dataclasses.asdict(check) for check in self.checks]

    def load_state_dict(self, state: object) -> None:
        self.checks = typed(list[Measurements], state, "diagnosis")
