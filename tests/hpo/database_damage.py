"""Damage to the database of a study: changed bytes, and changed cells, rows and definitions."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

TEXTS = ("", "[]", "{}", "null", '"x"', "NaN", "1e999", "[" * 5000, "x" * 300, "FAIL", "RUNNING")
NUMBERS = (-1, 0, 1, 7, 2**62, 0.5, -1e300, None)
PROGRAMS = (
    "CREATE VIEW extra AS SELECT * FROM trials",
    "CREATE TRIGGER extra AFTER UPDATE ON trials BEGIN DELETE FROM trials; END",
    "CREATE INDEX extra ON trials (abs(number))",
    "CREATE VIRTUAL TABLE extra USING fts5(text)",
    "CREATE TABLE extra (x INTEGER CHECK (x > 0))",
    "DROP TABLE trial_params; CREATE VIEW trial_params AS SELECT * FROM trial_values",
)


def flip_bytes(file: Path, random: Random) -> None:
    """Set one to 40 random bytes to random values."""
    data = bytearray(file.read_bytes())
    for _ in range(random.choice((1, 2, 5, 40))):
        data[random.randrange(len(data))] = random.randrange(256)
    file.write_bytes(bytes(data))


def cut(file: Path, random: Random) -> None:
    data = file.read_bytes()
    end = random.randrange(len(data))
    file.write_bytes(random.choice((data[:end], data + data[:end], data[:16], data[end:])))


def change_cell(file: Path, random: Random) -> None:
    """Change a value in a table, or delete its row if the table refuses the value."""
    with closing(sqlite3.connect(file)) as connection, connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        tables = [name for name in tables if not name.startswith(("sqlite_", "ix_"))]
        while True:
            table = random.choice(tables)
            rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
            if rows:
                break
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        row, column = random.choice(rows), random.choice(columns)
        value = random.choice((*TEXTS, *NUMBERS))
        connection.execute("PRAGMA foreign_keys=OFF")
        try:
            connection.execute(f"UPDATE {table} SET {column}=? WHERE rowid=?", (value, row[0]))
        except sqlite3.IntegrityError:
            connection.execute(f"DELETE FROM {table} WHERE rowid=?", (row[0],))


def change_schema(file: Path, random: Random) -> None:
    """Run one of ``PROGRAMS``: it adds a part that Optuna does not create, or replaces a table."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(random.choice(PROGRAMS))


KINDS: tuple[Callable[[Path, Random], None], ...] = (flip_bytes, cut, change_cell, change_schema)


def damage(source: Path, target: Path, seed: int) -> None:
    """Copy a database and damage the copy in a way that depends on the seed."""
    random = Random(seed)
    shutil.copyfile(source, target)
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    random.choices(KINDS, (3, 1, 5, 1))[0](target, random)
