"""Figures that show which parameters of a study matter.

The importance of a parameter is the share of the surrogate's variance that it explains alone. Its
marginal is its average effect on the score. A factorial design measures the gains of architecture
and hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from darts.judging.factorial import LEVELS, Estimate, FactorialEffects
from darts.plotting.style import (
    MUTED,
    PRIMARY,
    ArtistStyle,
    add_legend,
    add_note,
    add_title,
    label_text,
    line_style,
    log_ticks,
    new_figure,
    outlier_bounds,
    style_axes,
    unzip,
)
from darts.spaces.parameters import Choice, Domain, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from darts.judging.surrogate import Marginal, Surrogate

MAX_PANELS = 9
"""Default maximum number of marginals in a figure."""

_MAX_BARS = 30


def draw_importance_bars(
    importances: Mapping[str, float], *, max_bars: int = _MAX_BARS, title: str = ""
) -> Figure:
    """Draw one bar with its number per parameter, the largest importance first.

    Args:
        importances: Share of the variance from 0 to 1 by parameter, see ``Surrogate.importances``.
        max_bars: Maximum number of parameters. One further bar is the sum of all others.
        title: Title of the figure.

    Raises:
        ValueError: If there are no importances.
    """
    if not importances:
        raise ValueError("there are no importances to draw")
    pairs = sorted(importances.items(), key=lambda pair: -pair[1])
    bars = [(label_text(name), share) for name, share in pairs[:max_bars]]
    colors = [PRIMARY] * len(bars)
    if len(pairs) > max_bars:
        others = [share for _, share in pairs[max_bars:]]
        bars.append((f"{len(others)} others together", sum(others)))
        colors.append(MUTED)
    figure = new_figure(6.2, 1.1 + 0.24 * len(bars))
    axes = figure.add_subplot()
    positions = range(len(bars))
    axes.barh(positions, [share for _, share in bars], height=0.72, color=colors)
    for position, (_, share) in zip(positions, bars, strict=True):
        offset: ArtistStyle = {"xytext": (4, 0), "textcoords": "offset points"}
        text = f"{share:.1%}".replace("%", " %")
        axes.annotate(text, (share, position), va="center", fontsize=8, **offset)
    axes.set_yticks(positions, [name for name, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    # Room for the number next to the longest bar; at least 5 %, so that tiny shares look tiny.
    axes.set_xlim(0, max(0.05, 1.14 * max(share for _, share in bars)))
    axes.set_xlabel("surrogate variance explained by a parameter alone", fontsize=9)
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    add_title(figure, title)
    return figure


def draw_marginals(
    surrogate: Surrogate,
    names: Sequence[str] | None = None,
    *,
    levels: int = 21,
    ylabel: str = "performance",
    title: str = "",
) -> Figure:
    """Draw the marginals of parameters, one panel per parameter, with the trials as dots.

    The line is the mean prediction, and the band extends one standard deviation of the surrogate to
    both sides. All panels share the vertical axis. Trials with outlying scores are not drawn; a
    note counts them.

    Args:
        surrogate: Surrogate with its trials.
        names: Names of the parameters. Default: the ``MAX_PANELS`` most important ones.
        levels: Number of points of a curve.
        ylabel: Name of the score.
        title: Title of the figure.

    Raises:
        ValueError: If there are no parameters.
    """
    if names is None:
        names = list(surrogate.importances())[:MAX_PANELS]
    if not names:
        raise ValueError("there are no parameters to draw")
    curves = [surrogate.marginal(name, levels) for name in names]
    columns = min(len(names), 3 if len(names) <= 9 else 5)
    rows = math.ceil(len(names) / columns)
    figure = new_figure(0.5 + 2.6 * columns, 0.8 + 2.2 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    low, high = _vertical_limits(surrogate.values.tolist(), curves)
    outliers = sum(not low <= value <= high for value in surrogate.values)
    for axes, marginal in zip(panels.flat, curves, strict=False):
        _draw_panel(axes, surrogate, marginal)
        axes.set_ylim(low, high)
    for row in panels:
        row[0].set_ylabel(label_text(ylabel, 24), fontsize=9)
    if outliers:
        add_note(figure, f"not drawn: {outliers} of {len(surrogate.values)} trials (outliers)")
    add_title(figure, title)
    return figure


def draw_factorial(effects: FactorialEffects, *, ylabel: str = "score", title: str = "") -> Figure:
    """Draw the mean score of each corner of a factorial design with its 95 % confidence interval.

    The corners are the combinations of the default or best architecture, on the horizontal axis,
    and the default or best hyperparameters, one line each. Lines that are not parallel show an
    interaction. The gains are listed below the axes.
    """
    figure = new_figure(5.4, 3.8)
    axes = figure.add_subplot()
    one_architecture = not any(name.startswith("best_") for name in effects.scores)
    for index, level in enumerate(LEVELS):
        # Shift the lines, so that equal means do not hide an interval.
        shift = 0.06 * index - 0.03
        corners = [
            (position + shift, effects.scores[f"{architecture}_{level}"])
            for position, architecture in enumerate(LEVELS)
            if f"{architecture}_{level}" in effects.scores
        ]
        if not corners:
            continue
        points = unzip([(x, corner.mean) for x, corner in corners])
        errors = [0.0 if c.high is None else c.high - c.mean for _, c in corners]
        style = {**line_style(index, f"{level} hyperparameters"), "marker": "o", "markersize": 6}
        axes.errorbar(*points, yerr=errors, capsize=4, **style)
    names = LEVELS[:1] if one_architecture else LEVELS
    axes.set_xticks(range(len(names)), [f"{name} architecture" for name in names])
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.margins(y=0.12)
    axes.set_ylabel(label_text(ylabel))
    style_axes(axes)
    axes.grid(False, axis="x")
    add_legend(figure)
    add_title(figure, title)
    gains = [f"{name}: {_format_gain(gain)}" for name, gain in effects.gains.items()]
    lines = ["   ".join(gains[start : start + 2]) for start in range(0, len(gains), 2)]
    figure.supxlabel("gain of " + "\n".join(lines), fontsize=8.5)
    return figure


def _format_gain(gain: Estimate) -> str:
    """Return a mean gain with half the width of its confidence interval."""
    if gain.high is None:
        return f"{gain.mean:+.3g} (1 seed)"
    return f"{gain.mean:+.3g} ± {gain.high - gain.mean:.2g}"


def _vertical_limits(values: Sequence[float], curves: Sequence[Marginal]) -> tuple[float, float]:
    """Return limits of the axis that contain all means, and all values except outliers."""
    low, high = outlier_bounds(values)
    inside = [value for value in values if low <= value <= high]
    inside += [mean for marginal in curves for mean in marginal.mean]
    margin = 0.06 * (max(inside) - min(inside)) or 0.5
    return min(inside) - margin, max(inside) + margin


def _draw_panel(axes: Axes, surrogate: Surrogate, marginal: Marginal) -> None:
    """Draw the marginal of one parameter: the trials, the mean and the band."""
    name, domain = marginal.name, surrogate.space.by_name[marginal.name].domain
    mean, deviation = marginal.mean, marginal.deviation
    trials = [
        (_position(domain, point[name]) + _jitter(domain, number), value)
        for number, (point, value) in enumerate(
            zip(surrogate.points, surrogate.values.tolist(), strict=True)
        )
        if name in point
    ]
    axes.scatter(*unzip(trials), s=9, color=MUTED, alpha=0.6, linewidth=0, zorder=1)
    xs = [_position(domain, value) for value in marginal.values]
    if isinstance(domain, Choice) or len(mean) == 1:
        bars: ArtistStyle = {"fmt": "o", "color": PRIMARY, "capsize": 3, "markersize": 5}
        axes.errorbar(xs, mean, yerr=deviation, zorder=3, **bars)
    else:
        low = [m - d for m, d in zip(mean, deviation, strict=True)]
        high = [m + d for m, d in zip(mean, deviation, strict=True)]
        axes.fill_between(xs, low, high, color=PRIMARY, alpha=0.2, linewidth=0, zorder=2)
        axes.plot(xs, mean, color=PRIMARY, linewidth=1.6, zorder=3)
    style_axes(axes)
    if isinstance(domain, Choice):
        texts = [label_text(str(value), 14) for value in marginal.values]
        crowded = sum(len(text) + 2 for text in texts) > 30
        rotated: ArtistStyle = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(texts)), texts, **(rotated if crowded else {}))
        axes.set_xlim(-0.6, len(texts) - 0.4)
    elif domain.log:
        log_ticks(axes)
    axes.set_title(label_text(name), fontsize=9, pad=4)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_offset_text().set_fontsize(7)


def _position(domain: Domain, value: Value) -> float:
    """Return the position of a value on the horizontal axis; of a choice, its index."""
    if isinstance(domain, Choice):
        # Equal types, because a choice may have the values 1, 1.0 and True.
        return [c == value and type(c) is type(value) for c in domain.values].index(True)
    assert isinstance(value, (int, float))
    return value


def _jitter(domain: Domain, number: int) -> float:
    """Return a horizontal shift of a trial's dot, which separates trials with equal choices.

    Multiples of the golden ratio modulo 1 fill an interval evenly.
    """
    return 0.5 * ((number * 0.618034) % 1 - 0.5) if isinstance(domain, Choice) else 0.0
