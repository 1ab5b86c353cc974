"""Report of a comparison: a Markdown page, a CSV file of all networks and a figure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import numpy as np

from darts.comparing.plan import RANDOM, RANDOM_SEARCH
from darts.comparing.results import ComparisonResults
from darts.escaping import for_markdown, for_terminal
from darts.judging.statistics import ALPHA, Comparison, Interval, delta_magnitude
from darts.plotting.scores import draw_scores
from darts.plotting.style import save_figure
from darts.reading import read_json
from darts.tracking import format_duration
from darts.tracking.ledger import common_source
from darts.tracking.metrics import write_table
from darts.tracking.optional import optional
from darts.writing import write_atomically


def write_report(results: ComparisonResults, overrides: Sequence[str]) -> None:
    """Write ``rows.csv``, ``report.md`` and ``scores.svg`` to the directory of the comparison.

    ``overrides`` are part of the command that the page shows.
    """
    directory, config = results.plan.directory, results.plan.config
    rows = [network.as_row(config.metric) for network in results.networks]
    write_table(directory / "rows.csv", rows)
    write_atomically(directory / "report.md", render_report(results, overrides))
    with optional(path := directory / "scores.svg"):
        label = results.score.replace("_", " ")
        title = f"{config.name}: {config.searches} searches, {config.retrainings} retrainings each"
        save_figure(draw_scores(results.scores, results.intervals, label=label, title=title), path)


def render_report(results: ComparisonResults, overrides: Sequence[str]) -> str:
    """Return the text of ``report.md``."""
    plan, config = results.plan, results.plan.config
    score = results.score.replace("_", " ")
    sources = [n.joules_source for n in results.networks]
    sources += [str(n.search_cost.joules_source) for n in results.networks]
    genotype = next(n.genotype for n in results.networks if n.name == plan.method)
    commands = {
        "compare": overrides,
        "search": plan.search_overrides(plan.method, 0),
        "retrain": plan.retrain_overrides(genotype, 0, 0),
    }
    lines = [f"python -m darts.{name} {shlex.join(own)}" for name, own in commands.items()]
    parts = [
        f"# {for_markdown(config.name)}: {plan.method} compared with {', '.join(config.baselines)}",
        " ".join(results.verdicts()),
        "![Scores of all networks](scores.svg)",
        _table(
            (
                "method",
                f"mean {score}",
                "95 % interval",
                "smallest",
                "largest",
                "joules per search",
            ),
            [_score_row(results, name) for name in plan.names],
        ),
        _table(
            ("difference", "mean", "95 % interval", "p", "p (Holm)", "Cliff's delta"),
            [_difference_row(results, comparison) for comparison in results.comparisons],
        ),
        _describe_statistics(results),
        " ".join(_describe_method(results, name) for name in plan.names),
        f"{_describe_energy(results)} {plan.shared_counter_warning(sources)}".rstrip(),
        "## Commands",
        "The comparison, one of its searches and one of its retrainings:",
        "```\n" + "\n".join(map(for_terminal, lines)) + "\n```",
        "[rows.csv](rows.csv) contains all networks.",
    ]
    return "\n\n".join(parts) + "\n"


def _describe_statistics(results: ComparisonResults) -> str:
    config = results.plan.config
    return (
        f"Each method has {config.searches} searches, and each search has {config.retrainings} "
        "retrainings. The unit of the statistics is the search: the scores of its retrainings are "
        "averaged, since they are not independent. Intervals are studentized bootstrap intervals "
        "over searches. p-values are from a sign-flip test of the differences between searches "
        f"with the same seed, and Holm's procedure corrects them for {len(results.comparisons)} "
        "comparisons. This report claims a difference only if its interval does not cover 0 and "
        f"its corrected p is at most {ALPHA}. All choices use validation data. Each of the "
        f"{len(results.networks)} networks was scored on the test split once, at the end of its "
        "run."
    )


def _describe_energy(results: ComparisonResults) -> str:
    """Return sentences on energy and time of the retrainings, and on the sources of all joules."""
    networks = results.networks
    time = format_duration(sum(n.seconds for n in networks))
    measured = [n.joules_source for n in networks]
    measured += [s for n in networks if (s := n.search_cost.joules_source) is not None]
    source = common_source(measured)
    if source is None:
        names = for_markdown(", ".join(sorted(set(map(str, measured)))))
        return (
            f"The joules have several sources ({names}) and are neither compared nor added up. "
            f"All retrainings together took {time}."
        )
    joules = sum(n.joules for n in networks)
    return (
        f"Source of the joules: {for_markdown(source)}. All retrainings together used "
        f"{joules:,.0f} J and took {time}."
    )


def _score_row(results: ComparisonResults, name: str) -> tuple[str, ...]:
    interval = results.intervals[name]
    scores = [score for group in results.scores[name] for score in group]
    joules = results.search_joules(name)
    return (
        f"`{name}`",
        results.format_score(interval.mean),
        _format_interval(interval, results.format_score),
        results.format_score(min(scores)),
        results.format_score(max(scores)),
        "several sources" if joules is None else f"{joules:,.0f}",
    )


def _difference_row(results: ComparisonResults, comparison: Comparison) -> tuple[str, ...]:
    difference = comparison.difference
    return (
        f"`{comparison.method}` - `{comparison.baseline}`",
        results.format_difference(difference.mean),
        _format_interval(difference, results.format_difference),
        f"{comparison.p:.3g}",
        f"{comparison.corrected_p:.3g}",
        f"{comparison.delta:.2f} ({delta_magnitude(comparison.delta)})",
    )


def _format_interval(interval: Interval, format_bound: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return interval.why_unbounded
    return f"{format_bound(interval.low)} to {format_bound(interval.high)}"


def _describe_method(results: ComparisonResults, name: str) -> str:
    """Return sentences that explain the method or a baseline, and the cost of its searches."""
    plan = results.plan
    if name == plan.method:
        return f"`{name}` is the compared method."
    if name == RANDOM:
        return f"`{name}` draws a random architecture, at no cost."
    ratio = results.cost_ratio(name)
    cost = (
        f"Whether its searches cost as much as searches of `{plan.method}` is unknown."
        if ratio is None
        else f"Its searches cost {ratio:.2f} times as much as searches of `{plan.method}`."
    )
    if name == RANDOM_SEARCH:
        folders = [plan.search_folder(name, index) for index in range(plan.config.searches)]
        trained = np.mean([read_json(folder / "chosen.json")["trained"] for folder in folders])
        return (
            f"`{name}` trains random architectures briefly, {trained:.1f} per search on average, "
            f"and chooses the best by validation score. {cost}"
        )
    return (
        f"Each search of `{name}` has the number of epochs that, as predicted, costs the same as a "
        f"search of `{plan.method}`. {cost}"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
