"""Colors of the page in light and dark mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import darts.reporting

STYLE = Path(darts.reporting.__file__).with_name("templates") / "style.css"


def palettes() -> dict[str, dict[str, str]]:
    """Return the colors by name, in light and dark mode."""
    light, dark = re.findall(r":root \{([^}]*)\}", STYLE.read_text(encoding="utf-8"))
    named = [dict(re.findall(r"--([\w]+): (#[0-9a-f]+)", block)) for block in (light, dark)]
    return {"light": named[0], "dark": {**named[0], **named[1]}}


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.1."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Return the contrast ratio of WCAG 2.1, from 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colors_have_the_contrast_that_wcag_requires(mode: str) -> None:
    """WCAG 2.1 (1.4.3) requires 4.5 for text."""
    colors = palettes()[mode]
    for text in ("ink", "quiet", "mark", "warn"):
        for background in ("paper", "ground"):
            assert contrast(colors[text], colors[background]) >= 4.5, (text, background)
