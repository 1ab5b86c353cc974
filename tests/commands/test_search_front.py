"""A search for a front writes one genotype for each budget, which other commands read."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch

from darts.api import SearchRun
from darts.escaping import for_html
from darts.spaces import parse_genotype
from darts.spaces.nas201 import Nas201
from darts.training.checkpoint import load_checkpoint
from darts.training.cost import count_macs

TINY = (
    *("tracking.tensorboard=false", "collapse.every=0", "dataset=synthetic", "dataset.samples=64"),
    *("space=nas201", "space.channels=2", "space.cells=1", "epochs=2", "loader.batch_size=16"),
    *("front.cost=macs", "front.points=4", "tracking.figures=true"),
)


def rows_of(directory: Path) -> list[dict[str, str]]:
    return commands.read_table(directory / "front.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return commands.run("search", tmp_path_factory.mktemp("front") / "run", *TINY)


@pytest.mark.slow
def test_a_search_writes_its_front(whole: Any, tmp_path: Path) -> None:
    folder, out = whole.directory, whole.out
    rows, summary = rows_of(folder), whole.json("summary.json")
    assert len(rows) >= 2
    assert len({row["genotype"] for row in rows}) == len(rows)
    assert summary["front_points"] == len(rows)
    for row in rows:
        file = folder / "front" / f"{row['point']}.json"
        genotype = parse_genotype(file.read_text())
        assert str(genotype) == row["genotype"]
        assert float(row["macs"]) <= float(row["budget"])
        network = Nas201(channels=2, cells=1).network(genotype, classes=10, in_channels=3)
        assert float(row["macs"]) == count_macs(network.eval(), torch.zeros(1, 3, 8, 8))
        assert f"front/{row['point']}.json" in out
    assert [str(g) for g in SearchRun(folder).front] == [row["genotype"] for row in rows]
    on_front = [row for row in rows if row["on_front"] == "True"]
    costs = [float(row["macs"]) for row in on_front]
    scores = [float(row["valid_accuracy"]) for row in on_front]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    assert [scores[n] for n in order] == sorted(scores)
    assert (folder / "front.svg").read_text().lstrip().startswith("<?xml")
    # Other commands read the files of the front, and the report reads the run.
    words = [word for word in TINY if not word.startswith(("front.", "collapse."))]
    words += [f"genotype={folder / 'front' / '1.json'}", "auxiliary=0", "drop_path=0"]
    commands.run("retrain", tmp_path / "trained", *words)
    page = tmp_path / "page.html"
    commands.call("report", [str(folder), f"out={page}"])
    assert all(f"<td>{for_html(row['genotype'])}</td>" in page.read_text() for row in rows)


@pytest.mark.slow
def test_points_use_up_their_budgets_even_if_the_alphas_do_not(tmp_path: Path) -> None:
    """Without a penalty, the alphas of all budgets prefer operations regardless of their cost."""
    commands.run("search", tmp_path / "run", *TINY, "front.weight=1e-6")
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 4
    for smaller, row in itertools.pairwise(rows):
        assert float(smaller["budget"]) < float(row["macs"]) <= float(row["budget"])


@pytest.mark.slow
def test_a_resumed_search_finds_the_same_front(whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*TINY, "save_minutes=0", f"hydra.run.dir={folder}"]
    commands.crash(3, partial(commands.call, "search", words))
    commands.call("search", [f"resume={folder}"], folder)
    assert rows_of(folder) == rows_of(whole.directory)
    nets = [
        load_checkpoint(directory / "checkpoint.safetensors")["searcher"]["net"]
        for directory in (folder, whole.directory)
    ]
    assert torch.equal(*(net["alphas.cell_offsets"] for net in nets))
    assert nets[0]["alphas.cell_offsets"].abs().max() > 0
