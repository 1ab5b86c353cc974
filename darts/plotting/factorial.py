"""The figure of a factorial design: the gains of architecture and hyperparameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darts.judging.factorial import LEVELS, Estimate, FactorialEffects
from darts.plotting.style import add_legend, label_text, line_style, new_figure, style_axes, unzip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_factorial(effects: FactorialEffects, *, ylabel: str = "score") -> Figure:
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
    gains = [f"{name}: {_format_gain(gain)}" for name, gain in effects.gains.items()]
    lines = ["   ".join(gains[start : start + 2]) for start in range(0, len(gains), 2)]
    figure.supxlabel("gain of " + "\n".join(lines), fontsize=8.5)
    return figure


def _format_gain(gain: Estimate) -> str:
    """Return a mean gain with half the width of its confidence interval."""
    if gain.high is None:
        return f"{gain.mean:+.3g} (1 seed)"
    return f"{gain.mean:+.3g} ± {gain.high - gain.mean:.2g}"
