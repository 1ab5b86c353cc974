"""The end of ``darts.find``: test scores, files of the run, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darts.finding.gain import Gain
from darts.finding.results import Result
from darts.judging.benchmark import Benchmark
from darts.plotting.genotype import save_genotype
from darts.reading import JsonObject, read_bytes
from darts.spaces.lookup import find_genotype
from darts.tasks.metrics import Metric
from darts.tracking.formats import is_fraction
from darts.tracking.ledger import sum_costs
from darts.tracking.optional import optional
from darts.tracking.tables import write_table
from darts.training.run_directory import RunDirectory
from darts.writing import write_atomically

CHECKPOINT_LIMIT = 2**34  # bytes


@dataclass(frozen=True)
class Conclusion:
    """The best network, the best baseline, and their difference.

    Attributes:
        winner: The result of the run: a found network, or ``baseline`` if no found network is
            clearly better by validation score.
        baseline: The best baseline of all stages; if a baseline wins, the same as ``winner``.
        gain: Difference on the test split; None if the data has no test split.
        metric: Name of the steering metric and its direction.
        doubtful: Whether a found network ranked above the baseline that won, on validation data.
    """

    winner: Result
    baseline: Result
    gain: Gain | None
    metric: tuple[str, Metric]
    doubtful: bool = False

    def summary(self) -> JsonObject:
        """Return scores, gain and description of the winner for ``summary.json``."""
        winner, baseline = self.winner, self.baseline
        values: JsonObject = {
            "metric": self.metric[0],
            **_scores("valid", winner.summary),
            **{f"baseline_{k}": v for k, v in _scores("valid", baseline.summary).items()},
        }
        if self.gain is not None:
            values |= {f"test_{name}": score for name, score in self.gain.found.items()}
            values |= {f"baseline_test_{n}": score for n, score in self.gain.baseline.items()}
            values |= {
                "gain": self.gain.difference,
                "gain_low": self.gain.low,
                "gain_high": self.gain.high,
                "test_samples": self.gain.samples,
            }
        copied = ("parameters", "macs", "flops", "epochs", "device")
        return {
            **values,
            "genotype": winner.candidate.genotype,
            "origin": winner.candidate.origin,
            "family": winner.candidate.family,
            "setting": winner.candidate.setting.name,
            **({} if winner.refit_epochs is None else {"refit_epochs": winner.refit_epochs}),
            **{name: winner.summary[name] for name in copied},
            "baseline": baseline.candidate.name,
            "baseline_genotype": baseline.candidate.genotype,
            "baseline_parameters": baseline.summary["parameters"],
            "baseline_macs": baseline.summary["macs"],
            "baseline_wins": winner.candidate.is_baseline,
            "verdict": self.verdict(),
        }

    def verdict(self) -> str:
        """Return one sentence that compares the winner with the best baseline."""
        name = self.baseline.candidate.name
        if self.doubtful:
            return (
                f"The baseline {name} is the result: the best found network ranked higher on "
                "validation data, but the difference may be chance."
            )
        if self.winner.candidate.is_baseline:
            return (
                f"The baseline {name} had the best validation score, so it is the result: "
                "the search has found nothing better."
            )
        if self.gain is None:
            return f"The found network beats {name} on validation data; there is no test split."
        unit = " points" if is_fraction(self.metric[0]) else ""
        factor, digits = (100, "+.2f") if unit else (1, "+.3g")
        found = f"{factor * self.gain.difference:{digits}}{unit}"
        if self.gain.low is None or self.gain.high is None:
            return f"Against the baseline {name}, the gain on test data is {found}."
        if self.gain.difference == self.gain.low == self.gain.high == 0:
            return f"The found network and the baseline {name} have equal results on the test data."
        low, high = factor * self.gain.low, factor * self.gain.high
        interval = f"{found} (95 % interval {low:{digits}} to {high:{digits}})"
        if low > 0:
            return f"The found network is better than the baseline {name}: {interval}."
        if high < 0:
            return f"The found network is worse than the baseline {name} on test data: {interval}."
        return (
            f"The found network and the baseline {name} differ by {interval} on test data, "
            "which may be chance."
        )


def write_files(run: RunDirectory, conclusion: Conclusion, results: Sequence[Result]) -> None:
    """Write the table of candidates, and copy the files of the winner's run."""
    metric = conclusion.metric[0]
    write_table(run.path / "candidates.csv", [result.row(metric) for result in results])
    winner = conclusion.winner
    name, genotype = find_genotype(winner.candidate.genotype)
    for file in ("checkpoint.pt", "split.npz", "metrics.jsonl", "model_card.md", "vocabulary.json"):
        source = winner.directory / file
        if source.exists():
            write_atomically(run.path / file, read_bytes(source, limit=CHECKPOINT_LIMIT))
    run.write("genotype.json", genotype.to_json())
    with optional(run.path / "genotype.svg"):
        save_genotype(genotype, run.path / "genotype.svg", title=name)


def benchmark_scores(benchmark: Benchmark | None, conclusion: Conclusion) -> JsonObject:
    """Return the true scores of winner and baseline from a table that no decision uses."""
    if benchmark is None:
        return {}
    found = benchmark.scores(find_genotype(conclusion.winner.candidate.genotype)[1])
    baseline = benchmark.scores(find_genotype(conclusion.baseline.candidate.genotype)[1])
    return {**found, "baseline_true_accuracy": baseline["true_accuracy"]}


def total_costs(results: Sequence[Result], others: Sequence[JsonObject]) -> JsonObject:
    """Return joules and emissions of all runs."""
    return sum_costs([*(summary for r in results for summary in r.summaries), *others])


def _scores(split: str, summary: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in summary.items() if name.startswith(f"{split}_")}
