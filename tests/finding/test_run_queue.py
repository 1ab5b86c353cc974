"""The queue of a run pool."""

from __future__ import annotations

from pathlib import Path

from pool_runs import make_job

from darts.finding.run_queue import MAX_ATTEMPTS, RunQueue
from darts.finding.run_worker import Job, Outcome


def ignore(job: Job, outcome: Outcome) -> None:
    """Do nothing."""


def test_a_lost_job_continues_once(tmp_path: Path) -> None:
    jobs = [make_job(kind, tmp_path) for kind in ("retrain", "search")]
    done: list[str] = []
    queue = RunQueue(jobs, lambda job, outcome: done.append(job.name))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert queue.waiting.popleft() == jobs[0]
        queue.lose(jobs[0], f"died {attempt}")
    assert MAX_ATTEMPTS == 2
    assert queue.outcomes == {"retrain": Outcome(None, "died 2")}
    assert done == ["retrain"]
    assert list(queue.waiting) == [jobs[1]]


def test_a_lost_job_of_a_stopped_queue_has_no_outcome(tmp_path: Path) -> None:
    job = make_job("retrain", tmp_path)
    queue = RunQueue([job], ignore)
    queue.stop()
    for _ in range(3):
        queue.lose(job, "died")
    assert not queue.outcomes
    assert not queue.waiting
