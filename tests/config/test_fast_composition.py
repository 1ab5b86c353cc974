"""The tests compose faster than users, with the same results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from warm_python import WarmPython

from darts.config import compose, launch

CALLS = [
    ["search", "dataset=synthetic"],
    ["search", "dataset=synthetic", "epochs=3", "seed=4"],
    ["search", "dataset=synthetic", "method=drnas", "optimizer.lr=0.5"],
    ["search", "experiment=nas201_cpu", "seed=1"],
    ["search", "dataset=synthetic"],
    ["retrain", "dataset=synthetic", "genotype=DARTS_V2", "space.cells=3"],
    ["tune", "parameters.epochs=[1, 2]", "strategy=random"],
    ["judge", "dataset=synthetic", "judge=naswot"],
    ["compare", "dataset=synthetic", "method=gdas"],
]
PROGRAM = """
import json, sys
from darts.config import compose

for command, *overrides in json.loads(sys.argv[1]):
    print(repr(compose(command, overrides)))
"""


@pytest.mark.slow
def test_configurations_equal_those_of_another_process(warm_python: WarmPython) -> None:
    done = warm_python.run("-c", PROGRAM, json.dumps(CALLS))
    assert done.returncode == 0, done.stderr
    ours = [repr(compose(command, overrides)) for command, *overrides in CALLS]
    assert done.stdout.splitlines() == ours
    assert ours[0] == ours[4] != ours[1]


def test_few_files_are_read_again_for_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    original, read = FileConfigSource.load_config, []

    def load(self: FileConfigSource, config_path: str) -> Any:
        read.append(config_path)
        return original(self, config_path)

    monkeypatch.setattr(FileConfigSource, "load_config", load)
    counts = []
    for seed in range(3):
        launch("search", lambda _: None, lambda *_: None, ["dataset=synthetic", f"seed={seed}"])
        counts.append(len(read))
    assert counts[2] - counts[1] == counts[1] - counts[0] <= 1
