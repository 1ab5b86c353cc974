"""Fixtures for the tests of ``darts.find``."""

from __future__ import annotations

import pytest

from darts.finding import preference


@pytest.fixture(autouse=True)
def _no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scores decide, because the fake runs have no checkpoints."""
    monkeypatch.setattr(preference, "validation_interval", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def _no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the pictures of genotypes, which take longer than the tests."""
    monkeypatch.setattr("darts.finding.answer.save_genotype", lambda *_, **__: None)
