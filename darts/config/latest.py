"""The word ``latest`` in place of a run directory on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from darts.config.fields import ConfigError

LATEST = "latest"
RUNS = Path("runs")
_WITH_GENOTYPE = ("search", "find")
_WITH_CHECKPOINT = ("retrain", "find")


def latest_run(command: str, key: str) -> Path:
    """Return the run that ``latest`` denotes as the value of a key.

    For ``genotype`` it is the newest complete search, for ``checkpoint`` the newest retraining, for
    ``resume`` the newest run of the command that is not complete, and for ``runs`` the newest run
    that ``darts.report`` shows; runs of ``darts.find`` count as searches and as retrainings. Only
    the default folders are searched: ``runs/<command>/<time>`` and ``runs/<command>/<name>/<time>``
    in the current folder.

    Raises:
        ConfigError: If there is no such run.
    """
    commands, needed = {
        "genotype": (_WITH_GENOTYPE, lambda run: (run / "genotype.json").is_file()),
        "checkpoint": (_WITH_CHECKPOINT, lambda run: (run / "checkpoint.safetensors").is_file()),
        "resume": ((command,), lambda run: not (run / "summary.json").exists()),
        "runs": ((*_WITH_GENOTYPE, "retrain", "evaluate", "tune"), Path.is_dir),
    }[key]
    return _newest(commands, needed, f"{key}={LATEST}")


def _newest(commands: tuple[str, ...], needed: Callable[[Path], bool], text: str) -> Path:
    found = [
        (file.stat().st_mtime_ns, file.parent)
        for command in commands
        for depth in ("*", "*/*")  # of runs from Python, and of those from the command line
        for file in (RUNS / command).glob(f"{depth}/config.yaml")
        if needed(file.parent)
    ]
    if not found:
        folders = " or ".join(str(RUNS / command) for command in commands)
        raise ConfigError(f"{text}: there is no such run in {folders}")
    return max(found)[1]
