"""A PostgreSQL server of this machine, with an empty folder and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Server:
    """A server that listens on a socket in its folder."""

    programs: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        # Safety after a power failure would only cost time.
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        self.call("pg_ctl", "start", "--wait", "-o", options, "-l", self.folder / "log")

    def stop(self) -> None:
        self.call("pg_ctl", "stop", "--mode=immediate")

    def call(self, program: str, *words: str | Path) -> None:
        # A server does not run as root.
        user = "postgres" if os.getuid() == 0 else None
        command = [self.programs / program, f"--pgdata={self.folder / 'data'}", *words]
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def database_server() -> Iterator[Server]:
    """Start a server with an empty database; skip the test if PostgreSQL is not installed."""
    pytest.importorskip("psycopg")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))  # of Debian
    found = shutil.which("initdb") or next(iter(installed), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        server = Server(Path(found).parent, folder)
        server.call("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()
