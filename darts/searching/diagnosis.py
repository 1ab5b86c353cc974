"""What the rules of ``darts.methods.collapse`` go by, measured on the searched supernet.

Nothing here changes the search: the supernet and all random states are left as they were.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.methods.collapse import Doctor, Look, counts_of, drift_of, gap_of
from darts.searching.calibration import calibrate, undisturbed
from darts.searching.searcher import Searcher
from darts.spaces.mixture import path_of
from darts.training.scoring import evaluate

Batch = Any


def eigenvalue_of(searcher: Searcher, batch: Batch) -> float:
    """The dominant eigenvalue of the Hessian of the alphas' loss on a batch, in training mode."""
    with undisturbed(searcher.net):
        hessian = AlphaHessian(searcher.net, searcher.judged_loss, batch, searcher.ranks.reduce)
        return dominant_eigenvalue(hessian)


def path_masks(genotype: Any, probabilities: Mapping[str, Tensor], context: Any) -> Any:
    """Which columns of which edges a genotype uses that was read from these probabilities.

    A space may know it better than from the genotype alone, which need not tell where layers were
    left out; unless the genotype is another than the plain one.
    """
    space, candidates = context.space, context.candidates
    if space.derive(probabilities, candidates).to_json() == genotype.to_json():
        return space.used(probabilities, candidates)
    return space.mask(genotype, candidates)


@torch.no_grad()
def path_score(
    searcher: Searcher, masks: Mapping[str, Tensor], calibration: Sequence[Batch], batches: Any
) -> dict[str, float]:
    """Scores of the operations of one genotype, with the supernet's weights.

    Each of them counts with weight one, as in the discrete network, and batch norm takes its
    statistics from the path.

    Args:
        searcher: whose supernet is left as it is.
        masks: by group ``(edges, operations)``.
        calibration: training batches for the statistics.
        batches: for the scores.
    """
    net, config, device = searcher.net, searcher.config, searcher.ranks.device
    mixture = path_of(masks, net.shapes, device)

    def path(samples: Any, /, **more: Any) -> Any:
        return net(samples, mixture, **more)

    options: dict[str, Any] = {"device": device, "precision": config.precision}
    with undisturbed(net):
        calibrate(net, path, calibration, searcher.objective, **options)
        return evaluate(net, batches, searcher.objective, forward=path, **options)


class Report(NamedTuple):
    """What one look has to tell.

    Attributes:
        verdict: in a word or two.
        warnings: lines for the console; none when all is well, or it is too early to say.
        back_to: the epoch, from 0, whose genotype ends the search; None to go on.
        row: for metrics.jsonl, by name.
        scalars: for TensorBoard, by tag.
        text: for TensorBoard, in Markdown.
    """

    verdict: str
    warnings: list[str]
    back_to: int | None
    row: dict[str, Any]
    scalars: dict[str, Any]
    text: str


class Examination:
    """The looks of one search.

    Args:
        searcher: at work.
        train_batches: of the weights, for calibration.
        valid_batches: of the alphas, for the curvature.
        score_batches: of the alphas' data, for scores.

    Attributes:
        looks: so far.
    """

    def __init__(
        self, searcher: Searcher, train_batches: Any, valid_batches: Any, score_batches: Any
    ) -> None:
        self._searcher = searcher
        self._train, self._valid, self._scored = train_batches, valid_batches, score_batches
        self._rules: Doctor = searcher.config.doctor
        self.looks: list[Look] = []

    def looks_at(self, epoch: int) -> bool:
        """Whether an epoch, from 0, is one to look at; none is where alphas decide nothing."""
        return self._rules.looks_at(epoch) and self._searcher.config.relaxation.uses_alphas

    def look(
        self, genotypes: Sequence[str], scores: Mapping[str, float], eigenvalue: float | None
    ) -> Report:
        """Examine the search at the end of an epoch.

        Args:
            genotypes: as JSON, that of each epoch up to this one.
            scores: of the supernet on all validation data.
            eigenvalue: of ``eigenvalue_of`` if it is known already.
        """
        start = time.perf_counter()
        searcher, number = self._searcher, len(genotypes)
        space, metric = searcher.context.space, searcher.config.metric
        genotype = space.parse(genotypes[-1])
        # What went through torch.compile cannot be differentiated twice.
        lacking: list[str] = []
        if eigenvalue is None and not searcher.config.compile:
            eigenvalue, lacking = self._eigenvalue(number - 1)
        supernet, path = self._both(number - 1, genotype, scores)
        higher = searcher.objective.metrics[metric].higher_is_better
        drift = None
        if self.looks:
            drift = drift_of(genotype, space.parse(genotypes[self.looks[-1].epoch - 1]))
        look = Look(
            epoch=number,
            stage=searcher.place.stage,
            edges=counts_of(genotype),
            skips=counts_of(genotype, space.skips),
            weightless=counts_of(genotype, space.weightless),
            eigenvalue=eigenvalue,
            supernet=supernet,
            path=path,
            higher_is_better=higher,
            gap=gap_of(supernet, path, higher_is_better=higher),
            drift=drift,
        )
        self.looks.append(look)
        return self._report(look, lacking, time.perf_counter() - start)

    def _eigenvalue(self, epoch: int) -> tuple[float | None, list[str]]:
        """None where it does not fit into the device's memory, and a line that says so.

        A look must not end a search that is well without it. Of several ranks, the others would
        wait for ever for the part of one that gives up.
        """
        batch = self._valid.batch(epoch, 0)
        try:
            return eigenvalue_of(self._searcher, batch), []
        except torch.OutOfMemoryError:
            if self._searcher.ranks.size > 1:
                raise
        return None, [
            "doctor: no eigenvalue, which needs more memory than the device has left; "
            "doctor.every=0 spares the attempt"
        ]

    def _both(self, epoch: int, genotype: Any, scores: Mapping[str, float]) -> tuple[float, float]:
        """The steering metric of supernet and path, on the same batches."""
        searcher, rules = self._searcher, self._rules

        def batches() -> Iterable[Batch]:
            return islice(self._scored.epoch(0), rules.batches)

        # The same on all ranks, which score together.
        if searcher.ranks.all_reduce_max(len(self._scored)) > rules.batches:
            with undisturbed(searcher.net):
                scores = searcher.score(batches())
        count = min(rules.calibration, len(self._train))
        calibration = [self._train.batch(epoch, step) for step in range(count)]
        masks = path_masks(genotype, searcher.expected(), searcher.context)
        found = path_score(searcher, masks, calibration, batches())
        metric = searcher.config.metric
        return scores[metric], found[metric]

    def _report(self, look: Look, lacking: Sequence[str], seconds: float) -> Report:
        rules, metric = self._rules, self._searcher.config.metric
        complaints, healthy = self._complaints(), self._healthy()
        lines = [*lacking, *(f"doctor: {text}" for text in complaints)]
        back_to: int | None = None
        if complaints and rules.action == "rollback":
            back_to = None if healthy is None else healthy - 1
            if back_to is None:
                lines.append("doctor: no look was healthy, so that the search goes on")
        elif complaints and rules.action == "stop" and look.epoch < self._searcher.config.epochs:
            back_to = look.epoch - 1
        numbers = {
            **{f"doctor/{cell}/skips": count for cell, count in look.skips.items()},
            **{f"doctor/{cell}/weightless": count for cell, count in look.weightless.items()},
            "doctor/eigenvalue": look.eigenvalue,
            "doctor/eigenvalue_then_to_now": rules.growth(self.looks),
            f"doctor/supernet_{metric}": look.supernet,
            f"doctor/path_{metric}": look.path,
            "doctor/gap": look.gap,
            "doctor/drift": look.drift,
        }
        return Report(
            verdict=f"{len(complaints)} complaints" if complaints else "healthy",
            warnings=lines,
            back_to=back_to,
            row={**numbers, **self.summary(), "doctor_seconds": seconds},
            scalars={**numbers, "doctor/complaints": len(complaints), "doctor/seconds": seconds},
            text=f"epoch {look.epoch}\n\n" + "\n".join(f"* {x}" for x in complaints or ["healthy"]),
        )

    def _complaints(self) -> list[str]:
        return self._rules.verdict(self.looks, self._searcher.config.epochs)

    def _healthy(self) -> int | None:
        return self._rules.healthy(self.looks, self._searcher.config.epochs)

    def summary(self) -> dict[str, Any]:
        """The verdict of the last look in words, and the last healthy epoch; or nothing."""
        if not self.looks:
            return {}
        return {
            "doctor": "; ".join(self._complaints()) or "healthy",
            "doctor_healthy_epoch": self._healthy(),
        }

    def state_dict(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [dataclasses.asdict(look) for look in self.looks]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from ``state_dict``."""
        self.looks = [Look(**values) for values in state]
