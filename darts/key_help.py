"""The help of ``darts COMMAND --help``: the keys that people use first.

This module imports nothing but ``darts.plugins``, so that the help appears at once.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from darts.plugins import plugin_conf_folders

Section = tuple[str, tuple[tuple[str, str], ...]]

_DATA = (
    ("dataset=NAME", "the data: {dataset}"),
    ("dataset.root=DIR", "folder of its files"),
    ("dataset.size=32", "side of the images in pixels"),
    ("dataset.subset=1000", "number of training samples to use"),
    ("task=NAME", "what is learned: {task}"),
)
_RUN = (
    ("seed=0", "seed of all random numbers"),
    ("device=auto", "cpu, cuda, cuda:N or mps"),
    ("precision=fp32", "fp32, tf32, bf16 or fp16"),
    ("hydra.run.dir=DIR", "the run directory; by default a new one in runs/"),
    ("resume=DIR", "continue an interrupted run"),
    ("log=plain", "what to print: auto, plain, quiet or json"),
    ("dry_run=true", "predict time and memory, and stop"),
)
_TRAINING = (
    ("epochs=50", "length of the training"),
    ("loader.batch_size=64", "samples per step"),
    ("optimizer.lr=0.025", "learning rate of the weights"),
    ("optimizer.weight_decay=3e-4", "weight decay of the weights"),
)
_MANY_RUNS = (
    ("workers=2", "processes that work at the same time"),
    ("seed=0", "seed of all random numbers"),
    ("hydra.run.dir=DIR", "the run directory; by default a new one in runs/"),
    ("resume=DIR", "continue an interrupted run"),
)
_CHECKPOINT = ("checkpoint=runs/retrain/<run>", "the trained network")

SECTIONS: dict[str, tuple[Section, ...]] = {
    "find": (
        ("Data", _DATA),
        ("Budget", (("budget.minutes=10", "time of the whole run"), ("budget.hours=1", "instead"))),
        (
            "Limits of the result",
            (
                ("limit.parameters=1e6", "largest number of weights"),
                ("limit.macs=1e8", "largest number of multiply-accumulates"),
            ),
        ),
        ("Run", _MANY_RUNS),
    ),
    "search": (
        (
            "What is searched, and how",
            (
                ("space=NAME", "{space}"),
                ("method=NAME", "{method}"),
                ("experiment=NAME", "values that belong together: {experiment/search}"),
                ("space.channels=16 space.cells=8", "size of the supernet"),
                ("arch_optimizer.lr=3e-4", "learning rate of the alphas"),
                ("penalty.flops=1e8", "target for the cost of the architecture"),
                ("limit.macs=1e8", "largest number of multiply-accumulates of the genotype"),
                ("front.cost=macs", "a genotype for each of several budgets"),
            ),
        ),
        ("Data", _DATA),
        ("Training", _TRAINING),
        ("Run", _RUN),
    ),
    "retrain": (
        (
            "Network",
            (
                ("genotype=runs/search/<run>", "a search, a published name, a file or text"),
                ("space=NAME", "{space}"),
                ("experiment=NAME", "values that belong together: {experiment/retrain}"),
                ("space.channels=36 space.cells=20", "size of the network"),
            ),
        ),
        ("Data", _DATA),
        (
            "Training",
            (
                *_TRAINING,
                ("validation=0.1", "share of the training samples held out"),
                ("selection=best", "epoch of the result: best or last"),
                ("cutout=16 drop_path=0.2", "regularization"),
            ),
        ),
        ("Run", _RUN),
    ),
    "evaluate": (
        (
            "Keys",
            (
                _CHECKPOINT,
                ("split=test", "test or valid"),
                ("importance=true", "score without each edge"),
                ("root=DIR", "folder of the data set, if it has moved"),
            ),
        ),
    ),
    "predict": (
        (
            "Keys",
            (
                _CHECKPOINT,
                ("input=PATH", "images, recordings, or a table of rows or texts"),
                ("output=FILE.csv", "the table; by default in the run directory"),
                ("device=auto", "cpu, cuda, cuda:N or mps"),
            ),
        ),
    ),
    "export": (
        (
            "Keys",
            (
                _CHECKPOINT,
                ("format=onnx", "onnx, torch_export, executorch, litert or safetensors"),
                ("quantize=int8", "8-bit weights and activations"),
                ("max_drop=0.01", "largest loss of the score on validation data"),
                ("root=DIR", "folder of the data set, if it has moved"),
            ),
        ),
    ),
    "report": (
        (
            "Keys",
            (
                ("runs/search/<run> runs/retrain/<run>", "run directories, one or several"),
                ("out=FILE.html", "the page"),
            ),
        ),
    ),
    "judge": (
        (
            "Keys",
            (
                ("judge=NAME", "{judge}"),
                ("space=NAME", "{space}"),
                ("dataset=NAME", "{dataset}"),
                ("benchmark.table=FILE", "true scores to compare with"),
            ),
        ),
        ("Run", _MANY_RUNS[1:]),
    ),
    "tune": (
        (
            "What is varied, and how",
            (
                ("parameters.optimizer.lr={low: 1e-3, high: 0.1, log: true}", "a hyperparameter"),
                ("parameters.genotype={space: cnn}", "the architecture"),
                ("strategy=NAME", "{strategy}"),
                ("budget.trials=50", "number of trials"),
                ("budget.hours=1", "time after which no trial starts"),
                ("experiment=NAME", "values that belong together: {experiment/tune}"),
            ),
        ),
        ("Run", _MANY_RUNS),
    ),
    "compare": (
        (
            "Keys",
            (
                ("method=drnas", "what is compared: {method}"),
                ("baselines=[random]", "baselines to compare with"),
                ("searches=5 retrainings=3", "runs of each method, and of each genotype"),
                ("experiment=NAME", "values that belong together: {experiment/compare}"),
            ),
        ),
        ("Run", _MANY_RUNS),
    ),
    "genotypes": (
        (
            "Keys",
            (
                ("validate=GENOTYPE", "check a genotype"),
                ("draw=GENOTYPE out=FILE.svg", "draw it"),
                ("compare=[A,B]", "show the differences of two genotypes"),
            ),
        ),
    ),
    "device": (
        (
            "measure: time the operations of a space on this machine",
            (
                ("space=NAME", "{space}"),
                ("out=FILE.csv", "the lookup table; by default in the run directory"),
                ("shape=[3,32,32] classes=10", "shape of a sample, and number of classes"),
                ("device=auto", "cpu, cuda, cuda:N or mps"),
                ("threads=1 batch_size=1", "how the networks run"),
            ),
        ),
        (
            "fit: fit a latency model to measurements",
            (
                ("space=NAME", "space of the networks"),
                ("table=FILE.csv", "columns genotype or arch, and milliseconds per device"),
                ("column=NAME", "the device"),
                ("train=200", "number of networks to fit to; the others test the model"),
                ("out=FILE.json", "the model; by default in the run directory"),
            ),
        ),
        (
            "compare: compare a model with measurements",
            (
                ("model=FILE", "a lookup table or a fitted model"),
                ("table=FILE.csv column=NAME", "measurements"),
                ("networks=20", "number of networks to measure on this machine"),
            ),
        ),
    ),
}


def options(group: str) -> list[str]:
    """Return the options of a config group, the names of its YAML files."""
    package = Path(__file__).resolve().parent
    conf = package / "conf" if (package / "conf").is_dir() else package.parent / "conf"
    folders = (conf, *plugin_conf_folders())
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def key_help(command: str, purpose: str) -> str:
    """Return the help of a command, wrapped to 80 columns."""
    lines = [f"darts {command}: {purpose}", "", f"usage: darts {command} [key=value ...]"]
    for title, keys in SECTIONS[command]:
        lines += ["", f"{title}:"]
        for key, text in keys:
            filled = re.sub(r"\{([\w/]+)\}", lambda m: ", ".join(options(m[1])), text)
            indent = " " * 24
            start = f"  {key:<20}  " if len(key) <= 20 else f"  {key}\n{indent}"
            wrapped = textwrap.wrap(filled, 80, initial_indent=indent, subsequent_indent=indent)
            lines.append(start + "\n".join(wrapped)[len(indent) :])
    lines += ["", f"darts {command} --help-all lists every key."]
    return "\n".join(lines)
