"""A resumed run whose files ask for a huge network is refused before memory is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from fork_server import one_line_problems

from darts.config import config_digest
from darts.reading import read_json
from darts.training.checkpoint import load_checkpoint, save_checkpoint
from darts.writing import write_json

CNN = (*tiny_runs.DATA, "space=cnn", "space.channels=1", "space.cells=1", "tracking.figures=false")
RUNS = {
    "search": (*CNN, "epochs=2", "collapse.every=0"),
    "retrain": (*CNN, "epochs=2", "genotype=DARTS_V2", "validation=0.2", "cutout=0"),
}
HUGE = 100_000  # channels; one convolution between as many has 40 GB


@pytest.fixture(scope="module", params=RUNS)
def widened(request: Any, forks: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A run of each command without its last file; the others, with valid digests, ask for more."""
    directory = tmp_path_factory.mktemp("huge") / "run"
    words = (*RUNS[request.param], f"hydra.run.dir={directory}")
    ended = forks.call(tiny_runs.run, request.param, *words)
    assert ended.code == 0, ended.err
    (directory / "summary.json").unlink()
    text = (directory / "config.yaml").read_text()
    assert text.count("channels: 1\n") == 1
    text = text.replace("channels: 1\n", f"channels: {HUGE}\n")
    (directory / "config.yaml").write_text(text)
    record = read_json(directory / "overrides.json") | {"config_digest": config_digest(text)}
    write_json(directory / "overrides.json", record)
    content = load_checkpoint(directory / "checkpoint.safetensors")
    content["config"]["space"]["channels"] = HUGE
    save_checkpoint(directory / "checkpoint.safetensors", request.param, content)
    return request.param, directory


@pytest.mark.parametrize("more", [(), ("dry_run=true",)], ids=["", "dry run"])
def test_a_huge_network_is_refused_before_it_is_allocated(
    widened: tuple[str, Path], forks: Any, more: tuple[str, ...]
) -> None:
    command, directory = widened
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    ended = forks.call(tiny_runs.run, command, f"resume={directory}", *more)
    assert one_line_problems(ended, {2}, "do not fit the network") == []
    assert str(directory / "checkpoint.safetensors") in ended.err
    assert ended.peak_bytes < 10**9
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
