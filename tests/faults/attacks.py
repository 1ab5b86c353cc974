"""Run directories of an adversary: files that would run code, leak, hang or fill the memory."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import Call

from darts.config import config_digest
from darts.training.checkpoint import FORMATS, load_checkpoint, save_checkpoint

SECRET = "correct-horse-battery-staple"
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
ENV = "${oc.env:DARTS_SECRET}"


@dataclass(frozen=True)
class Trap:
    """Files by which a test notices that an attack succeeded."""

    marker: Path  # exists only if code of the adversary ran
    precious: Path  # a file of the user, which must keep its content

    @property
    def code(self) -> str:
        """A Python expression that creates the marker."""
        return f"__import__('pathlib').Path({str(self.marker)!r}).touch()"


@dataclass(frozen=True)
class Attack:
    """A change of a run directory, and the command that reads the directory afterwards."""

    change: Callable[[Path, Trap], None]
    command: str = "search"
    base: tuple[str, bool] = ("search", False)  # command of the run, and whether it is complete
    arguments: tuple[str, ...] = ("resume={}",)  # of the command; ``{}`` is the directory


def replace_by(kind: str, name: str, directory: Path, trap: Trap) -> None:
    """Replace a file with something that is not a regular file."""
    path = directory / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(directory)  # the name of a socket has at most 108 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
        os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"zeros": "/dev/zero", "precious file": trap.precious, "nothing": "missing"}
        path.symlink_to(targets[kind.removeprefix("link to ")])


def write_genotype(text: str, directory: Path, trap: Trap) -> None:
    (directory / "genotype.json").write_text(text.replace("CODE", trap.code))


def begin_with(config: str | None, overrides: list[str], directory: Path, trap: Trap) -> None:
    """Replace configuration and command line, with a valid digest."""
    file, record = directory / "config.yaml", directory / "overrides.json"
    command = json.loads(record.read_text())["command"]
    text = file.read_text() if config is None else config.replace("CODE", trap.code)
    overrides = [override.replace("CODE", trap.code) for override in overrides]
    overrides = [override.replace("MARKER", str(trap.marker)) for override in overrides]
    file.write_text(text)
    entries = {"command": command, "overrides": overrides, "config_digest": config_digest(text)}
    record.write_text(json.dumps(entries))


def edit_config(old: str, new: str, directory: Path, trap: Trap) -> None:
    """Replace a part of the configuration, with a valid digest."""
    text = (directory / "config.yaml").read_text()
    assert old in text, text
    begin_with(text.replace(old, new, 1), [], directory, trap)


def edit_checkpoint(change: Callable[[dict[str, Any]], None], directory: Path, trap: Trap) -> None:
    """Change values of the checkpoint, with a valid checksum."""
    file = directory / "checkpoint.safetensors"
    content = load_checkpoint(file)
    change(content)
    save_checkpoint(file, "search", content)


def pickled_archive(directory: Path, trap: Trap) -> None:
    content = {"kind": "search", "x": Call(exec, trap.code)}
    torch.save(content, directory / "checkpoint.safetensors")


def header(entries: dict[str, object], text: str, directory: Path, trap: Trap) -> None:
    """Write a checkpoint with a header that announces tensors, and without their numbers."""
    metadata = {"__metadata__": {"darts": text, "crc32": "0"}}
    data = json.dumps({**metadata, **entries}).encode()
    file = directory / "checkpoint.safetensors"
    file.write_bytes(len(data).to_bytes(8, "little") + data)


def overlapping(name: str, directory: Path, trap: Trap) -> None:
    """List each member of an archive many times, so that members share their bytes."""
    file = directory / name
    data = file.read_bytes()
    end = data.rindex(b"PK\5\6")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    entries = data[start : start + size]
    count = 2000
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, size * count, start, 0)
    file.write_bytes(data[:start] + entries * count + tail)


def pickled_array(directory: Path, trap: Trap) -> None:
    np.savez(directory / "split.npz", train=np.array([Call(exec, trap.code)], dtype=object))


def study_attribute(directory: Path, trap: Trap) -> None:
    """Put a command line that would run code into the attributes of trials."""
    text = json.dumps([f"hydra.callbacks.x={{_target_: builtins.exec, source: {trap.code}}}"])
    with closing(sqlite3.connect(directory / "study.db")) as connection, connection:
        connection.execute("UPDATE trial_user_attributes SET value_json=?", (text,))


def plant_modules(directory: Path, trap: Trap) -> None:
    """Put modules that Python, PyTorch, pytest or Hydra might import into the directory."""
    names = ("hubconf.py", "sitecustomize.py", "conftest.py", "__init__.py", "darts.py", "torch.py")
    for name in (*names, "hydra_plugins/x.py", "conf/__init__.py"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(trap.code)


def set_summary(key: str, value: object, directory: Path, trap: Trap) -> None:
    file = directory / "summary.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))


REGULAR = ("config.yaml", "overrides.json", "env.json", "split.npz", "metrics.jsonl")
REGULAR += ("checkpoint.safetensors", "genotype.json", "alphas.json", "run.lock")
REGULAR += ("events.out.tfevents.0",)
SPECIAL = ("pipe", "socket", "folder", "link to zeros", "link to precious file", "link to nothing")
TARGET = "{_target_: builtins.exec, _args_: ['CODE']}"
# tests/config/test_resumed_run.py and tests/test_files.py try further ones.
OVERRIDES = {
    "a resolver": "name=${oc.decode:MARKER}",
    "an absolute name": "name=/etc/cron.d/x",
    "an escape sequence": f"name={ESCAPE}",
    "another run": "resume=/etc",
}
YAML = {
    "a Python tag": '!!python/object/apply:builtins.exec ["CODE"]',
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
    ),
    "nesting": "[" * 20_000,
    "a sexagesimal number": "epochs: " + ":".join(["59"] * 10_000),
    "a target": f"x: {TARGET}",
}
EDITS = {  # replacements in the text of config.yaml
    "a secret as name": ("name: ", f"name: {ENV} #"),
    "a secret as folder": ("root: ", f"root: {ENV} #"),
    "a parent folder as name": ("name: ", "name: a/../../x #"),
    "an infinite number": ("lr: ", "lr: .inf #"),
    "a number of terabytes": ("batch_size: ", "batch_size: 99999999999999999999 #"),
    "many samples": ("samples: ", "samples: 999999999999 #"),
    "a text as number": ("epochs: ", "epochs: x #"),
    "a target below": ("optimizer:", f"optimizer:\n  _target_: builtins.exec\nx: {TARGET}\ny:"),
}
GENOTYPES = {
    "a call": "Genotype(normal=CODE, normal_concat=[2], reduce=[], reduce_concat=[2])",
    "a space": '{"space": "../../evil", "layers": []}',
    "a space of builtins": '{"space": "__class__", "layers": []}',
    "a large layer": '{"space": "mlp", "layers": ["relu_99999999999"]}',
    "many layers": json.dumps({"space": "mlp", "layers": ["relu_8"] * 1_000_000}),
    "an operation": '{"space": "mlp", "layers": ["CODE"]}',
    "a secret": json.dumps({"space": ENV, "layers": [ENV]}),
    "markup": '{"space": "mlp", "layers": ["$\\\\frac{1}{0}$", "<script>"]}',
    "an escape sequence": json.dumps({"space": ESCAPE, "layers": []}),
}
CHECKPOINTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a secret": lambda saved: saved["config"].update(name=ENV),
    "a target": lambda saved: saved["config"].update(optimizer={"_target_": "os.system"}),
    "a huge epoch": lambda saved: saved.update(epoch=10**30),
    "a negative step": lambda saved: saved.update(step=-5),
    "an offset": lambda saved: saved.update(metrics_offset=2**60),
    "an escape sequence": lambda saved: saved.update(split=ESCAPE),
    "a text as random state": lambda saved: saved["random"].update(torch="x"),
    "a number as state": lambda saved: saved.update(searcher=7),
}
SUMMARIES: dict[str, tuple[str, object]] = {
    "a script": ("name", "<script>alert(1)</script>"),
    "an escape sequence": ("name", ESCAPE),
    "markup of figures": ("name", "$\\frac{1}{0}$"),
    "a formula of a table": ("genotype", "=cmd|' /C calc'!A0"),
    "a huge number": ("seconds", 10**400),
    "a list": ("valid_accuracy", [1] * 100),
    "a secret": ("name", ENV),
}


def attacks() -> Iterator[tuple[str, Attack]]:
    """Yield all attacks by name."""
    for name in REGULAR:
        for kind in SPECIAL:
            yield f"{name} is a {kind}", Attack(partial(replace_by, kind, name))
    for title, override in OVERRIDES.items():
        yield f"overrides: {title}", Attack(partial(begin_with, None, [override]))
    for title, text in YAML.items():
        yield f"config: {title}", Attack(partial(begin_with, text, []))
    for title, (old, new) in EDITS.items():
        yield f"config value: {title}", Attack(partial(edit_config, old, new))
    for title, change in CHECKPOINTS.items():
        yield f"checkpoint: {title}", Attack(partial(edit_checkpoint, change))
    for title, attack in _archives():
        yield title, Attack(attack)
        if "checkpoint" in title:
            evaluated = ("evaluate", ("retrain", True), ("checkpoint={}",))
            yield f"evaluate, {title}", Attack(attack, *evaluated)
    validate, complete = ("validate={}/genotype.json",), ("search", True)
    for title, text in GENOTYPES.items():
        attack = partial(write_genotype, text)
        yield f"genotype: {title}", Attack(attack, "genotypes", complete, validate)
    for kind in SPECIAL:
        attack = partial(replace_by, kind, "genotype.json")
        yield f"genotype: {kind}", Attack(attack, "genotypes", complete, validate)
    tune = ("tune", False)
    yield "study: a command line", Attack(study_attribute, "tune", tune)
    for kind in SPECIAL:
        yield f"study: {kind}", Attack(partial(replace_by, kind, "study.db"), "tune", tune)
    for kind in SPECIAL:
        attack = partial(replace_by, kind, "decisions.json")
        yield f"find: decisions.json is a {kind}", Attack(attack, "find", ("find", False))
    report, out = ("retrain", True), ("{}", "out={}.html")
    for title, (key, value) in SUMMARIES.items():
        yield f"summary: {title}", Attack(partial(set_summary, key, value), "report", report, out)
    yield "modules", Attack(plant_modules)
    yield "modules, report", Attack(plant_modules, "report", report, out)


def _archives() -> Iterator[tuple[str, Callable[[Path, Trap], None]]]:
    """Yield changes of a checkpoint and of a split by name."""
    text = json.dumps({"format": FORMATS["search"], "kind": "search"})
    huge = {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}
    escape = json.dumps({"format": ESCAPE, "kind": "search"})
    yield "an archive of torch.save as checkpoint", pickled_archive
    yield "a huge tensor in the checkpoint", partial(header, {"a": huge}, text)
    yield "a nested text in the checkpoint", partial(header, {}, "[" * 10**6)
    yield "many values in the checkpoint", partial(header, {}, f"[{'{},' * 5_000_000}1]")
    yield "an escape sequence in the checkpoint", partial(header, {}, escape)
    yield "a pickle in the split", pickled_array
    yield "a split with overlapping members", partial(overlapping, "split.npz")
