"""The files of the best network so far, in the run directory of ``darts find``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from darts.plotting.genotype import save_genotype
from darts.spaces import AnyGenotype
from darts.tracking.optional import optional
from darts.writing import write_atomically

ANSWER_FILES = (
    "checkpoint.safetensors", "split.npz", "metrics.jsonl", "model_card.md", "vocabulary.json",
    "columns.csv",
)  # fmt: skip


def write_answer(run: Path, source: Path, genotype: AnyGenotype) -> None:
    """Copy the files of a trained network to the run directory.

    ``darts evaluate``, ``predict`` and ``export`` then accept the run directory, also if the run is
    interrupted later. The checkpoint is written last but for the drawing. Files of an earlier
    answer that this one lacks are removed.
    """
    write_atomically(run / "genotype.json", genotype.to_json())
    copy_files(source, run, reversed(ANSWER_FILES))
    with optional(run / "genotype.svg"):
        save_genotype(genotype, run / "genotype.svg", title="the found network")


def copy_files(source: Path, target: Path, files: Iterable[str]) -> None:
    """Copy files of a run directory to a folder; remove those that the directory lacks."""
    for file in files:
        if (source / file).exists():
            write_atomically(target / file, (source / file).read_bytes())
        else:
            (target / file).unlink(missing_ok=True)
