"""Exported files: whether they agree with the network, and weights in one file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

import darts
from darts.recipes.exporting.export import save_network
from darts.recipes.exporting.network import one_by_one, quiet, without_layouts
from darts.recipes.exporting.validation import score_drop
from darts.recipes.trained import TrainedNetwork


@pytest.mark.parametrize(
    ("metric", "higher", "before", "after", "expected"),
    [
        ("accuracy", True, 0.9, 0.88, 0.02),  # a difference of fractions
        ("accuracy", True, 0.9, 0.92, -0.02),
        ("rmse", False, 200.0, 210.0, 0.05),  # relative to the network
        ("rmse", False, 200.0, 190.0, -0.05),
        ("r2", True, -0.5, -0.6, 0.2),
        ("rmse", False, 0.0, 0.0, 0.0),
    ],
)
def test_the_drop_is_positive_if_the_file_is_worse(
    metric: str, higher: bool, before: float, after: float, expected: float
) -> None:
    drop = score_drop(metric, before, after, higher_is_better=higher)
    assert drop == pytest.approx(expected)


class Layouts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.contiguous(memory_format=torch.channels_last).relu()
        return y.view_as(y) + y.view_as(torch.empty(2, 3, 16)).sum()


@pytest.mark.slow  # imports of torch.export
def test_operations_that_only_change_the_layout_are_removed() -> None:
    x = torch.randn(2, 3, 4, 4)
    with quiet():
        module = torch.export.export(Layouts(), (x,)).module()
        cleaned = without_layouts(module)
    names = [str(node.target) for node in cleaned.graph.nodes]
    assert "aten.contiguous.default" not in names
    assert names.count("aten.view_as.default") == 1  # the one that changes the shape remains
    torch.testing.assert_close(cleaned(x), Layouts()(x))


def test_a_graph_of_one_sample_takes_batches() -> None:
    run = Mock(side_effect=lambda sample: sample.flatten(1).sum(1, keepdim=True))
    samples = torch.randn(5, 3, 2, 2)
    (out,) = one_by_one(run)([samples])
    torch.testing.assert_close(out, samples.sum((1, 2, 3))[:, None])
    assert [len(call.args[0]) for call in run.call_args_list] == [1] * 5


def test_exporters_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("python")
        sys.stderr.write("errors")

        os.write(1, b"library")
    print("afterwards")
    assert capfd.readouterr() == ("afterwards\n", "")


QUIET = ["tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small = ["space.channels=4", "space.cells=2", "dataset.samples=48", "auxiliary=0.4"]
    return darts.retrain(
        "DARTS_V2", data="synthetic", epochs=1, out=folder / "run", overrides=[*QUIET, *small]
    ).directory


def test_no_path_of_this_machine_is_in_the_file(run: Path, tmp_path: Path) -> None:
    trained = TrainedNetwork.load(str(run))
    trained.config.dataset.root = "/home/me/secret"
    trained.config.resume = trained.config.start = "/home/me/runs"
    save_network(trained, tmp_path / "network.safetensors")
    assert b"/home/me" not in (tmp_path / "network.safetensors").read_bytes()
