"""Fixtures for the tests of ``darts.find``."""

from __future__ import annotations

import pytest

from darts.finding import results


@pytest.fixture(autouse=True)
def _no_intervals_and_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scores decide, because fake runs have no checkpoints; pictures take long."""
    monkeypatch.setattr(results, "validation_interval", lambda *_, **__: None)
    monkeypatch.setattr("darts.finding.answer.save_genotype", lambda *_, **__: None)
