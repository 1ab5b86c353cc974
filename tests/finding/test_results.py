"""Costs of runs that failed are those of their complete epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.finding.results import costs_of_a_failed_run
from darts.tracking.ledger import sum_costs
from darts.tracking.metrics import MetricsLog


def test_a_failed_run_costs_what_its_complete_epochs_cost(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for epoch in (1, 2):
        log.write(epoch=epoch, joules=10.0 * epoch, joules_source="nvml", gco2e=1.0 * epoch)
    log.close()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 3, "jou')  # the row of an epoch that was killed
    complete = {"joules": 5.0, "joules_source": "nvml", "gco2e": 0.5}
    total = sum_costs([complete, *costs_of_a_failed_run(tmp_path)])
    assert total == {"joules": 25.0, "joules_source": "nvml", "gco2e": 2.5}


@pytest.mark.parametrize("content", [None, "", "nonsense\n{}\n"])
def test_without_complete_epochs_nothing_is_added(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content, encoding="utf-8")
    assert costs_of_a_failed_run(tmp_path) == []
