"""Python programs in forks of a process that has imported the libraries of the project.

A new process imports PyTorch and torchmetrics for seconds. The forks have imported all libraries,
but no module of the project, so that they read the files, settings and plug-ins like a new process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fork_server import ForkServer

LIBRARIES = (
    *("hydra", "hydra.core.hydra_config", "matplotlib.backends.backend_agg"),
    *("matplotlib.backends.backend_svg", "numpy", "omegaconf", "optuna", "PIL.Image"),
    *("sklearn.datasets", "tensorboard.compat.proto.event_pb2", "torch"),
    *("torch.utils.flop_counter", "torch.utils.tensorboard", "torchmetrics.classification"),
    "tqdm",
)


class WarmPython:
    """Runs programs like ``python -m MODULE`` and ``python -c CODE``.

    The server starts with the first program.
    """

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        # What a new process has, without PYTHONPATH and the folder of the program.
        code = "import json, sys; print(json.dumps(sys.path))"
        command = [sys.executable, "-I", "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        self._path: list[str] = json.loads(done.stdout)

    def run(
        self,
        *arguments: str,
        folder: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, ``-m`` or ``-c`` first; return its exit code and what it printed."""
        if self._server is None:
            self._server = ForkServer(("warm_python", "import_libraries"))
        place = str(Path.cwd() if folder is None else folder)
        variables = dict(os.environ if environment is None else environment)
        path = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
        folders = [os.path.join(place, entry) for entry in path]
        ended = self._server.call(
            run_program, arguments, place, variables, [*folders, *self._path], timeout=timeout
        )
        if ended.timed_out:
            raise subprocess.TimeoutExpired(arguments, timeout)
        return subprocess.CompletedProcess(arguments, ended.code, ended.out, ended.err)

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()


def import_libraries(*call: object) -> None:
    """Import all libraries that are installed, once; call this in the server."""
    if call:
        return
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    ours = [name for name in sys.modules if name.split(".")[0] == "darts"]
    assert not ours, ours


def run_program(
    arguments: Sequence[str], folder: str, environment: Mapping[str, str], path: Sequence[str]
) -> None:
    """Do what a new interpreter does with its arguments; call this in a fork."""
    kind, program, *rest = arguments
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:] = [folder if kind == "-m" else "", *path]
    importlib.invalidate_caches()
    sys.argv[:] = [kind, *rest]
    try:
        if kind == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as done:
        if done.code is not None and not isinstance(done.code, int):
            print(done.code, file=sys.stderr)
        raise
