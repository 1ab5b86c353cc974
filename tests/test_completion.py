"""What shells complete, in real shells."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darts.completion import SHELLS, candidates, script
from darts.keys import COMMANDS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", f"{' '.join(COMMANDS)} completion --help --version"),
        ("completion ", "bash zsh fish"),
        ("search opt", "optimizer."),
        ("search optimizer.l", "optimizer.lr= optimizer.lr_min= optimizer.layer_decay="),
        ("search method=darts_v2 bilevel.h", "bilevel.hvp="),
        ("search dataset=cifar", "dataset=cifar10 dataset=cifar100"),
        ("search dataset = cifar", "cifar10 cifar100"),
        ("search dry_run =", "true false"),
        ("search --help", "--help --help-all"),
        ("search dataset.root=", ""),
    ],
)
def test_candidates(line: str, expected: str) -> None:
    assert candidates(line.split(" ")) == expected.split()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ``darts`` in the path, and the scripts in the working directory."""
    (tmp_path / "darts").write_text(f'#!/bin/sh\nexec {sys.executable} -m darts "$@"\n')
    (tmp_path / "darts").chmod(0o755)
    for shell in SHELLS:
        (tmp_path / shell).write_text(script(shell))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("program")
def test_bash_completes_in_a_terminal() -> None:
    pty = pytest.importorskip("pty")  # POSIX only
    process, terminal = pty.fork()
    if process == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    for typed, expected in (
        ("source ./bash; echo rea''dy\n", "ready"),
        ("darts sea\topt\tclip\t", "search optimizer.clip="),
        ("3 dataset=dig\tspace=mac\t", "dataset=digits space=macro "),
        ("resume=./fi\t", "resume=./fish"),
    ):
        os.write(terminal, typed.encode())
        shown, end = "", time.monotonic() + 300
        while expected not in shown:
            assert time.monotonic() < end, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
    os.close(terminal)
    os.waitpid(process, 0)


OTHERS = {
    "fish": "source ./fish; complete -C 'darts search dataset=cifar'",
    "zsh": "compdef() {}; source ./zsh; compadd() { print -l -- $@ }; CURRENT=3\n"
    "words=(darts search dataset=cifar); _darts",
}


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("shell", OTHERS)
def test_other_shells_complete(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    done = subprocess.run([shell, "-c", OTHERS[shell]], capture_output=True, text=True, check=True)
    found = [line for line in done.stdout.splitlines() if "cifar" in line]
    assert found == ["dataset=cifar10", "dataset=cifar100"]
