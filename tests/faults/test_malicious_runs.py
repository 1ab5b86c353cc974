"""A run directory of an adversary is only data: no code runs from it, and nothing leaks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from attacks import SECRET, Trap, attacks
from fork_server import Ended
from slow_cases import slow_except

ATTACKS = dict(attacks())
EVERYDAY = (
    "config.yaml is a pipe",
    "checkpoint.safetensors is a socket",
    "run.lock is a link to precious file",
    "config: aliases",
    "config value: a secret as name",
    "an archive of torch.save as checkpoint",
    "genotype: a call",
)


def attacked(command: str, arguments: tuple[str, ...], directory: Path) -> Any:
    os.environ["DARTS_SECRET"] = SECRET
    os.chdir(directory.parent)
    return tiny_runs.run(command, *(argument.format(directory) for argument in arguments))


def problems_of(ended: Ended, folder: Path, trap: Trap) -> list[str]:
    """Return what is wrong after an attack; a harmless one may have no effect."""
    problems = []
    lines = ended.err.splitlines()
    if ended.timed_out:
        problems.append("it hangs")
    if ended.code not in (0, 2):
        problems.append(f"exit code {ended.code}")
    if "Traceback" in ended.err or (ended.code and len(lines) != 1):
        problems.append(f"not one line: {ended.err[-1500:]}")
    if trap.marker.exists():
        problems.append("code ran")
    if trap.precious.read_text() != "precious":
        problems.append("a file of the user was changed")
    if ended.peak_bytes > 2**31:
        problems.append(f"{ended.peak_bytes:,} bytes of memory")
    if "\x1b" in ended.out + ended.err:
        problems.append("an escape sequence reaches the terminal")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    if SECRET in ended.out + ended.err or any(SECRET.encode() in f.read_bytes() for f in files):
        problems.append("the secret leaks")
    return problems


@pytest.mark.parametrize("name", slow_except(ATTACKS, EVERYDAY))
def test_an_attack_does_no_harm(
    forks: Any, bases: Any, uninterrupted: Any, tmp_path: Path, name: str
) -> None:
    planned, folder = ATTACKS[name], tmp_path / "work"
    folder.mkdir()
    directory = Path(shutil.copytree(bases(*planned.base), folder / "run"))
    trap = Trap(tmp_path / "marker", tmp_path / "precious")
    trap.precious.write_text("precious")
    planned.change(directory, trap)
    ended = forks.call(attacked, planned.command, planned.arguments, directory)
    assert problems_of(ended, folder, trap) == []
    if ended.code == 0 and "resume={}" in planned.arguments:
        end = tiny_runs.end_state(planned.command, directory)
        expected = dict(uninterrupted(planned.command).end)
        for part in ("files", "TensorBoard"):  # the attack may add files or cut the records
            end.pop(part, None)
            expected.pop(part, None)
        problems = tiny_runs.differences(end, expected)
        # Any text may be a name.
        assert [text for text in problems if not text.startswith("/summary/name:")] == []
