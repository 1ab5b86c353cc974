"""The help of ``darts COMMAND --help``: the keys that people use first.

The text of a key is the comment at its field in ``darts/config``, and the purpose of a command is
the first line of its module. Both are read from the source: an import would take seconds.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from darts.plugins import group_options

# The words of a line, or the words and a text, for keys without a field in darts/config.
Line = str | tuple[str, str]

_DATA: tuple[Line, ...] = (
    "dataset=NAME",
    "dataset.root=DIR",
    "dataset.size=32",
    "dataset.subset=1000",
    "task=NAME",
)
_DIRECTORY = ("hydra.run.dir=DIR", "the run directory; by default a new one in runs/")
_RUN: tuple[Line, ...] = (
    "seed=0",
    "device=auto",
    "precision=fp32",
    _DIRECTORY,
    "resume=DIR",
    ("log=plain", "what to print: auto, plain, quiet or json"),
    "dry_run=true",
)
_TRAINING: tuple[Line, ...] = (
    "epochs=50",
    "loader.batch_size=64",
    "optimizer.lr=0.025",
    "optimizer.weight_decay=3e-4",
)
_MANY_RUNS: tuple[Line, ...] = ("workers=2", "seed=0", _DIRECTORY, "resume=DIR")
_CHECKPOINT = "checkpoint=runs/retrain/<run>"

SECTIONS: dict[str, dict[str, tuple[Line, ...]]] = {
    "find": {
        "Data": _DATA,
        "Budget": ("budget.minutes=10", "budget.hours=1"),
        "Limits of the result": ("limit.parameters=1e6", "limit.macs=1e8"),
        "Run": _MANY_RUNS,
    },
    "search": {
        "What is searched, and how": (
            "space=NAME",
            "method=NAME",
            "experiment=NAME",
            ("space.channels=16 space.cells=8", "size of the supernet"),
            "arch_optimizer.lr=3e-4",
            "penalty.flops=1e8",
            "limit.macs=1e8",
            "front.cost=macs",
        ),
        "Data": _DATA,
        "Training": _TRAINING,
        "Run": _RUN,
    },
    "retrain": {
        "Network": (
            "genotype=runs/search/<run>",
            "space=NAME",
            "experiment=NAME",
            ("space.channels=36 space.cells=20", "size of the network"),
        ),
        "Data": _DATA,
        "Training": (
            *_TRAINING,
            "validation=0.1",
            "selection=best",
            ("cutout=16 drop_path=0.2", "regularization"),
        ),
        "Run": _RUN,
    },
    "evaluate": {"Keys": (_CHECKPOINT, "split=test", "importance=true", "root=DIR")},
    "predict": {"Keys": (_CHECKPOINT, "input=PATH", "output=FILE.csv", "device=auto")},
    "export": {"Keys": (_CHECKPOINT, "format=onnx", "quantize=int8", "max_drop=0.01", "root=DIR")},
    "report": {
        "Keys": (
            ("runs/search/<run> runs/retrain/<run>", "run directories, one or several"),
            "out=FILE.html",
        )
    },
    "judge": {
        "Keys": ("judge=NAME", "space=NAME", "dataset=NAME", "benchmark.table=FILE"),
        "Run": _MANY_RUNS[1:],
    },
    "tune": {
        "What is varied, and how": (
            ("parameters.optimizer.lr={low: 1e-3, high: 0.1, log: true}", "a hyperparameter"),
            ("parameters.genotype={space: cnn}", "the architecture"),
            "strategy=NAME",
            "budget.trials=50",
            "budget.hours=1",
            "experiment=NAME",
        ),
        "Run": _MANY_RUNS,
    },
    "compare": {
        "Keys": (
            "method=drnas",
            "baselines=[random]",
            "searches=5",
            "retrainings=3",
            "experiment=NAME",
        ),
        "Run": _MANY_RUNS,
    },
    "genotypes": {"Keys": ("validate=GENOTYPE", "draw=GENOTYPE", "compare=[A,B]", "out=FILE.svg")},
    "device": {
        "measure: time the operations of a space on this machine": (
            "space=NAME",
            "shape=[3,32,32]",
            "classes=10",
            "device=auto",
            "threads=1",
            "batch_size=1",
            "out=FILE.csv",
        ),
        "fit: fit a latency model to measurements": (
            "space=NAME",
            "table=FILE.csv",
            "column=NAME",
            "train=200",
            "out=FILE.json",
        ),
        "compare: compare a model with measurements": (
            "model=FILE",
            "table=FILE.csv",
            "column=NAME",
            "networks=20",
        ),
    },
}

_PACKAGE = Path(__file__).resolve().parent


class Field(NamedTuple):
    """A field of a configuration dataclass."""

    kind: str  # its annotation
    choices: list[str]
    text: str


def purpose(command: str) -> str:
    """Return what a command does: the first line of its module, without the example."""
    module = ast.parse((_PACKAGE / f"{command}.py").read_text("utf-8"))
    return (ast.get_docstring(module) or "").partition(": ``python")[0]


@cache
def _classes() -> dict[str, tuple[list[str], dict[str, Field]]]:
    """Return the bases and the fields of each dataclass of the configuration."""
    classes = {}
    for name in ("commands", "options", "datasets"):
        source = (_PACKAGE / "config" / f"{name}.py").read_text("utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                classes[node.name] = (bases, dict(_fields(node, source.splitlines())))
    return classes


def _fields(node: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, Field]]:
    for item in node.body:
        if not isinstance(item, ast.AnnAssign):
            continue
        first, end = item.lineno - 1, item.end_lineno or item.lineno
        comments = [lines[end - 1][item.end_col_offset :]]
        while lines[first - 1].strip().startswith("#"):
            first -= 1
            comments.insert(0, lines[first])
        text = " ".join(comment.strip(" #") for comment in comments).strip(" .")
        value, choices = item.value, list[str]()
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "choice":
            constants = [c.value for c in value.args[1:] if isinstance(c, ast.Constant)]
            if len(constants) == len(value.args[1:]):
                choices = [str(constant) for constant in constants]
        yield ast.unparse(item.target), Field(ast.unparse(item.annotation), choices, text)


def _find(kind: str, name: str) -> Field | None:
    """Return a field of a dataclass, of its bases, or of a dataclass that it is the base of."""
    classes = _classes()
    if kind not in classes:
        return None
    bases, fields = classes[kind]
    if name in fields:
        return fields[name]
    inherited = [found for base in bases if (found := _find(base, name))]
    derived = [own[name] for parents, own in classes.values() if kind in parents and name in own]
    return next(iter([*inherited, *derived]), None)


def _resolve(kind: str, key: str) -> Field | None:
    """Return the field of a dataclass that a dotted key denotes."""
    field: Field | None = Field(kind, [], "")
    for name in key.split("."):
        field = _find(field.kind, name) if field else None
    return field


def describe(command: str, key: str) -> str:
    """Return the text of a key: the comment at its field, its choices, the options of its group."""
    owners = (f"{command.title()}Config", "SearchConfig")  # commands pass keys on to searches
    field = next((found for owner in owners if (found := _resolve(owner, key))), None)
    group = f"experiment/{command}" if key == "experiment" else key
    text = "values that belong together" if key == "experiment" else field.text if field else ""
    choices = [*(field.choices if field else []), *group_options(group)]
    text = text[:1].lower() + text[1:]
    return ": ".join(filter(None, [text, ", ".join(choices)]))


def key_help(command: str) -> str:
    """Return the help of a command, wrapped to 80 columns."""
    lines = [f"darts {command}: {purpose(command)}", ""]
    lines.append(f"usage: darts {command} [key=value ...]")
    indent = " " * 24
    for title, keys in SECTIONS[command].items():
        lines += ["", f"{title}:"]
        for key in keys:
            words, text = key if isinstance(key, tuple) else (key, "")
            text = text or describe(command, words.partition("=")[0])
            start = f"  {words:<20}  " if len(words) <= 20 else f"  {words}\n{indent}"
            wrapped = textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent=indent)
            lines.append(start + "\n".join(wrapped)[len(indent) :])
    lines += ["", f"darts {command} --help-all lists every key."]
    return "\n".join(lines)
