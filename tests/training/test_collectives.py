"""Messages between two ranks in a step of the search, and batch norm without messages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from several_ranks import on_ranks

import darts
from darts.training.checkpoint import load_checkpoint
from darts.training.loop import TrainingLoop

OVERRIDES = [
    "dataset=synthetic",
    "dataset.samples=64",
    "loader.batch_size=8",
    "epochs=1",
    "space.channels=2",
    "collapse.every=0",
    "tracking.figures=false",
    "tracking.tensorboard=false",
    "device=cpu",
]


def messages_of_a_step(folder: str, sync: bool) -> dict[str, Any]:
    """Run a search; return the messages of its third step.

    With synchronized norms, their number depends on the depth, which is that of the paper then.
    """
    cells = f"space.cells={8 if sync else 2}"
    counts: Counter[str] = Counter()
    steps: list[int] = []
    all_reduce, record_step = dist.all_reduce, TrainingLoop._record_step

    def counted(*args: Any, **options: Any) -> Any:
        counts["all_reduce"] += 1
        return all_reduce(*args, **options)

    def record(self: Any, report: Any) -> None:
        record_step(self, report)
        steps.append(sum(counts.values()))

    dist.all_reduce, TrainingLoop._record_step = counted, record  # type: ignore[method-assign]
    darts.search(overrides=[*OVERRIDES, cells, f"sync_batchnorm={str(sync).lower()}"], out=folder)
    content = load_checkpoint(Path(folder) / "checkpoint.safetensors")
    weights = content["searcher"]["net"]
    return {"messages": steps[2] - steps[1], "weights": weights}


@pytest.mark.slow
@pytest.mark.parametrize(("sync", "messages"), [(True, 294), (False, 6)])
def test_a_step_exchanges_few_messages(tmp_path: Path, sync: bool, messages: int) -> None:
    (tmp_path / "ranks").mkdir()
    results = on_ranks(
        messages_of_a_step, tmp_path / "ranks", str(tmp_path / "run"), sync, connected=False
    )
    for rank in results:
        assert rank["messages"] == messages
        assert all(value.isfinite().all() for value in rank["weights"].values())
