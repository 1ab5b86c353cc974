"""Jobs that wait for others, spread over threads, each of which waits for a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from darts.comparing.runs import RunFailed, RunStopped


@dataclass(frozen=True)
class PlannedRun:
    """One thing to do.

    Attributes:
        name: unique in its comparison.
        work: does it, and says in a few words what came of it.
        done: whether it has been done, in an earlier session say.
        needs: names of the jobs that must be done before.
    """

    name: str
    work: Callable[[], str]
    done: Callable[[], bool]
    needs: tuple[str, ...] = ()


def execute(
    jobs: Sequence[PlannedRun],
    workers: int,
    *,
    told: Callable[[PlannedRun, str], None],
    stopping: Callable[[], bool],
    stop: Callable[[], None],
) -> dict[str, str]:
    """Do the jobs that are not done, so many at a time, in their order where they need no other.

    A job that fails keeps none but those that need it from being done.

    Args:
        jobs: of the comparison.
        workers: at work at the same time.
        told: hears of each job that was done, in this thread.
        stopping: is asked now and then whether to leave.
        stop: makes the jobs that are under way leave.

    Returns:
        By name, why jobs failed. Those that were stopped or could not begin are not in it.

    Raises:
        Exception: whatever a job raises that is not ``RunFailed`` or ``Stopped``.
    """
    done = {job.name for job in jobs if job.done()}
    left = [job for job in jobs if job.name not in done]
    failed: dict[str, str] = {}
    running: dict[Future[str], PlannedRun] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                if stopping():
                    left.clear()
                    stop()
                for job in [job for job in left if done.issuperset(job.needs)]:
                    if len(running) < workers:
                        left.remove(job)
                        running[pool.submit(job.work)] = job
                if not running:
                    return failed
                ended, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    job = running.pop(future)
                    try:
                        text = future.result()
                    except RunFailed as error:
                        failed[job.name] = str(error)
                    except RunStopped:
                        pass
                    else:
                        done.add(job.name)
                        told(job, text)
        except BaseException:
            stop()  # the pool waits for its threads
            raise
