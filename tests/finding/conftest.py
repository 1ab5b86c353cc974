"""Fixtures for the tests of ``darts.find``."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from darts.finding import results


@pytest.fixture(autouse=True)
def interval(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return what stands for the interval of a gain; without a value, scores decide.

    Fake runs have no checkpoints. Pictures take long, so none is drawn.
    """
    fake = Mock(return_value=None)
    monkeypatch.setattr(results, "validation_interval", fake)
    monkeypatch.setattr("darts.finding.answer.save_genotype", lambda *_, **__: None)
    return fake
