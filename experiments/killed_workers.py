"""Kill worker processes at random moments: are all runs complete, and are the results the same?

    python experiments/killed_workers.py

For each of ``darts.find``, ``darts.tune`` and ``darts.compare``, a short run in two worker
processes is never disturbed. Equal runs follow: at random moments, SIGKILL ends a process that
executes a run, until there were ``--kills`` kills over the three commands. At the end of each, the
summaries of the command and of all its runs must be those of the undisturbed one, and no process
and no lock may be left. The results are in results/killed_workers.json and README.md.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from records import Row, parser_of, put_rows, record

from darts.reading import JsonObject, read_json_object
from darts.running.jobs import MAX_RESTARTS
from darts.training.run_lock import LOCK_FILE

DATA = ("dataset=synthetic", "loader.batch_size=4", "space=mlp", "seed=7", "workers=2")
SMALL = (*DATA, "dataset.samples=48", "dataset.size=8")
COMMANDS = {
    "find": (
        *(*SMALL, "space.cells=1", "space.widths=[8]", "device=cpu", "save_minutes=0"),
        *("plan.equal=epochs", "plan.slice_epochs=50", "plan.rounds=2", "plan.newcomers=1"),
        *("plan.epochs=150", "plan.folds=1", "plan.settings=false"),
    ),
    "tune": (
        *(*SMALL, "validation=0.2", "tracking.tensorboard=false", "save_minutes=0"),
        'genotype={"space": "mlp", "layers": ["relu_8"]}',
        "parameters.optimizer.lr={low: 0.001, high: 0.1, log: true}",
        *("strategy=random", "budget.trials=6", "epochs=30", "window=2"),
        "analysis.retrain_best=false",
    ),
    "compare": (
        *(*DATA, "dataset.samples=48", "search.epochs=60", "retrain.epochs=200", "draws=1000"),
        *("baselines=[random]", "searches=1", "retrainings=1"),
    ),
}
MEASURED = ("seconds", "joules", "gco2e", "name", "outlook", "trial", "failed", "git", "memory")
"""Parts of the names of values that differ between equal runs."""

MARK = "RUN_OF_KILLED_WORKERS"
KEY = ("case", "seed")
COLUMNS = ("case", "runs", "kills", "jobs killed", "lost", "different", "processes", "locks")


def processes() -> list[Path]:
    """Return the folders in /proc of all processes that a run has started."""
    found, variable = [], f"{MARK}={os.getpid()}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if variable in file.read_bytes().split(b"\0"):
                found.append(file.parent)
    return found


def working(process: subprocess.Popen[bytes]) -> dict[Path, int]:
    """Return which process executes the run in which directory, by the locks that are open."""
    found: dict[Path, int] = {}
    for folder in processes():
        if int(folder.name) != process.pid:
            with suppress(OSError):
                files = [link.readlink() for link in (folder / "fd").iterdir()]
                found |= {f.parent: int(folder.name) for f in files if f.name == LOCK_FILE}
    return found


def run(name: str, directory: Path, draw: random.Random | None) -> list[Path]:
    """Run a command and kill its workers at random moments; return the runs that were killed.

    ``draw`` is None for no kills. A run is killed as often as it may start again, at most.
    """
    words = [*COMMANDS[name], f"hydra.run.dir={directory}"]
    killed: list[Path] = []
    environment = {**os.environ, MARK: str(os.getpid()), "OMP_NUM_THREADS": "1"}
    with directory.with_suffix(".log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"darts.{name}", *words], env=environment, stdout=log, stderr=log
        )
        while process.poll() is None:
            time.sleep(draw.uniform(0.05, 1.5) if draw else 0.2)
            busy = working(process) if draw else {}
            allowed = sorted(path for path in busy if killed.count(path) < MAX_RESTARTS)
            if draw and allowed:
                victim = draw.choice(allowed)
                with suppress(ProcessLookupError):
                    os.kill(busy[victim], signal.SIGKILL)
                    killed.append(victim)
    return killed


def outcome(directory: Path) -> dict[str, JsonObject]:
    """Return the summaries of a command and of its runs, without measured values."""
    return {
        str(file.parent.relative_to(directory)): {
            key: value
            for key, value in read_json_object(file).items()
            if not any(part in key for part in MEASURED)
        }
        for file in directory.rglob("summary.json")
    }


def left(wait: float = 10.0) -> int:
    """Return the number of processes that have not ended some seconds after their command."""
    end = time.monotonic() + wait
    while (count := len(processes())) and time.monotonic() < end:
        time.sleep(0.1)
    return count


def measure(name: str, kills: int, seed: int, folder: Path) -> Row:
    """Run a command until its workers were killed often enough."""
    run(name, folder / "whole", None)
    expected = outcome(folder / "whole")
    assert "." in expected, (folder / "whole.log").read_text()
    draw, counts = random.Random(seed), Counter[str]()
    while counts["kills"] < kills:
        directory = folder / f"{counts['runs']}"
        killed = run(name, directory, draw)
        found = outcome(directory)
        differences = [key for key in found if expected.get(key) != found[key]]
        lost = expected.keys() - found.keys()
        counts.update(
            {
                "runs": 1,
                "kills": len(killed),
                "jobs killed": len(set(killed)),
                "lost": len(lost),
                "different": len(differences),
                "processes": left(),
                "locks": len(list(directory.rglob(LOCK_FILE))),
            }
        )
        print(f"{name} {dict(counts)}", flush=True)
        if lost or differences:
            print(f"{directory}: lost {sorted(lost)}, different {differences}", flush=True)
        else:
            shutil.rmtree(directory)
    return {"case": name, "seed": seed, **{key: counts[key] for key in COLUMNS[1:]}}


def main() -> None:
    """Measure the commands that are not in the results, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=200, help="over the three commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the runs; default: a temporary one")
    args = parser.parse_args()
    if not Path("/proc").is_dir():
        parser.error("it finds the workers in /proc, which only Linux has")
    folder = args.out or Path(tempfile.mkdtemp(prefix="killed_workers-"))
    done = {(row["case"], row["seed"]) for row in record("killed_workers", KEY, [])}
    for name in COMMANDS:
        if (name, args.seed) not in done:
            (folder / name).mkdir(parents=True, exist_ok=True)
            row = measure(name, -(-args.kills // len(COMMANDS)), args.seed, folder / name)
            record("killed_workers", KEY, [row])
    columns = {name: f"{{{name}}}" for name in (*COLUMNS, "hardware")}
    put_rows("killed_workers", columns, record("killed_workers", KEY, []))


if __name__ == "__main__":
    main()
