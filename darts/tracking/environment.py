"""Environment of a run for env.json: software, hardware and the revision of the code."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch

import darts

_PACKAGE = Path(darts.__file__).resolve().parent


def environment() -> dict[str, object]:
    """Return a description of the current process and machine in JSON types. Never raises.

    What cannot be determined is None. ``cores`` are the cores that this process may use,
    ``threads`` the threads of torch, ``command`` the arguments of the process, and ``started`` the
    current time in UTC. The host name is omitted, because run directories may be published.
    """
    revision, dirty = git_state() or (None, None)
    # The cores that this process may use; a container's CPU quota is ignored.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {
            "torch": str(torch.__version__),
            "torchvision": metadata.version("torchvision"),
            "numpy": metadata.version("numpy"),
            "darts-nas": darts.__version__,
        },
        "cpu": {"model": cpu_model(), "cores": cores, "threads": torch.get_num_threads()},
        "cuda": _cuda(),
        "git_revision": revision,
        "git_dirty": dirty,
        "command": list(sys.argv),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def git_state(package: Path = _PACKAGE) -> tuple[str, bool] | None:
    """Return the git revision of a package, and whether tracked files have uncommitted changes.

    Return None if git is not installed, or if no repository tracks the package. An example is a
    copy that is installed in a virtual environment inside the checkout of another project.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    found = _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return (found.removesuffix("-dirty"), found.endswith("-dirty")) if found else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in ``folder``, or None if it fails."""
    # A git hook sets GIT_DIR and similar variables, which name the repository of the hook.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    variables["GIT_OPTIONAL_LOCKS"] = "0"  # so that a concurrent commit does not fail
    return _output(["git", "-C", str(folder), *arguments], variables)


def _output(command: list[str], variables: dict[str, str] | None = None) -> str | None:
    """Return the output of a command, or None if it fails or takes longer than 10 seconds."""
    try:
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=10
        )
        done.check_returncode()
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace").strip()


def cpu_model() -> str | None:
    """Return the name of the processor; None if it is unknown."""
    with suppress(OSError):  # not Linux
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        if found := re.search(r"^model name\s*:(.*)", text, re.MULTILINE):
            return found[1].strip()
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or platform.machine() or None


def _cuda() -> dict[str, object] | None:
    """Return CUDA version, driver and device names, or None without a usable GPU."""
    try:
        if not torch.cuda.is_available():
            return None
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError):  # torch finds the driver but cannot initialize it
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = (_output(query) or "").splitlines()
    return {
        "version": torch.version.cuda,
        "driver": driver[0].strip() if driver else None,
        "devices": names,
    }
