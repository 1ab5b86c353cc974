"""A process that imports the commands once and calls functions in forks of itself.

Starting Python and importing PyTorch takes seconds, a fork takes milliseconds. The server has one
thread and never uses a GPU, so that its forks are safe.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, BinaryIO

# The module must not be __main__, whose classes other processes cannot unpickle.
_MAIN = "import fork_server; fork_server.main()"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """How a function call in a forked process ended; a signal ``n`` is the code ``-n``."""

    code: int
    out: str
    err: str
    value: Any
    timed_out: bool
    peak_bytes: int


class ForkServer:
    """Starts the server process and sends it calls.

    Args:
        warm_up: Names of a module and of a function in it. The server calls the function without
            arguments when it starts, and with the arguments of each call before it forks. The
            function can import modules once for all forks.
    """

    def __init__(self, warm_up: tuple[str, str]) -> None:
        (requests, send), (receive, replies) = os.pipe(), os.pipe()
        path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
        threads = dict.fromkeys(THREADS, "1")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(requests), str(replies), *warm_up],
            pass_fds=(requests, replies),
            env={**os.environ, **threads, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        )
        os.close(requests)
        os.close(replies)
        self._requests = Connection(send, readable=False)
        self._replies = Connection(receive, writable=False)

    def call(
        self, function: Callable[..., object], *arguments: object, timeout: float = 60, **more: Any
    ) -> Ended:
        """Call a function of a module in a fork; kill it after ``timeout`` seconds."""
        # Modules of tests are imported by their own name, not as __main__ of the server.
        name = (function.__module__, function.__qualname__)
        self._requests.send((name, arguments, more, timeout))
        return self._replies.recv()

    def close(self) -> None:
        """End the server."""
        self._requests.close()
        self._process.wait(60)
        self._replies.close()


def _serve(requests: Connection, replies: Connection, warm_up: Callable[..., None]) -> None:
    while True:
        try:
            (module, name), arguments, more, timeout = requests.recv()
        except EOFError:
            return
        warm_up(*arguments)
        files = tuple(tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        process = os.fork()
        if process == 0:
            requests.close()
            replies.close()
            _call(getattr(importlib.import_module(module), name), arguments, more, files)
        replies.send(_wait(process, timeout, files))


def _call(
    function: Callable[..., object], arguments: Any, more: Any, files: tuple[BinaryIO, ...]
) -> None:
    """Call the function and end this process as the interpreter would."""
    for number, file in zip((1, 2), files, strict=False):
        os.dup2(file.fileno(), number)
    code = 0
    try:
        pickle.dump(function(*arguments, **more), files[2])
        files[2].flush()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _wait(process: int, timeout: float, files: tuple[BinaryIO, ...]) -> Ended:
    descriptor = os.pidfd_open(process)
    timed_out = not select.select([descriptor], [], [], timeout)[0]
    os.close(descriptor)
    if timed_out:
        os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    contents = []
    for file in files:
        file.seek(0)
        contents.append(file.read())
        file.close()
    out, err, value = contents
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        out=out.decode(errors="replace"),
        err=err.decode(errors="replace"),
        value=pickle.loads(value) if value else None,  # noqa: S301
        timed_out=timed_out,
        peak_bytes=usage.ru_maxrss * 1024,
    )


def one_line_problems(ended: Ended, codes: set[int], text: str = "") -> list[str]:
    """Return what is wrong with a command that must end in one line that contains a text."""
    lines = ended.err.splitlines()
    problems = []
    if ended.timed_out:
        problems.append("it hangs")
    if ended.code not in codes:
        problems.append(f"exit code {ended.code}, not {sorted(codes)}")
    if len(lines) != 1 or "Traceback" in ended.err or text not in ended.err:
        problems.append(f"not one line with {text!r}: {ended.err[-1500:]}")
    return problems


def limit_file_size(limit: int) -> None:
    """Make this process fail to write a file beyond ``limit`` bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def main() -> None:
    requests, replies, module, name = sys.argv[1:]
    warm_up = getattr(importlib.import_module(module), name)
    warm_up()
    gc.collect()
    gc.freeze()
    pipes = (Connection(int(requests), writable=False), Connection(int(replies), readable=False))
    _serve(*pipes, warm_up)
