"""Fixtures for the tests of ``darts.find``."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the pictures of genotypes, which take longer than the tests."""
    monkeypatch.setattr("darts.finding.answer.save_genotype", lambda *_, **__: None)
