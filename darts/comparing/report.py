"""Report of a comparison: a Markdown page, a CSV file of all networks and a figure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from darts.comparing.plan import RANDOM
from darts.comparing.results import ComparisonResults
from darts.escaping import for_markdown, for_terminal
from darts.judging.statistics import ALPHA, Comparison, Interval
from darts.plotting.figures import draw_scores
from darts.plotting.style import save_figure
from darts.reporting.page import template_environment
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
    plan, config, networks = results.plan, results.plan.config, results.networks
    genotype = next(n.genotype for n in networks if n.name == plan.method)
    commands = {
        "compare": overrides,
        "search": plan.search_overrides(plan.method, 0),
        "retrain": plan.retrain_overrides(genotype, 0, 0),
    }
    sources = [n.joules_source for n in networks]
    sources += [s for n in networks if (s := n.search_joules_source) is not None]
    source = common_source(sources)
    text = (
        template_environment(for_terminal)
        .get_template("comparison.md")
        .render(
            results=results,
            plan=plan,
            config=config,
            name=for_markdown(config.name),
            score=results.score.replace("_", " "),
            scores=[_score_row(results, name) for name in plan.names],
            differences=[_difference_row(results, own) for own in results.comparisons],
            alpha=ALPHA,
            baselines=[
                (name, results.cost_ratio(name), results.short_runs(name))
                for name in config.baselines
            ],
            RANDOM=RANDOM,
            sources=for_markdown(source or ", ".join(sorted(set(sources)))),
            joules=None if source is None else f"{sum(n.joules for n in networks):,.0f}",
            time=format_duration(sum(n.seconds for n in networks)),
            warning=plan.shared_counter_warning(),
            commands=[f"darts {name} {shlex.join(own)}" for name, own in commands.items()],
        )
    )
    # What is left out leaves empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


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
        f"{comparison.delta:.2f}" + (f" ({comparison.magnitude})" if comparison.magnitude else ""),
    )


def _format_interval(interval: Interval, format_bound: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return interval.why_unbounded
    return f"{format_bound(interval.low)} to {format_bound(interval.high)}"
