"""Pictures of what mattered in a black-box search: importances, marginals, the factorial design."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from darts.judging.factorial import LEVELS, Factorial
from darts.plotting.style import (
    MUTED,
    PRIMARY,
    unzip,
    line_style,
    log_ticks,
    new_figure,
    outlier_bounds,
    shorten,
    style_axes,
)
from darts.spaces.parameters import Choice, Domain, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from darts.judging.surrogate import Marginal, Surrogate

PANELS = 9
"""Marginals that are shown when nobody says which."""

_BARS = 30


def draw_importance_bars(
    importances: Mapping[str, float], *, most: int = _BARS, title: str = ""
) -> Figure:
    """Draw shares of the variance as bars with their numbers, largest first.

    Args:
        importances: shares by parameter, as of ``Surrogate.importances``.
        most: bars; what is left is one more, their sum.
        title: heading.

    Raises:
        ValueError: when there are none.
    """
    if not importances:
        raise ValueError("there are no importances to draw")
    pairs = sorted(importances.items(), key=lambda pair: -pair[1])
    shown = [(shorten(name), share) for name, share in pairs[:most]]
    colors = [PRIMARY] * len(shown)
    if len(pairs) > most:
        left = pairs[most:]
        shown.append((f"{len(left)} others together", sum(share for _, share in left)))
        colors.append(MUTED)
    figure = new_figure(6.2, 1.1 + 0.24 * len(shown))
    axes = figure.add_subplot()
    places = range(len(shown))
    axes.barh(places, [share for _, share in shown], height=0.72, color=colors)
    for place, (_, share) in zip(places, shown, strict=True):
        axes.annotate(
            f"{share:.1%}".replace("%", " %"),
            (share, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(places, [name for name, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    # Room for the number behind the longest bar, and no magnification of nothing.
    axes.set_xlim(0, max(0.05, 1.14 * max(share for _, share in shown)))
    axes.set_xlabel("share of the surrogate's variance explained alone", fontsize=9)
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    figure.suptitle(title, fontsize=12)
    return figure


def draw_marginals(
    surrogate: Surrogate,
    names: Sequence[str] | None = None,
    *,
    levels: int = 21,
    ylabel: str = "performance",
    title: str = "",
) -> Figure:
    """Draw what parameters do on average, a panel each, with the trials as dots.

    The line is the mean prediction, the band one deviation of the surrogate to both sides. All
    panels have the same vertical axis. Trials far from all others are left out, and counted below.

    Args:
        surrogate: fitted to the trials.
        names: of the parameters; by default the most important ones.
        levels: points of a curve over a range.
        ylabel: what is predicted.
        title: heading.

    Raises:
        ValueError: without names, or for a name that is no parameter's.
    """
    if names is None:
        names = list(surrogate.importances())[:PANELS]
    if not names:
        raise ValueError("there are no parameters to draw")
    found = [surrogate.marginal(name, levels) for name in names]
    columns = min(len(names), 3 if len(names) <= 9 else 5)
    lines = math.ceil(len(names) / columns)
    figure = new_figure(0.5 + 2.6 * columns, 0.8 + 2.2 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    low, high = _bounds(surrogate.values.tolist(), found)
    outside = sum(not low <= value <= high for value in surrogate.values)
    for axes, marginal in zip(panels.flat, found, strict=False):
        _panel(axes, surrogate, marginal)
        axes.set_ylim(low, high)
    for row in panels:
        row[0].set_ylabel(shorten(ylabel, 24), fontsize=9)
    if outside:
        note = f"{outside} of {len(surrogate.values)} trials lie outside the panels"
        figure.supxlabel(note, fontsize=8, color="#555555")
    figure.suptitle(title, fontsize=12)
    return figure


def draw_factorial(factorial: Factorial, *, ylabel: str = "score", title: str = "") -> Figure:
    """Draw the means of the factorial design with their 95 % intervals, and the gains in words.

    Lines that are not parallel are an interaction.

    Args:
        factorial: with one factor or both.
        ylabel: what the scores are.
        title: heading.
    """
    figure = new_figure(5.4, 3.8)
    axes = figure.add_subplot()
    one_factor = not any(name.startswith("best_") for name in factorial.scores)
    for index, level in enumerate(LEVELS):
        # Aside from each other, so that equal means do not hide an interval.
        shift = 0.06 * index - 0.03
        known = [
            (place + shift, factorial.scores[f"{own}_{level}"])
            for place, own in enumerate(LEVELS)
            if f"{own}_{level}" in factorial.scores
        ]
        if not known:
            continue
        style = line_style(index, f"{level} hyperparameters")
        axes.errorbar(
            [place for place, _ in known],
            [corner.mean for _, corner in known],
            yerr=[0.0 if corner.high is None else corner.high - corner.mean for _, corner in known],
            marker="o",
            markersize=6,
            capsize=4,
            **style,
        )
    names = LEVELS[:1] if one_factor else LEVELS
    axes.set_xticks(range(len(names)), [f"{name} architecture" for name in names])
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.margins(y=0.12)
    axes.set_ylabel(shorten(ylabel))
    style_axes(axes)
    axes.grid(False, axis="x")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)
    words = [f"{name}: {_signed(gain)}" for name, gain in factorial.gains.items()]
    lines = ["gain of " + "   ".join(words[start : start + 2]) for start in range(0, len(words), 2)]
    figure.supxlabel("\n".join(lines).replace("\ngain of ", "\n"), fontsize=8.5)
    return figure


def _signed(gain: Any) -> str:
    if gain.high is None:
        return f"{gain.mean:+.3g} (1 seed)"
    return f"{gain.mean:+.3g} ± {gain.high - gain.mean:.2g}"


def _bounds(values: Sequence[float], found: Sequence[Marginal]) -> tuple[float, float]:
    """The vertical axis: all means, and all values but those far from the others."""
    low, high = outlier_bounds(values)
    inside = [value for value in values if low <= value <= high]
    inside += [mean for marginal in found for mean in marginal.mean]
    room = 0.06 * (max(inside) - min(inside)) or 0.5
    return min(inside) - room, max(inside) + room


def _panel(axes: Axes, surrogate: Surrogate, marginal: Marginal) -> None:
    """One parameter: its trials, its mean and the band."""
    name, domain = marginal.name, surrogate.space.by_name[marginal.name].domain
    mean, deviation = marginal.mean, marginal.deviation
    low = [m - d for m, d in zip(mean, deviation, strict=True)]
    high = [m + d for m, d in zip(mean, deviation, strict=True)]
    tried = [
        (_across(domain, point[name]) + _beside(domain, number), value)
        for number, (point, value) in enumerate(
            zip(surrogate.points, surrogate.values.tolist(), strict=True)
        )
        if name in point
    ]
    style: dict[str, Any] = {"color": MUTED, "alpha": 0.6, "linewidth": 0, "zorder": 1}
    axes.scatter(*unzip(tried), s=9, **style)
    if isinstance(domain, Choice) or len(mean) == 1:
        places = [_across(domain, value) for value in marginal.values]
        axes.errorbar(
            places, mean, yerr=deviation, fmt="o", color=PRIMARY, capsize=3, markersize=5, zorder=3
        )
    else:
        grid: Any = marginal.values
        axes.fill_between(grid, low, high, color=PRIMARY, alpha=0.2, linewidth=0, zorder=2)
        axes.plot(grid, mean, color=PRIMARY, linewidth=1.6, zorder=3)
    style_axes(axes)
    if isinstance(domain, Choice):
        texts = [shorten(str(value), 14) for value in marginal.values]
        crowded = sum(len(text) + 2 for text in texts) > 30
        turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(texts)), texts, **(turned if crowded else {}))
        axes.set_xlim(-0.6, len(texts) - 0.4)
    elif domain.log:
        log_ticks(axes)
    axes.set_title(shorten(name), fontsize=9, pad=4)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_offset_text().set_fontsize(7)


def _across(domain: Domain, value: Value) -> float:
    """Where a value stands on its axis."""
    if isinstance(domain, Choice):
        return [own == value and type(own) is type(value) for own in domain.values].index(True)
    assert isinstance(value, (int, float))
    return value


def _beside(domain: Domain, number: int) -> float:
    """How far from its choice the dot of a trial stands, so that equal ones part."""
    return 0.5 * ((number * 0.618034) % 1 - 0.5) if isinstance(domain, Choice) else 0.0
