"""The tests compose faster than users, with the same results."""

from __future__ import annotations

import json

import pytest
from warm_python import WarmPython

from darts.config import compose

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
