"""A damaged run directory is refused in one line, or the damage changes nothing."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from damage import mutate
from end_states import COSTS
from tiny_runs import DATA

EVENTS = "events.out.tfevents.0"
LOCK = b'{"host": "elsewhere", "pid": 1, "started": "2026-01-01T00:00:00+00:00"}'
DIVERGED = b'{"reason": "the loss became nan", "seconds": 1.0, "joules": 4.0}'


@dataclass(frozen=True)
class Case:
    """A command that reads a run directory."""

    command: str
    arguments: tuple[str, ...]  # ``{}`` stands for the directory
    base: tuple[str, bool]  # command of the run, and whether it is complete
    files: tuple[str, ...]  # to damage; a file that the directory lacks is created
    # Given directory and output, returns what must be the same as without damage.
    result: Callable[[Path, str], dict[str, object]]
    # Pairs of a file and the part of the result that may differ if the file is damaged.
    ignored: tuple[tuple[str, str], ...] = ()


def printed(directory: Path, out: str) -> dict[str, object]:
    measured = tuple(COSTS)
    lines = [line.rstrip() for line in out.splitlines() if not line.startswith(measured)]
    return {"output": [line for line in lines if line and str(directory) not in line]}


def nothing(directory: Path, out: str) -> dict[str, object]:
    return {}


def resumed(command: str, files: tuple[str, ...], *ignored: tuple[str, str]) -> Case:
    """Return a run that was killed and is resumed with a damaged file."""

    def end(directory: Path, out: str) -> dict[str, object]:
        return tiny_runs.end_state(command, directory)

    return Case(command, ("resume={}",), (command, False), files, end, ignored)


FIRST = ("config.yaml", "overrides.json", "env.json")
TRAINING = (*FIRST, "split.npz", "metrics.jsonl", "checkpoint.safetensors", "genotype.json", EVENTS)
CASES = {
    "resume search": resumed(
        "search",
        (*TRAINING, "alphas.json", "run.lock", "diverged.json", "energy.json"),
        *((EVENTS, "TensorBoard"), ("metrics.jsonl", "metrics.jsonl")),
        *(("diverged.json", "files"), ("energy.json", "files")),
    ),
    "resume retrain": resumed(
        "retrain",
        ("split.npz", "metrics.jsonl", "checkpoint.safetensors", "genotype.json"),
        # Without its rows, there are no curves and no model card.
        *(("metrics.jsonl", "metrics.jsonl"), ("metrics.jsonl", "files")),
    ),
    "resume tune": resumed("tune", (*FIRST, "trials.csv", "best.json")),
    "resume find": resumed("find", FIRST),
    "find, decisions": Case("find", ("resume={}",), ("find", False), ("decisions.json",), nothing),
    "evaluate": Case(
        "evaluate",
        ("checkpoint={}",),
        ("retrain", True),
        ("checkpoint.safetensors", "config.yaml", "split.npz", "overrides.json", "summary.json"),
        printed,
    ),
    "retrain a genotype": Case(
        "retrain",
        (*DATA, "space=mlp", "epochs=1", "validation=0.2", "dry_run=true", "genotype={}"),
        ("search", True),
        ("genotype.json", "config.yaml", "summary.json"),
        nothing,
    ),
    "validate": Case("genotypes", ("validate={}",), ("search", True), ("genotype.json",), nothing),
    "report": Case(
        "report",
        ("{}", "out={}.html"),
        ("retrain", True),
        (*TRAINING, "summary.json", "energy.json"),
        nothing,
    ),
}
EVERYDAY = ("resume search", "evaluate", "validate")
CHEAP = ("config.yaml", "overrides.json")  # refused before anything is built


def run_case(case: Case, directory: Path) -> tuple[int, str, dict[str, object]]:
    """Call the command of a case; return exit code, standard error and result."""
    out, err = io.StringIO(), io.StringIO()
    arguments = [argument.format(directory) for argument in case.arguments]
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            tiny_runs.run(case.command, *arguments)
        except SystemExit as done:
            code = int(done.code or 0)
    return code, err.getvalue(), {} if code else case.result(directory, out.getvalue())


def try_mutations(name: str, base: Path, folder: Path, counts: dict[str, int]) -> list[str]:
    """Call the command of a case with one damaged file at a time; call this in a fork."""
    case = CASES[name]
    directory = folder / "undamaged"
    shutil.copytree(base, directory)
    code, err, expected = run_case(case, directory)
    assert code == 0, err
    problems = []
    for file, count in counts.items():
        ignored = {part for damaged, part in case.ignored if damaged == file}
        wanted = {key: value for key, value in expected.items() if key not in ignored}
        for seed in range(count):
            directory = folder / f"{file}-{seed}"
            shutil.copytree(base, directory)
            found = damage_problems(case, directory, file, seed, wanted)
            problems += [f"{file}, seed {seed}: {problem}" for problem in found]
            shutil.rmtree(directory)
    return problems


def damage_problems(
    case: Case, directory: Path, file: str, seed: int, wanted: dict[str, object]
) -> list[str]:
    """Damage a file, call the command of a case and return what is wrong."""
    path = directory / file
    original = path.read_bytes() if path.exists() else {"run.lock": LOCK}.get(file, DIVERGED)
    path.write_bytes(mutate(original, seed))
    start = time.monotonic()
    try:
        code, err, result = run_case(case, directory)
    except BaseException as error:
        return [f"{type(error).__name__}: {error}"]
    problems = ["it hangs"] if time.monotonic() - start > 60 else []
    if code == 0:
        kept = {key: value for key, value in result.items() if key in wanted}
        return problems + tiny_runs.differences(kept, wanted)[:3]
    if code != 2 or len(err.splitlines()) != 1 or "Traceback" in err:
        problems.append(f"exit code {code}: {err[-800:]}")
    return problems


def check(forks: Any, bases: Any, folder: Path, name: str, counts: dict[str, int]) -> None:
    base, total = bases(*CASES[name].base), sum(counts.values())
    ended = forks.call(try_mutations, name, base, folder, counts, timeout=60 + 60 * total)
    assert ended.code == 0, ended.err
    problems = ended.value
    assert problems == [], f"{len(problems)} of {total}:\n" + "\n".join(problems[:20])
    assert ended.peak_bytes < 2**31


@pytest.mark.parametrize("name", EVERYDAY)
def test_some_damage(forks: Any, bases: Any, tmp_path: Path, name: str) -> None:
    cheap = () if name == "evaluate" else CHEAP  # it reads the configuration in the checkpoint
    counts = {file: 5 if file in cheap else 1 for file in CASES[name].files}
    check(forks, bases, tmp_path, name, counts)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), [(n, f) for n, own in CASES.items() for f in own.files])
def test_much_damage(forks: Any, bases: Any, tmp_path: Path, name: str, file: str) -> None:
    count = 500 if tiny_runs.faults_mode() == "full" else 12
    check(forks, bases, tmp_path, name, {file: count})
