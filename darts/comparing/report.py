"""What a comparison ends with: rows, numbers, verdicts in words, a page and a picture."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from darts.comparing.plan import RANDOM, RANDOM_SEARCH, ComparisonPlan
from darts.comparing.runs import RunFailed, read_divergence, shell_command, read_summary
from darts.judging.statistics import (
    ALPHA,
    Comparison,
    Interval,
    bootstrap,
    compare,
    in_words,
    verdict,
)
from darts.plotting.figures import save_figure
from darts.plotting.scores import draw_scores
from darts.tracking.energy import is_shared_counter
from darts.tracking.files import read_json, write_atomically
from darts.tracking.formats import format_duration, is_fraction
from darts.tracking.ledger import sum_costs, common_source
from darts.training.device import visible_gpus
from darts.training.run_directory import DIVERGED

EQUAL = (0.9, 1.1)
"""A baseline that costs so many times what the method costs is called one of equal cost."""


class ComparisonResults:
    """What the runs of a complete comparison say.

    Args:
        protocol: whose runs are all complete.

    Attributes:
        rows: a row a retrained network.
        scores: by name, test scores of the retrainings of each search.
        intervals: by name, of the mean over searches.
        comparisons: of the method with each baseline.

    Raises:
        RunFailed: for a retraining without a test score.
    """

    def __init__(self, protocol: ComparisonPlan) -> None:
        self.protocol, config = protocol, protocol.config
        self.score = f"test_{config.metric}"
        self.rows = [row for name in protocol.names for row in self._rows_of(name)]
        self.scores = {
            name: [
                [row[self.score] for row in self.rows if row["name"] == name and row["search"] == i]
                for i in range(config.searches)
            ]
            for name in protocol.names
        }
        self.intervals = {
            name: bootstrap(scores, draws=config.draws) for name, scores in self.scores.items()
        }
        self.comparisons = compare(
            (config.method_name, self.scores[config.method_name]),
            [(name, self.scores[name]) for name in config.baselines],
            higher_is_better=protocol.metric.higher_is_better,
            draws=config.draws,
        )

    def _rows_of(self, name: str) -> list[dict[str, Any]]:
        protocol = self.protocol
        rows = []
        for index in range(protocol.config.searches):
            cost = protocol.search_cost(name, index)
            for number, directory in enumerate(protocol.retrained(name, index)):
                summary = read_summary(directory)
                if not isinstance(summary.get(self.score), (int, float)):
                    raise RunFailed(f"{directory} has no {self.score} to be compared by")
                valid = f"valid_{protocol.metric.name}"
                rows.append(
                    {
                        "name": name,
                        "search": index,
                        "retraining": number,
                        "seed": summary["seed"],
                        self.score: summary[self.score],
                        valid: summary.get(valid),
                        "parameters": summary["parameters"],
                        "macs": summary["macs"],
                        "search_seconds": cost["seconds"],
                        "search_joules": cost["joules"],
                        "search_joules_source": cost["joules_source"],
                        "seconds": summary["seconds"],
                        "joules": summary["joules"],
                        "joules_source": summary["joules_source"],
                        "genotype": summary["genotype"],
                        "directory": directory.relative_to(protocol.directory).as_posix(),
                    }
                )
        return rows

    def search_joules(self, name: str) -> float | None:
        """Of a search, as a mean; None where searches have told of different sources."""
        rows = [row for row in self.rows if row["name"] == name]
        if common_source(row["search_joules_source"] for row in rows) is None:
            return None
        return float(np.mean([row["search_joules"] for row in rows]))

    def cost_ratio(self, name: str) -> float | None:
        """What a search of a baseline costs, as a multiple of the method's; None if not known."""
        if name == RANDOM:
            return 0.0
        method = self.protocol.config.method_name
        rows = [row for row in self.rows if row["name"] in (name, method)]
        if common_source(row["search_joules_source"] for row in rows) is None:
            return None
        ours, theirs = self.search_joules(method), self.search_joules(name)
        return theirs / ours if ours and theirs is not None else None

    def show(self, value: float) -> str:
        """A score, in percent if it is a fraction."""
        return f"{100 * value:.2f} %" if is_fraction(self.score) else f"{value:.4g}"

    def show_difference(self, value: float) -> str:
        """A difference of scores."""
        return f"{100 * value:.2f} points" if is_fraction(self.score) else f"{value:.4g}"

    def verdicts(self) -> list[str]:
        """A sentence a comparison, and another where the two did not cost the same."""
        return [
            verdict(comparison, self.show_difference) + self._unequal(comparison.baseline)
            for comparison in self.comparisons
        ]

    def _unequal(self, name: str) -> str:
        if name == RANDOM:
            return ""
        ratio, method = self.cost_ratio(name), self.protocol.config.method_name
        if ratio is None:
            return f" Whether {name} cost as much as {method} is not known."
        if EQUAL[0] <= ratio <= EQUAL[1]:
            return ""
        return f" {name} cost {ratio:.2f} times as much as {method}: not at equal cost."

    def summary(self) -> dict[str, Any]:
        """Flat, for summary.json."""
        flat: dict[str, Any] = {}
        for name, found in self.intervals.items():
            key = f"{name}_{self.score}"
            flat |= {key: found.mean, f"{key}_low": found.low, f"{key}_high": found.high}
            flat[f"{name}_search_joules"] = self.search_joules(name)
        for c, text in zip(self.comparisons, self.verdicts(), strict=True):
            key, d = f"difference_{c.baseline}", c.difference
            flat |= {key: d.mean, f"{key}_low": d.low, f"{key}_high": d.high}
            flat |= {f"{key}_p": c.p, f"{key}_p_holm": c.corrected_p}
            flat |= {f"{key}_cliffs_delta": c.delta, f"{key}_shown": c.significant}
            flat[f"{key}_verdict"] = text
        return flat

    def write(self, overrides: Sequence[str]) -> None:
        """``rows.csv``, ``report.md`` and ``scores.svg`` in the comparison's directory."""
        directory = self.protocol.directory
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(directory / "rows.csv", text.getvalue())
        write_atomically(directory / "report.md", self.page(overrides))
        config = self.protocol.config
        figure = draw_scores(
            self.scores,
            self.intervals,
            label=self.score.replace("_", " "),
            title=f"{config.name}: searches {config.searches}, retrainings {config.retrainings}",
        )
        save_figure(figure, directory / "scores.svg")

    def page(self, overrides: Sequence[str]) -> str:
        """The comparison in Markdown."""
        config, score = self.protocol.config, self.score.replace("_", " ")
        parts = [
            f"# {config.name}: {config.method_name} beside {', '.join(config.baselines)}",
            " ".join(self.verdicts()),
            "![Scores of all networks](scores.svg)",
            table(
                (*("", f"{score}, mean", "95 % interval", "smallest", "largest"), "J a search"),
                [self._line_of(name) for name in self.protocol.names],
            ),
            table(
                ("difference", "mean", "95 % interval", "p", "p (Holm)", "Cliff's delta"),
                [self._line_about(comparison) for comparison in self.comparisons],
            ),
            f"Searches of each: {config.searches}; retrainings of what each found: "
            f"{config.retrainings}. The unit is the search: its retrainings are averaged, since "
            "they are not independent. Intervals are those of the studentized bootstrap over "
            "searches; p-values are of the test that flips signs of the differences between "
            f"searches of the same seed, corrected for {len(self.comparisons)} comparisons by "
            "Holm's procedure. A difference is called one only if its interval does not cover 0 "
            f"and p is at most {ALPHA}. Choices were made on validation data; the test split was "
            f"scored once by each of the {len(self.rows)} networks, at the end of its training.",
            " ".join(self._about(name) for name in self.protocol.names),
            f"{self._energy()} {self.shared_counter()}".rstrip(),
            "## Commands",
            "The comparison, one of its searches and one of its retrainings:",
            "```\n" + "\n".join(self._commands(overrides)) + "\n```",
            "All networks are in [rows.csv](rows.csv).",
        ]
        return "\n\n".join(parts) + "\n"

    def shared_counter(self) -> str:
        """See the function of that name."""
        keys = ("joules_source", "search_joules_source")
        return shared_counter_warning(self.protocol, (row[key] for row in self.rows for key in keys))

    def _energy(self) -> str:
        """What retrainings used, and by which source."""
        rows = self.rows
        time = f"{format_duration(sum(row['seconds'] for row in rows))} of run time, all added up"
        keys = ("joules_source", "search_joules_source")
        sources = [row[key] for row in rows for key in keys if row[key] is not None]
        source = common_source(sources)
        if source is None:
            known = ", ".join(sorted(set(map(str, sources))))
            return (
                f"Energy is of several sources ({known}), whose joules are not added up or "
                f"compared; retrainings took {time}."
            )
        joules = sum(row["joules"] for row in rows)
        return f"Energy is of the source {source}; retrainings used {joules:,.0f} J in {time}."

    def _line_of(self, name: str) -> tuple[str, ...]:
        found, scores = self.intervals[name], [s for group in self.scores[name] for s in group]
        return (
            *(f"`{name}`", self.show(found.mean), self._between(found, self.show)),
            *(self.show(min(scores)), self.show(max(scores))),
            "several sources" if (joules := self.search_joules(name)) is None else f"{joules:,.0f}",
        )

    def _line_about(self, c: Comparison) -> tuple[str, ...]:
        return (
            *(f"`{c.method}` - `{c.baseline}`", self.show_difference(c.difference.mean)),
            *(
                self._between(c.difference, self.show_difference),
                f"{c.p:.3g}",
                f"{c.corrected_p:.3g}",
            ),
            f"{c.delta:.2f} ({in_words(c.delta)})",
        )

    def _between(self, found: Interval, show: Callable[[float], str]) -> str:
        if found.low is None or found.high is None:
            return found.why_unbounded
        return f"{show(found.low)} to {show(found.high)}"

    def _about(self, name: str) -> str:
        """What a name stands for."""
        method = self.protocol.config.method_name
        if name == method:
            return f"`{name}` is the method that is judged."
        if name == RANDOM:
            return f"`{name}`: an architecture drawn at random, at no cost."
        ratio = self.cost_ratio(name)
        cost = "an unknown share" if ratio is None else f"{ratio:.2f}"
        if name == RANDOM_SEARCH:
            place = [self.protocol.place(name, i) for i in range(self.protocol.config.searches)]
            trained = np.mean([read_json(p / "chosen.json")["trained"] for p in place])
            return (
                f"`{name}`: the best by validation of {trained:.1f} architectures on average, "
                f"trained briefly at {cost} of the cost of a search of `{method}`."
            )
        return (
            f"`{name}`: searches of as many epochs as cost what those of `{method}` cost; they "
            f"came to {cost} of it."
        )

    def _commands(self, overrides: Sequence[str]) -> list[str]:
        protocol = self.protocol
        method = protocol.config.method_name
        genotype = next(row["genotype"] for row in self.rows if row["name"] == method)
        return [
            " ".join(["python -m darts.compare", *map(shlex.quote, overrides)]),
            shell_command("search", protocol.search_overrides(method, 0)),
            shell_command("retrain", protocol.retrain_overrides(genotype, 0, 0)),
        ]


def shared_counter_warning(protocol: ComparisonPlan, sources: Iterable[object]) -> str:
    """A sentence about runs that counted what others used; empty if there are none."""
    workers = protocol.config.workers
    began = protocol.directory / "comparison.json"  # a comparison may go on with fewer
    workers = max(workers, read_json(began)["workers"] if began.exists() else 0)
    gpus = len(visible_gpus())
    shared = sorted({str(s) for s in sources if is_shared_counter(str(s), workers, gpus)})
    if not shared:
        return ""
    return (
        f"With workers={workers}, runs share the counter {', '.join(shared)}, which "
        "counts for each what all of them use: costs are too high and compare roughly; "
        "workers=1 counts each alone."
    )


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def total_cost(protocol: ComparisonPlan) -> Mapping[str, Any]:
    """What all runs of a comparison have used together, pilots and short trainings too."""
    told = [read_json(file) for file in sorted(protocol.directory.glob("runs/**/summary.json"))]
    others = sorted(protocol.directory.glob(f"runs/**/{DIVERGED}"))
    told += [bill for file in others if (bill := read_divergence(file.parent)) is not None]
    return {"seconds": sum(summary["seconds"] for summary in told), **sum_costs(told)}
