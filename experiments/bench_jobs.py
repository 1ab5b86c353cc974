"""Overhead of a job in a worker process, and of 1,000 jobs on a simulated cluster of Ray.

    python experiments/bench_jobs.py overhead
    python experiments/bench_jobs.py cluster

``overhead`` trains a tiny network 20 times in a warm worker: the seconds of a job outside of the
training, and the processor time of the idle worker. ``cluster`` schedules jobs that sleep on 64
actors of Ray on this machine, which together take one core: the time beyond the ideal one, and the
growth of the memory of the command. Results are written to results/bench_jobs.json and README.md.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import Row, parser_of, put_rows, record

from darts.config.many_runs import RayConfig
from darts.running.jobs import Job, Outcome
from darts.running.processes import ProcessExecutor, ProcessWorker

KEY = ("hardware", "case")
COLUMNS = (
    *("case", "jobs", "s per job", "processor s of 10 idle s", "ideal s", "s", "overhead %"),
    "kB per job",
)
TINY = (
    *("dataset=synthetic", "dataset.samples=24", "dataset.size=8", "loader.batch_size=4"),
    *("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_8"]}', "validation=0.2"),
    *("epochs=1", "tracking.figures=false", "tracking.tensorboard=false"),
)


def overhead(folder: Path, count: int) -> Row:
    """Return the seconds of a job outside of the training, and of processor time while idle."""
    spent = []
    with ProcessExecutor(1, folder / "workers") as executor:
        for number in range(count + 1):
            begin = time.perf_counter()
            job = Job(f"{number}", "retrain", folder / f"{number}", (*TINY, f"seed={number}"))
            summary = executor.submit(job).result().summary
            assert summary is not None, "the run failed"
            spent.append(time.perf_counter() - begin - summary["seconds"])
        (worker,) = executor._workers
        assert isinstance(worker, ProcessWorker)
        assert worker.process is not None
        stat = Path(f"/proc/{worker.process.pid}/stat")
        before = processor_seconds(stat)
        time.sleep(10)
        idle = processor_seconds(stat) - before
    return {
        "case": "one worker process",
        "jobs": count,
        "s per job": round(statistics.median(spent[1:]), 3),  # the first one starts the worker
        "processor s of 10 idle s": round(idle, 2),
    }


def processor_seconds(stat: Path) -> float:
    """Return the processor time of a process from its file in /proc."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class SleepingHost:
    """An actor whose jobs sleep for the seconds in their only override."""

    def __init__(self, *arguments: object) -> None:
        pass

    def start(self, *arguments: object) -> str:
        return "sleeping"

    def call(self, method: str, *jobs: Job) -> object:
        if method != "run":
            return True  # the answer to `is_alive`
        time.sleep(float(jobs[0].overrides[0]))
        return Outcome({})


WARM = 90.0
"""Seconds in which all actors begin."""


def cluster(folder: Path, nodes: int, count: int, seconds: float) -> Row:
    """Return the overhead of many jobs on many nodes, and the memory that they leave behind."""
    from darts.running import ray_cluster

    ray_cluster.Host = SleepingHost  # type: ignore[misc, assignment]
    executable = Path(sys.executable).with_name("ray")
    words = ("--head", f"--num-cpus={nodes}", "--include-dashboard=false", "--disable-usage-stats")
    subprocess.run([executable, "start", *words], check=True, capture_output=True)
    config = RayConfig(name="ray", address="auto")
    with ray_cluster.RayExecutor(config, nodes, folder) as executor:
        # Each actor has one of them, because the last actor begins before the first job ends.
        warm = [executor.submit(sleeping(folder, f"warm{n}", WARM)) for n in range(nodes)]
        for future in warm:
            future.result()
        memory, begin = peak_memory(), time.perf_counter()
        futures = [executor.submit(sleeping(folder, f"{n}", seconds)) for n in range(count)]
        for future in futures:
            future.result()
        spent = time.perf_counter() - begin
        growth = (peak_memory() - memory) / count
    subprocess.run([executable, "stop"], check=True, capture_output=True)
    ideal = -(-count // nodes) * seconds
    return {
        "case": f"{nodes} actors of Ray",
        "jobs": count,
        "s per job": seconds,
        "ideal s": round(ideal, 1),
        "s": round(spent, 1),
        "overhead %": round(100 * (spent / ideal - 1), 1),
        "kB per job": round(growth, 1),
    }


def sleeping(folder: Path, name: str, seconds: float) -> Job:
    """Return a job for ``SleepingHost``."""
    return Job(name, "retrain", folder / name, (str(seconds),))


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in kB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Measure one part and write its row."""
    parser = parser_of(__doc__)
    parser.add_argument("part", choices=("overhead", "cluster"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.part == "overhead":
            row = overhead(folder, args.jobs or 20)
        else:
            row = cluster(folder, args.nodes, args.jobs or 1000, args.seconds)
    print(row)
    rows = record("bench_jobs", KEY, [dict.fromkeys(COLUMNS, "") | row])
    put_rows("bench_jobs", {column: f"{{{column}}}" for column in (*COLUMNS, "hardware")}, rows)


if __name__ == "__main__":
    main()
