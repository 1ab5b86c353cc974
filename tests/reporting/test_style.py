"""Colors of the page, in light and dark."""

from __future__ import annotations

import re

import pytest

from darts.reporting.style import STYLE


def palettes() -> dict[str, dict[str, str]]:
    """The colors by name, of the light page and of the dark one."""
    light, dark = re.findall(r":root\{([^}]*)\}", STYLE)
    named = [dict(re.findall(r"--([\w]+):(#[0-9a-f]+)", part)) for part in (light, dark)]
    return {"light": named[0], "dark": {**named[0], **named[1]}}


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.1."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_texts_are_readable(mode: str) -> None:
    """A contrast of 4.5 for texts and of 3 for curves, as WCAG 2.1 asks for."""
    colors = palettes()[mode]
    for text in ("ink", "quiet", "mark", "warn"):
        for below in ("paper", "ground"):
            assert contrast(colors[text], colors[below]) >= 4.5, (text, below)
    for curve in [f"c{number}" for number in range(8)] + ["none"]:
        assert contrast(colors[curve], colors["paper"]) >= 3, curve
