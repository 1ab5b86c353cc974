"""The collapse checks of a search, and the eigenvalue of its stopping rule.

``darts.methods.collapse`` has the rules that judge the measurements. Neither changes the search:
the supernet and all random states are restored.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from darts.data import Batch
from darts.methods.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.methods.collapse import Measurements, count_edges, genotype_drift
from darts.reading import JsonObject
from darts.recipes.search_callbacks import SearchCallback
from darts.searching.paths import path_masks, path_score, preserved_state
from darts.spaces import AnyGenotype
from darts.training.checkpoint import StateDict
from darts.training.device import random_states, restore_random_states
from darts.training.loop import EpochReport
from darts.typed_values import typed

if TYPE_CHECKING:
    from darts.recipes.search import Search


class CheckInterrupted(Exception):
    """A signal arrived during a collapse check, which must be repeated."""


class Inspection(SearchCallback):
    """Checks a search for a collapse, and measures the eigenvalue; both may end the search."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._rules = search.config.collapse
        self._checks: list[Measurements] = []
        search.state.parts["diagnosis"] = self

    def state_dict(self) -> list[StateDict]:
        return [dataclasses.asdict(check) for check in self._checks]

    def load_state_dict(self, state: object) -> None:
        self._checks = typed(list[Measurements], state, "diagnosis")

    def _is_check_due(self, epoch: int) -> bool:
        """Return whether a check is due at the end of an epoch; never without use of the alphas."""
        return self._rules.is_due(epoch) and self.search.config.relaxation.uses_alphas

    def after_steps(self) -> None:
        self._random = random_states(self.search.ranks.device)

    def end_epoch(self, epoch: int, report: EpochReport) -> None:
        search, state, start = self.search, self.search.state, time.perf_counter()
        stopping, eigenvalue, check = search.config.stopping, None, None
        try:
            with search.run.phase("collapse"):
                if stopping.is_due(epoch):
                    eigenvalue = self._eigenvalue(epoch)
                if self._is_check_due(epoch):
                    start = time.perf_counter()
                    check = self._measure(epoch, eigenvalue)
        except CheckInterrupted:
            restore_random_states(self._random, search.ranks.device)
            search.loop.save()  # exits; a resumed search repeats the end of the epoch
            raise
        finally:
            search.loop.console.status("")
        if eigenvalue is not None:
            state.eigenvalues.append(eigenvalue)
            state.stopped_epoch = stopping.stop_epoch(state.eigenvalues)
            report.row["eigenvalue"] = report.scalars["measured/eigenvalue"] = eigenvalue
        if check is not None:
            self._checks.append(check)
            self._judge(check, report, time.perf_counter() - start)

    def _poll(self, measurement: str) -> None:
        """Show which measurement is running; called by all ranks together."""
        search = self.search
        if search.ranks.all_reduce_max(bool(search.loop.interrupt.received)):
            raise CheckInterrupted
        search.loop.console.status(f"collapse check: {measurement}")

    def _eigenvalue(self, epoch: int) -> float:
        """Return the dominant eigenvalue of the Hessian of the loss of the alphas."""
        self._poll("eigenvalue")
        searcher, batch = self.search.searcher, self.search.loaders.for_alphas.batch(epoch, 0)
        loss = partial(searcher.arch_loss, deterministic=True)

        def poll(done: int, total: int) -> None:
            self._poll(f"eigenvalue, part {done + 1} of at most {total}")

        with preserved_state(searcher.net):  # in training mode
            hessian = AlphaHessian(searcher.net, loss, batch, searcher.ranks.all_reduce)
            return dominant_eigenvalue(hessian, before_product=poll)

    def _measure(self, epoch: int, eigenvalue: float | None) -> Measurements:
        """Measure the search at the end of an epoch; ``eigenvalue`` is None if it is unknown."""
        search, searcher, genotype = self.search, self.search.searcher, self.search.genotype
        space, metric, drift = search.config.space, search.config.metric, None
        supernet, path = self._supernet_and_path_scores(epoch, genotype)
        if eigenvalue is None and self._rules.ratio:
            eigenvalue = self._eigenvalue(epoch)
        if self._checks:
            before = space.genotype.parse(search.state.genotypes[self._checks[-1].epoch - 1])
            drift = genotype_drift(genotype, before)
        return Measurements(
            epoch=epoch + 1,
            stage=searcher.stage,
            edges=count_edges(genotype),
            skips=count_edges(genotype, space.skip_operations),
            weightless=count_edges(genotype, space.weightless_operations),
            eigenvalue=eigenvalue,
            supernet_score=supernet,
            path_score=path,
            higher_is_better=search.objective.metrics[metric].higher_is_better,
            drift=drift,
            flaws=search.flaw_finder.find(
                search.state.scores, searcher.net.state_dict(), searcher.probabilities()
            ),
        )

    def _supernet_and_path_scores(self, epoch: int, genotype: AnyGenotype) -> tuple[float, float]:
        """Return the steering metric of the supernet and of the path, on the same batches."""
        search, searcher, loaders = self.search, self.search.searcher, self.search.loaders
        metric = search.config.metric

        def batches() -> Iterator[Batch]:
            for batch in islice(loaders.scoring.epoch(0), self._rules.batches):
                self._poll("path score")
                yield batch

        self._poll("path score")
        with preserved_state(searcher.net):
            score = searcher.score(batches())[metric]
        calibration = loaders.calibration(self._rules.calibration, epoch)
        masks = path_masks(genotype, searcher.probabilities(), searcher.context)
        return score, path_score(searcher, masks, calibration, batches())[metric]

    def _judge(self, check: Measurements, report: EpochReport, seconds: float) -> None:
        """Add the verdict on a check to the logs of the epoch; end the search if it must."""
        search, state, rules = self.search, self.search.state, self._rules
        epochs, metric = search.config.epochs, search.config.metric
        warnings = rules.warnings(self._checks, epochs)
        report.warnings += [f"collapse: {text}" for text in warnings]
        if not rules.in_warmup(check, epochs):
            report.warnings += [f"not yet usable: {flaw}" for flaw in check.flaws]
        stop_at: int | None = None
        if warnings and rules.action == "rollback":
            healthy = rules.last_healthy_epoch(self._checks, epochs)
            stop_at = None if healthy is None else healthy - 1
            if stop_at is None:
                line = "collapse: no healthy epoch to roll back to; the search continues"
                report.warnings.append(line)
        elif warnings and rules.action == "stop" and check.epoch < epochs:
            stop_at = check.epoch - 1
        if state.stopped_epoch is None:
            state.stopped_epoch = stop_at
        numbers: dict[str, float | None] = {
            **{f"collapse/{cell}/skips": count for cell, count in check.skips.items()},
            **{f"collapse/{cell}/weightless": count for cell, count in check.weightless.items()},
            "collapse/eigenvalue": check.eigenvalue,
            "collapse/eigenvalue_ratio": rules.eigenvalue_ratio(self._checks),
            f"collapse/supernet_{metric}": check.supernet_score,
            f"collapse/path_{metric}": None if math.isnan(check.path_score) else check.path_score,
            "collapse/gap": check.gap,
            "collapse/drift": check.drift,
        }
        means = {tag: value for tag, value in report.scalars.items() if tag.endswith("/mean")}
        report.row |= {**means, **numbers, **self.summary(check.flaws), "collapse_seconds": seconds}
        report.scalars |= numbers
        report.scalars |= {"collapse/warnings": len(warnings), "collapse/seconds": seconds}
        verdict = "not yet usable" if check.flaws else "healthy"
        if warnings:
            verdict = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        report.console["collapse"] = verdict
        items = "\n".join(f"* {text}" for text in [*warnings, *check.flaws] or ["healthy"])
        step = check.epoch * len(state.train_loader)
        search.run.board.log_text("collapse", f"epoch {check.epoch}\n\n{items}", step)

    def summary(self, flaws: Sequence[str]) -> JsonObject:
        """Return the verdict of the last check, with the flaws of the search as it is now."""
        if not self._checks:
            return {}
        rules, epochs = self._rules, self.search.config.epochs
        warnings = rules.warnings(self._checks, epochs)
        return {
            "collapse_verdict": "; ".join([*warnings, *flaws]) or "healthy",
            "collapse_healthy_epoch": rules.last_healthy_epoch(self._checks, epochs),
        }

    def uncounted(self) -> list[str]:
        config = self.search.config
        parts = {
            "collapse checks": any(map(self._is_check_due, range(config.epochs))),
            f"eigenvalues (stopping={config.stopping.name})": config.stopping.needs_curvature,
        }
        return [part for part, exists in parts.items() if exists]
