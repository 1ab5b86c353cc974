"""The end of ``darts find``: test scores, files of the run, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from darts.finding.ensemble import EnsembleResult
from darts.finding.results import Result
from darts.reading import JsonObject
from darts.recipes.gain import Gain
from darts.tracking.formats import format_duration

_GAIN = ("search_gain", "search_gain_low", "search_gain_high")  # of the summary


@dataclass(frozen=True)
class Conclusion:
    """The answer, and what the search has contributed to it.

    Attributes:
        winner: The result of the run: a found network, or a baseline.
        baseline: The best baseline, after as much training as the winner in the race.
        final: Final run of the winner; None if there is none.
        test: Test scores of the answer, and of the winner alone if the answer is an ensemble; None
            without a test split.
        gain: Difference between winner and baseline on the test split after equal training; None if
            a baseline wins, or without a test split.
        metric: Name of the steering metric.
        varied: Whether networks other than baselines were trained.
        doubtful: Whether a found network ranked above the baseline that won, on validation data.
        ensemble: The ensemble that is the answer; the winner is then its best network.
        search_gain: See ``Duel``.
    """

    winner: Result
    baseline: Result
    final: Result | None
    test: Gain | None
    gain: Gain | None
    metric: str
    varied: bool
    doubtful: bool
    ensemble: EnsembleResult | None
    search_gain: Sequence[float] = ()

    def summary(self) -> JsonObject:
        """Return scores, gain and description of the winner for ``summary.json``."""
        winner, baseline, final = self.winner, self.baseline, self.final
        values: JsonObject = {"metric": self.metric, **_valid_scores(winner.summary)}
        values |= _valid_scores((final or winner).summary)
        if self.ensemble is not None and self.ensemble.averages:
            values = {"metric": self.metric, f"valid_{self.metric}": self.ensemble.score}
        if self.test is not None:
            values |= {f"test_{name}": score for name, score in self.test.found.items()}
        values |= {f"baseline_{k}": v for k, v in _valid_scores(baseline.summary).items()}
        if self.gain is not None:
            values |= {f"raced_test_{n}": score for n, score in self.gain.found.items()}
            values |= {f"baseline_test_{n}": score for n, score in self.gain.baseline.items()}
            values |= {**self.gain.entries("gain"), "test_samples": self.gain.samples}
        elif winner.candidate.is_baseline:
            values["gain"] = 0.0
        values |= {
            "genotype": winner.candidate.genotype,
            "origin": winner.candidate.origin,
            "found_moves": "; ".join(winner.candidate.moves),
            **dict(zip_longest(_GAIN, self.search_gain)),
            "family": winner.candidate.family,
            "setting": winner.candidate.setting.name,
            **{name: winner.summary[name] for name in ("parameters", "macs", "flops", "device")},
            "epochs": winner.epochs,
        }
        seconds = winner.seconds * len(winner.runs)
        if final is not None:  # its result includes the training that it has continued
            begins_anew = final.candidate.start.parent != winner.candidate.name
            values["final_epochs"] = final.epochs - (0 if begins_anew else winner.epochs)
            seconds += final.seconds - (0.0 if begins_anew else winner.seconds)
        if self.ensemble is not None:
            values |= self.ensemble.summary(self.test)
        return {
            **values,
            "winner_seconds": seconds,
            "baseline": baseline.candidate.name,
            "baseline_genotype": baseline.candidate.genotype,
            "baseline_parameters": baseline.summary["parameters"],
            "baseline_macs": baseline.summary["macs"],
            "baseline_seconds": baseline.seconds,
            "baseline_wins": winner.candidate.is_baseline,
            "verdict": self.verdict(),
        }

    def verdict(self) -> str:
        """Return one or two sentences that compare the winner with the best baseline."""
        name, own = self.baseline.candidate.name, self.winner.candidate
        averages = self.ensemble is not None and self.ensemble.averages
        what = "best single network" if averages else "result"
        if own.is_baseline:
            reason = "no better architecture was found"
            if not self.varied:
                reason = "no other architectures were trained"
            if self.doubtful:
                reason = (
                    "the best found network ranked higher on validation data, but the difference "
                    "may be chance"
                )
            elif own.setting.augments and own.name != name:
                reason += (
                    f". It learns from more varied samples than {name}, whose validation score is "
                    "not significantly better"
                )
            return f"The baseline {own.name} is the {what}: {reason}."
        changes = f" It differs from a baseline by: {'; '.join(own.moves)}." if own.moves else ""
        if self.gain is None:
            start = f"The found network beats {name} on validation data; there are no test labels."
            return start + changes
        seconds = format_duration(self.baseline.seconds)
        chance = "" if self.gain.is_significant else ", which may be chance"
        start = f"After {seconds} of training each, the found network minus the baseline {name} is"
        return f"{start} {self.gain.text(self.metric)} on test data{chance}.{changes}"


def _valid_scores(summary: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in summary.items() if name.startswith("valid_")}
