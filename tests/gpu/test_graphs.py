"""Trainings with CUDA graphs, on a pretended GPU, equal those without, and launch little."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from test_budgets import IMAGES, run_program

TWO_EPOCHS = (*IMAGES, "epochs=2", "arch_optimizer.warmup=0")
CNN = (*TWO_EPOCHS, "space.channels=4", "space.cells=2")
NAS201 = (*TWO_EPOCHS, "space=nas201", "space.channels=4", "space.cells=1")
MACRO = (*TWO_EPOCHS, "space=macro", "space.channels=4")
RETRAINING = (
    *(setting for setting in IMAGES if setting != "collapse.every=0"),
    *("epochs=2", "genotype=DARTS_V2", "space.channels=4", "space.cells=3"),
    *("validation=0.5", "drop_path=0.3"),
)
MLP = (*TWO_EPOCHS, "space=mlp")

# Reading the batches and recording the metrics take about 40 launches, which are not captured.
LAUNCHES = 60
# The synthetic data set gives four steps per epoch.
REPLAYED = [0, 1, 1, 1] * 2

Case = dict[str, Any]
CAPTURED: dict[str, Case] = {
    "cnn": {"overrides": CNN},
    "cnn, penalty": {"overrides": (*CNN, "penalty.flops=1e6")},
    "nas201, second order": {"overrides": (*NAS201, "method=darts_v2")},
    "nas201, exact product": {"overrides": (*NAS201, "bilevel=unrolled", "bilevel.hvp=exact")},
    "nas201, pc_darts": {"overrides": (*NAS201, "method=pc_darts")},
    # Two stages: the second one has fewer candidates and wider channels.
    "nas201, drnas": {"overrides": (*NAS201, "method=drnas")},
    "nas201, snas": {"overrides": (*NAS201, "method=snas")},
    "nas201, fair_darts": {"overrides": (*NAS201, "method=fair_darts")},
    "nas201, beta_darts": {"overrides": (*NAS201, "method=beta_darts")},
    "nas201, darts_minus": {"overrides": (*NAS201, "method=darts_minus")},
    "nas201, sdarts_rs": {"overrides": (*NAS201, "method=sdarts_rs")},
    "nas201, single level": {"overrides": (*NAS201, "bilevel=single_level")},
    "nas201, bfloat16": {"overrides": (*NAS201, "precision=bf16")},
    "nas201, AdamW": {"overrides": (*NAS201, "optimizer.algorithm=adam")},
    "macro": {"overrides": MACRO},
    "macro, sdarts_rs": {"overrides": (*MACRO, "method=sdarts_rs")},
    "macro, plain": {"overrides": (*MACRO, "space.skeleton=plain")},
    "mlp": {"overrides": MLP},
    "retraining": {"command": "retrain", "overrides": RETRAINING},
    "retraining, AdamW": {
        "command": "retrain",
        "overrides": (*RETRAINING, "optimizer.algorithm=adam", "optimizer.nesterov=false"),
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]


def compare_all(cases: dict[str, Case], folder: Path) -> dict[str, Any]:
    """Run each case with and without graphs; return by name what ``compare`` returns."""
    given = [[name, {**case, "overrides": list(case["overrides"])}] for name, case in cases.items()]
    results: dict[str, Any] = run_program("run_on_gpu.py", folder, given=given)
    assert all(result["compared"] > 250 for result in results.values())
    return results


def compare(case: Case, folder: Path) -> dict[str, Any]:
    return compare_all({"case": case}, folder)["case"]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compare_all(CAPTURED, tmp_path_factory.mktemp("captured"))


@pytest.mark.parametrize("name", CAPTURED)
def test_a_training_with_graphs_equals_one_without(name: str, captured: dict[str, Any]) -> None:
    result = captured[name]
    assert result["differences"] == []
    assert result["printed"] == []
    assert result["graphs"] == REPLAYED
    launches = [n for n, graph in zip(result["launches"], REPLAYED, strict=True) if graph]
    assert max(launches) <= LAUNCHES


def test_stages_with_other_candidates_and_dropout_have_graphs_of_their_own(tmp_path: Path) -> None:
    """From its second stage on, P-DARTS drops outputs, with random numbers of the GPU."""
    result = compare({"overrides": (*NAS201, "method=p_darts", "epochs=3")}, tmp_path)
    assert result["differences"] == []
    assert result["graphs"] == [0, 1, 1, 1] * 3
    assert result["printed"] == []


def test_other_searches_run_without_graphs(tmp_path: Path) -> None:
    result = compare({"overrides": (*NAS201, "method=gdas")}, tmp_path)
    assert result["differences"] == []
    assert not any(result["graphs"])
    assert [line.partition(" ")[2] for line in result["printed"]] == [
        "graphs=auto: no CUDA graphs, because relaxation=gumbel does not support them"
    ]


def test_repeated_random_numbers_of_the_gpu_prevent_graphs(tmp_path: Path) -> None:
    result = compare({"overrides": (*NAS201, "method=drnas", "bilevel=unrolled")}, tmp_path)
    assert result["differences"] == []
    assert not any(result["graphs"])
    assert len(result["printed"]) == 1
    assert "its steps use random numbers of the GPU twice" in result["printed"][0]


@pytest.mark.parametrize("kill", [3, 6])
def test_a_resumed_search_with_graphs_equals_one_without(kill: int, tmp_path: Path) -> None:
    overrides = (*NAS201, "method=drnas", "save_minutes=0")
    result = compare({"overrides": overrides, "kill": kill}, tmp_path)
    assert result["differences"] == []
    assert sum(result["graphs"]) > 0


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_search_resumes_on_another_device(first: str, then: str, tmp_path: Path) -> None:
    case = {
        "overrides": (*NAS201, "save_minutes=0"),
        "second": [f"device={first}"],
        "kill": 6,
        "resume": {"device": then},
    }
    expected, found = compare(case, tmp_path)["losses"]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_graph_that_outlives_its_epoch_would_be_noticed(tmp_path: Path) -> None:
    """The comparison finds the learning rate of the first epoch in the second one."""
    result = compare({"overrides": NAS201, "keep_graphs": True}, tmp_path)
    assert result["graphs"] == [0, 1, 1, 1, 1, 1, 1, 1]
    assert any("optimizer" in place for place in result["differences"])
