"""``darts.find`` compared with plain baselines and an expert on data that it was not tuned for.

    python experiments/own_data.py prepare --data DIR --out runs/own_data
    python experiments/own_data.py baselines --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py expert --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py find --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py alone --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py table

``darts.find`` gets the path of the data and a budget, nothing else. The baselines of
``own_data_baselines.py`` and, for images, the expert of ``own_data_expert.py`` get the same files
and at most the same time. ``alone`` trains the best baseline of each finished run of
``darts.find`` for the whole time. ``--data`` holds the published data in folders ``cifar10``,
``fashion_mnist``, ``fsdd``, ``ptb`` and ``agnews``; data sets whose folder is missing are left out.
``--only NAME ...`` selects data sets. Finished rows are not repeated, and an interrupted run is
resumed. The results are written to results/own_data.json, the table to results/own_data.csv and
README.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from own_data_baselines import run_baseline
from own_data_expert import train_expert
from own_data_result import Limits, Result
from own_data_samples import Flags, correct_samples, number_errors, pack
from own_data_sets import OVERRIDES, DataSet
from own_data_table import ALONE, BASELINE, DATA_SETS, EXPERT, FIND, KEY, write_table
from records import Row, hardware, record
from runs import run

from darts.finding.slices import ENDLESS
from darts.reading import read_json
from darts.recipes.commands import merge_overrides
from darts.running.execution import InlineExecutor
from darts.running.jobs import Job

COMMANDS = {BASELINE: "baselines", EXPERT: "expert", FIND: "find", ALONE: "alone"}
KEPT = ("baseline", "gain", "raced_test", "winner_seconds", "candidates", "family", "setting")
"""Beginnings of the keys of ``summary.json`` that a row of ``darts.find`` repeats."""


def prepared(args: argparse.Namespace) -> Iterator[tuple[DataSet, Path]]:
    """Yield the selected data sets with their folders, and write those that are missing."""
    for name in args.only or DATA_SETS:
        dataset = DATA_SETS[name]
        folder = args.out / "data" / name
        if dataset.prepare(args.data, folder):
            yield dataset, folder
        else:
            print(f"{name}: left out, because --data has no folder {dataset.source}", flush=True)


def missing(args: argparse.Namespace, method: str) -> Iterator[tuple[DataSet, Path, Row]]:
    """Yield data set, folder and the key of each row that is not in the results."""
    done = [tuple(row[key] for key in KEY) for row in record("own_data", KEY, [])]
    for seed, (dataset, folder) in itertools.product(args.seeds, list(prepared(args))):
        row = {
            "data": dataset.name,
            "method": method,
            "seed": seed,
            "minutes": args.minutes,
            "device": args.device,
        }
        if method == EXPERT and dataset.kind != "images":
            continue
        if tuple(row.values()) not in done:
            yield dataset, folder, row


def save(dataset: DataSet, row: Row) -> None:
    """Add a finished row to the results and print its score."""
    common = {
        "metric": dataset.metric,
        "command": f"python experiments/own_data.py {COMMANDS[row['method']]}",
        "hardware": _hardware(str(row["method"]), str(row["device"])),
    }
    record("own_data", KEY, [{**row, **common}])
    score = f"{dataset.metric} {row['test']:.4f}, {row['seconds']:.0f} s"
    print(f"{dataset.name} {row['method']} seed {row['seed']}: {score}", flush=True)


def _hardware(method: str, device: str) -> str:
    if method == FIND and device == "cpu":  # it starts processes of its own
        return f"{os.cpu_count()} CPU cores, {platform.machine()}"
    return hardware(device)


def run_models(
    args: argparse.Namespace, method: str, train: Callable[[DataSet, Path, Limits], Result]
) -> None:
    """Train the missing baselines or experts."""
    for dataset, folder, key in missing(args, method):
        begin, processor = time.monotonic(), time.process_time()
        clock = time.process_time if args.clock == "processor" else time.monotonic
        limits = Limits(60 * args.minutes, args.epochs, key["seed"], args.device, clock)
        values = vars(train(dataset, folder, limits)).copy()
        row = {
            **key,
            "model": values.pop("method"),
            "clock": args.clock,
            **samples(values.pop("correct"), values.pop("errors")),
            **values,
            "seconds": round(time.monotonic() - begin, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
        }
        save(dataset, row)


def find_directory(args: argparse.Namespace, key: Row) -> Path:
    """Return the directory of a run of ``darts.find``."""
    folder: Path = args.out / "find" / f"{args.minutes:g}_minutes"
    return folder / f"{key['data']}-{key['seed']}"


def run_find(args: argparse.Namespace) -> None:
    """Run ``darts.find`` where a row is missing; report failed runs at the end."""
    failed = []
    for dataset, folder, key in missing(args, FIND):
        directory = find_directory(args, key)
        try:
            summary = run(
                "find",
                directory,
                *OVERRIDES[dataset.kind],
                f"dataset.root={folder.resolve()}",
                f"budget.minutes={args.minutes:g}",
                f"seed={key['seed']}",
                f"device={args.device}",
            )
        except subprocess.CalledProcessError as error:
            failed.append(
                f"{directory}: exit code {error.returncode}, see {directory.with_suffix('.log')}"
            )
            print(failed[-1], flush=True)
            continue
        row = {
            **key,
            "test": summary[f"test_{dataset.metric}"],
            **{name: value for name, value in summary.items() if name.startswith(KEPT)},
            "weights": summary.get("parameters"),
            "seconds": round(summary["seconds"], 1),
            **scored(dataset, folder, directory, args.device),
        }
        save(dataset, row)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed:\n" + "\n".join(failed))


def run_alone(args: argparse.Namespace) -> None:
    """Train the best baseline of each finished run of ``darts.find`` alone for the whole time."""
    for dataset, folder, key in missing(args, ALONE):
        found = find_directory(args, key)
        if not (found / "summary.json").exists():
            print(f"{dataset.name} seed {key['seed']}: left out, because {found} is not complete")
            continue
        name = read_json(found / "summary.json")["baseline"]
        directory = args.out / "alone" / f"{args.minutes:g}_minutes" / found.name
        overrides = alone_overrides(found / "runs", name, 60 * args.minutes)
        job = Job(name, "retrain", directory, overrides)
        outcome = InlineExecutor().submit(job).result()
        if outcome.summary is None:
            raise SystemExit(f"{directory}: {outcome.problem}")
        row = {
            **key,
            "model": name,
            "test": outcome.summary[f"test_{dataset.metric}"],
            "weights": outcome.summary["parameters"],
            "epochs": outcome.summary["epochs"],
            "seconds": round(outcome.summary["seconds"], 1),
            **scored(dataset, folder, directory, args.device),
        }
        save(dataset, row)


def alone_overrides(runs: Path, candidate: str, seconds: float) -> tuple[str, ...]:
    """Return the overrides of a candidate's run that trains for a time and is scored once.

    The validation samples are training samples, too, unless the data has a validation part.

    Args:
        runs: The folder ``runs`` of a run of ``darts.find``.
        candidate: Name of the candidate.
        seconds: Seconds of training.
    """
    folders = (runs / candidate, runs / f"{candidate}.fold0")
    recorded = next(folder for folder in folders if folder.is_dir()) / "overrides.json"
    own = [f"epochs={ENDLESS}", f"max_seconds={seconds:g}", "evaluate_test=true"]
    kept = [
        item
        for item in read_json(recorded)["overrides"]
        if not item.startswith(("validation_fold=", "hydra."))
    ]
    if any(item.startswith("validation=") for item in kept):  # a part is held out
        own += ["validation=0", "selection=last"]
    return tuple(merge_overrides([*kept, *own]))


def scored(dataset: DataSet, folder: Path, directory: Path, device: str) -> Row:
    """Return which test samples the network of a run classifies correctly, or its errors."""
    if dataset.metric == "accuracy":
        return samples(correct_samples(directory, device), None)
    if dataset.metric == "r2":
        return samples(None, number_errors(directory, folder / "test.csv"))
    return {}


def samples(correct: Flags | None, errors: Sequence[float] | None) -> Row:
    """Return scores of test samples as texts, which take one line in the file of results."""
    row: Row = {}
    if correct is not None:
        row |= {"samples": len(correct), "correct": pack(correct)}
    if errors is not None:
        row |= {"samples": len(errors), "errors": " ".join(f"{error:.4g}" for error in errors)}
    return row


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("prepare", *COMMANDS.values(), "table"))
    parser.add_argument("--data", type=Path, help="folder of the published data")
    parser.add_argument("--out", default=Path("runs/own_data"), type=Path)
    parser.add_argument("--only", nargs="+", choices=DATA_SETS, metavar="NAME")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30, help="maximum of the plain baselines")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="time that limits baselines and expert; processor if other programs use the machine",
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    if args.command == "prepare":
        for dataset, folder in prepared(args):
            print(f"{folder}: {dataset.content}")
    elif args.command == "baselines":
        run_models(args, BASELINE, run_baseline)
    elif args.command == "expert":
        run_models(args, EXPERT, train_expert)
    elif args.command == "find":
        run_find(args)
    elif args.command == "alone":
        run_alone(args)
    else:
        write_table(args.only or DATA_SETS)


if __name__ == "__main__":
    main()
