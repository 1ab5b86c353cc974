"""A search is not resumed with another latency model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darts.config import compose
from darts.recipes.cost_callbacks import LatencyModels
from darts.typed_values import Misfit


def part(*words: str) -> LatencyModels:
    """Return the part of a search that a checkpoint saves."""
    config = compose("search", ["dataset=synthetic", "space=nas201", *words])
    search: Any = SimpleNamespace(config=config, state=SimpleNamespace(parts={}))
    made = LatencyModels(search)
    assert search.state.parts == {"latency_models": made}
    return made


def models(folder: Path) -> list[str]:
    """Write a fitted model and a lookup table; return the words that select them."""
    (folder / "phone.json").write_text("{}")
    (folder / "phone.csv").write_text("row")
    (folder / "phone.yaml").write_text("classes: 10")
    limit = ["limit.latency_ms=3", f"limit.device={folder / 'phone.json'}"]
    return [*limit, "front.cost=latency_ms", f"front.device={folder / 'phone.csv'}"]


@pytest.mark.parametrize(
    ("changed", "key"), [("phone.json", "limit"), ("phone.csv", "front"), ("phone.yaml", "front")]
)
def test_a_changed_model_is_refused_on_resume(tmp_path: Path, changed: str, key: str) -> None:
    words = models(tmp_path)
    saved = part(*words).state_dict()
    part(*words).load_state_dict(saved)
    (tmp_path / changed).write_text("other")
    with pytest.raises(Misfit, match=rf"the file of {key}\.device=\S+ has changed since"):
        part(*words).load_state_dict(saved)
