"""The end of ``darts.find`` with ``ensemble=N``: the predictions of several networks are averaged.

References:
    Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.config import ConfigError
from darts.data import Batch, load_split
from darts.data.targets import CLASSES, LABELS
from darts.finding.race import Race, timed
from darts.finding.results import Result, ranked
from darts.finding.winner import PLANNED
from darts.judging.devices.stopwatch import TimingSettings, example, time_passes, timing
from darts.judging.ensemble_selection import greedy_selection
from darts.judging.sample_metrics import SampleMetric, sample_metric
from darts.reading import JsonObject
from darts.recipes.ensemble import fits_together, save_ensemble
from darts.recipes.evaluation import build_on, open_data
from darts.recipes.gain import Gain, measure_gain
from darts.recipes.trained import TrainedNetwork
from darts.training.cost import count_parameters
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate

FOLDER = "ensemble"

SMALL = 1e-12  # a probability of 0 or 1 would have infinite outputs


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble of networks of the race.

    Attributes:
        counts: How often each network counts, by its name.
        gain: Difference to the winner alone on the test split; None without a test split or with
            one network only.
        costs: Parameters and milliseconds per sample, of the ensemble and of the winner alone.
    """

    counts: Mapping[str, int]
    gain: Gain | None
    costs: Mapping[str, float]

    def sentence(self) -> str:
        """Return which networks are averaged, and how large they are together."""
        if len(self.counts) == 1:
            return "No ensemble has a better validation score than the best network alone."
        names = ", ".join(f"{n} x {name}" for name, n in self.counts.items())
        cost = self.costs["ensemble_parameters"] / self.costs["single_parameters"]
        return f"The result averages {names}: {cost:.1f} times the parameters of the winner."

    def summary(self) -> JsonObject:
        """Return the entries of ``summary.json``."""
        values: JsonObject = {"ensemble": dict(self.counts), **self.costs}
        values["ensemble_note"] = self.sentence()
        if self.gain is not None:
            values |= {f"single_test_{name}": v for name, v in self.gain.baseline.items()}
            values |= {
                "ensemble_gain": self.gain.difference,
                "ensemble_gain_low": self.gain.low,
                "ensemble_gain_high": self.gain.high,
            }
        return values


def check_ensemble(members: int, folds: int) -> None:
    """Refuse an ensemble if each candidate is trained several times, see ``plan.folds``.

    Raises:
        ConfigError: If there is more than one held-out part.
    """
    if members > 1 and folds > 1:
        raise ConfigError(
            f"ensemble={members}: there are too few samples to choose networks, so each has "
            f"{folds} runs; set ensemble=1 or plan.folds=1"
        )


def train_finalists(race: Race, winner: Result, reserve: float) -> list[Result]:
    """Train the winner and the next-best networks for equally long; return them, best first.

    With a plan in epochs, they get ``plan.epochs``, if it is set.

    Args:
        race: The race.
        winner: The winner of the duel.
        reserve: Seconds to keep for test scores.

    Raises:
        Stopped: If the user interrupts the race.
    """
    names = race.decisions.decide(
        f"finalists-{race.stopwatch.total:.0f}", list[str], lambda: _finalists(race, winner)
    )
    plan = race.config.plan
    if plan.equal == "time":
        end = race.decisions.decide(
            f"end-{race.stopwatch.total:.0f}-ensemble",
            float,
            lambda: PLANNED * race.stopwatch.total - reserve,
        )
        waves = math.ceil(len(names) / race.executor.workers)
        while (left := (end - race.stopwatch.seconds) / waves) > 1:
            before = max(race.results[name].seconds for name in names)
            seconds = before + min(left, before)
            race.train_together({name: timed(race.candidates[name], seconds) for name in names})
    elif plan.epochs is not None:
        trained = {name: race.candidates[name].start.epochs for name in names}
        race.train_together(
            {n: (f"epochs={max(plan.epochs - epochs, 1)}",) for n, epochs in trained.items()}
        )
    return ranked([race.results[name] for name in names], race.metric[1])


def _finalists(race: Race, winner: Result) -> list[str]:
    first = TrainedNetwork.load(str(winner.directory))
    fitting = [
        result.candidate.name
        for result in ranked(race.results.values(), race.metric[1])
        if result == winner or fits_together(first, TrainedNetwork.load(str(result.directory)))
    ]
    fitting.remove(winner.candidate.name)
    return [winner.candidate.name, *fitting][: race.config.ensemble]


def choose_members(race: Race, finalists: Sequence[Result]) -> dict[str, int]:
    """Return how often each network counts in the ensemble with the best validation score.

    Its checkpoint is written, unless it has one member only.
    """
    outputs, metric, targets, kind = _validation_outputs(race, finalists)
    sign = 1 if race.metric[1].higher_is_better else -1

    def score(predictions: Tensor) -> float:
        logits = _outputs(predictions, kind)
        results = metric.results(logits, (logits, targets)).numpy()
        return sign * float(metric.value(np.ones((1, len(results))), results)[0])

    size = len(finalists)
    predictions = torch.stack([_predictions(own, kind) for own in outputs])
    counts = greedy_selection(predictions, score, members=size, rounds=2 * size)
    chosen = {f.candidate.name: n for f, n in zip(finalists, counts, strict=True) if n}
    if len(chosen) > 1:
        folder = race.directory / FOLDER
        save_ensemble(folder, [finalist.directory for finalist in finalists], counts)
        for name in ("split.npz", "metrics.jsonl", "vocabulary.json"):
            if (finalists[0].directory / name).exists():
                shutil.copyfile(finalists[0].directory / name, folder / name)
    return chosen


def _validation_outputs(
    race: Race, finalists: Sequence[Result]
) -> tuple[list[Tensor], SampleMetric, Tensor, str]:
    """Return the outputs of each network, ``(samples, K)``, the metric, the targets, their kind."""
    ranks = Ranks("cpu")
    outputs: list[Tensor] = []
    for finalist in finalists:
        trained = TrainedNetwork.load(str(finalist.directory))
        data = open_data(trained, ranks)
        loader = data.held_out_loader("valid", load_split(finalist.directory / "split.npz"))
        assert loader is not None  # each candidate has a validation score
        objective = data.objective()
        rows: list[tuple[Tensor, Tensor]] = []

        def observe(output: object, batch: Batch, rows: list[tuple[Tensor, Tensor]] = rows) -> None:
            assert isinstance(output, Tensor)
            rows.append((output.cpu().double(), batch[1].cpu()))

        net = build_on(trained, ranks.device)
        with torch.inference_mode():
            evaluate(net, loader.epoch(0), objective, device=ranks.device, observe=observe)
        columns = [torch.cat(column) for column in zip(*rows, strict=True)]
        outputs.append(columns[0])
    metric = sample_metric(objective, race.metric[0], trained.target_names, ranks.device)
    return outputs, metric, columns[1], trained.config.task.targets


def _predictions(outputs: Tensor, targets: str) -> Tensor:
    """Return probabilities or numbers for the outputs of a network, of the same shape."""
    if targets == CLASSES:
        return outputs.softmax(-1)
    return outputs.sigmoid() if targets == LABELS else outputs


def _outputs(predictions: Tensor, targets: str) -> Tensor:
    """Return outputs that give these predictions."""
    if targets == CLASSES:
        return predictions.clamp_min(SMALL).log()
    return predictions.logit(SMALL) if targets == LABELS else predictions


def describe_ensemble(
    race: Race, counts: Mapping[str, int], ensemble: Path, single: Path, *, test_device: str | None
) -> EnsembleResult:
    """Compare the ensemble with the winner alone: parameters, time, and test scores on a device."""
    gain = None
    if test_device is not None:
        gain = measure_gain(ensemble, single, metric=race.metric[0], device=test_device)
    nets = [TrainedNetwork.load(str(directory)) for directory in (ensemble, single)]
    settings = TimingSettings("cpu", race.threads, 1, "fp32", warmup=5, repeats=20)
    built = [trained.build() for trained in nets]
    costs: dict[str, float] = {
        f"{name}_parameters": count_parameters(net.parameters())
        for name, net in zip(("ensemble", "single"), built, strict=True)
    }
    specs = nets[1].input_specs
    if len(specs) == 1 and specs[0].num_tokens is None:
        with timing(settings):
            inputs = example(tuple(specs[0].shape[1:]), settings)
            times = time_passes(built, [inputs, inputs], settings)
        costs |= {
            f"{name}_ms": time.median_ms
            for name, time in zip(("ensemble", "single"), times, strict=True)
        }
    return EnsembleResult(counts, gain, costs)
