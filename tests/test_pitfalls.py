"""Mistakes of the published DARTS code, with their numbers in a list of ten.

The docstrings describe the published code; each test fails if this code does the same. The others
are tested elsewhere: that a step changes neither the network nor its optimizer, the first one, in
tests/methods/bilevel; that ``none`` lowers the rank of its edge and is never selected, the fourth
one, in tests/spaces/cnn/test_operations.py; that the workers of a loader start once, the sixth one,
and that a last batch of one image is dropped, in tests/data/test_data_batches.py; that sides of
images may be odd, the eighth one, in tests/spaces/cnn; and that the text of a genotype is never
executed, the tenth one, in tests/spaces/test_genotype.py.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from tiny_search import Batch, cross_entropy, make_batch
from torch import Tensor, nn

from darts.bilevel import first_order, unrolled
from darts.data import MemoryImages, load, load_split
from darts.data.split import stratified_split
from darts.data_modules import data_module
from darts.recipes import retrain as retrain_recipe
from darts.recipes.commands import run_command
from darts.searching import searcher
from darts.spaces.cnn import Cnn, EdgewiseSupernet
from darts.training.checkpoint import load_checkpoint


def make_supernet(**options: Any) -> EdgewiseSupernet:
    torch.manual_seed(0)
    return EdgewiseSupernet(**{"channels": 2, "cells": 3, "classes": 3, "nodes": 2} | options)


def run(command: str, directory: Path, *overrides: str) -> dict[str, Any]:
    common = ("tracking.tensorboard=false", "tracking.figures=false", "device=cpu")
    return run_command(command, ["dataset=synthetic", *common, *overrides], directory)


@pytest.fixture
def first_net(monkeypatch: pytest.MonkeyPatch) -> list[EdgewiseSupernet]:
    """A copy of the initial supernet of the next search in this process, and the supernet itself.

    The supernet has one node. Every weight step asserts that the alphas have no gradient.
    """
    nets: list[EdgewiseSupernet] = []
    optimizer_steps = searcher.optimizer_steps

    def build(space: Cnn, *, depth: float, **options: Any) -> EdgewiseSupernet:
        net = EdgewiseSupernet(channels=space.channels, cells=space.cells, nodes=1, **options)
        nets.extend([copy.deepcopy(net), net])
        return net

    def checked_steps(*args: Any, **options: Any) -> list[Tensor]:
        norms = optimizer_steps(*args, **options)
        assert all(alpha.grad is None for alpha in nets[1].alphas.values())
        return norms

    monkeypatch.setattr(Cnn, "supernet", build)
    monkeypatch.setattr(searcher, "optimizer_steps", checked_steps)
    return nets


@pytest.mark.parametrize("updated", [False, True])
def test_2_alphas_are_in_the_state_dict_and_in_one_optimizer(
    tmp_path: Path, first_net: list[EdgewiseSupernet], updated: bool
) -> None:
    """Published: the alphas are plain tensors outside the state dict, so a saved search cannot be
    resumed. If they simply become parameters, the weight optimizer also decays and updates them.
    """
    # Without an effective architecture optimizer, a search does not change the alphas.
    lr = 0.1 if updated else 1e-30
    run(
        "search", tmp_path / "run", "epochs=2", "dataset.samples=64", "loader.batch_size=16",
        "space.channels=2", "space.cells=2", "optimizer.lr=0.5", "optimizer.weight_decay=0.1",
        "arch_optimizer.weight_decay=0", f"arch_optimizer.lr={lr}",
    )  # fmt: skip
    saved = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors", "search")["searcher"]
    initial = first_net[0]
    assert torch.equal(saved["net"]["alphas.reduce"], initial.alphas["reduce"]) is not updated
    states = (saved["optimizer"], saved["arch_optimizer"])
    counts = [len(state["param_groups"][0]["params"]) for state in states]
    assert counts == [len(initial.weight_parameters()), 2]


def test_3_the_first_order_gradient_computes_no_weight_gradient() -> None:
    """Published: the first-order architecture step calls ``backward`` on the validation loss, which
    also computes the gradient of every weight and discards it.
    """
    net = make_supernet()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    computed: list[bool] = []

    class RecordGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
            computed.append(ctx.needs_input_grad[1])
            return gradient, None

    def recorded_loss(view: Any, batch: Batch) -> Tensor:
        logits = view(batch[0])
        for weight in view.weight_parameters():
            logits = RecordGradient.apply(logits, weight)
        return F.cross_entropy(logits, batch[1])

    first_order(net, recorded_loss, make_batch(0), make_batch(1), optimizer)
    assert computed == [False] * len(net.weight_parameters())
    assert all(p.grad is None for p in net.parameters())


def test_5_the_subsets_of_a_search_are_shuffled_and_stratified(
    tmp_path: Path, first_net: list[EdgewiseSupernet]
) -> None:
    """Published: the first half of the training indices trains the weights, the second half the
    alphas. In a folder, whose files are sorted by class, the halves have different classes. That
    other splits are stratified is tested in tests/data/test_data_split.py.
    """
    summary = run("search", tmp_path, "epochs=1", "dataset.samples=64", "space.channels=2",
                  "space.cells=2", "loader.batch_size=32")  # fmt: skip
    assert summary["command"] == "search"
    labels = load("synthetic", samples=64, classes=10, channels=3).train.labels
    saved = load_split(tmp_path / "split.npz")
    subsets = stratified_split(labels, (0.5, 0.5), seed=0)
    assert list(saved) == ["weights", "alphas"]
    assert all(torch.equal(saved[n], subset) for n, subset in zip(saved, subsets, strict=True))


class RecordedImages(MemoryImages):
    """Records the number of finished epochs at each access to the pixels."""

    def __init__(self, images: MemoryImages, log: Path) -> None:
        super().__init__(images.pixels, images.labels)
        self.log = log
        self.reads: list[int] = []

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        self.reads.append(len(self.log.read_text().splitlines()))
        return super().on(device)


def test_7_validation_data_select_the_epoch_and_the_test_split_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published: the training of the final network evaluates the test images after every epoch and
    reports the best of these scores.
    """
    load_real, score_real = data_module.load, retrain_recipe.evaluate
    test_images: list[RecordedImages] = []
    states: list[dict[str, Tensor]] = []
    script = [0.25, 0.75, 0.5, 0.125]  # validation accuracies; the second epoch is best

    def load_recorded(name: str, **options: Any) -> Any:
        source = load_real(name, **options)
        test_images.append(RecordedImages(source.test, tmp_path / "metrics.jsonl"))
        return dataclasses.replace(source, test=test_images[0])

    def scripted_scores(net: nn.Module, *args: Any, **options: Any) -> dict[str, float]:
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        scores = score_real(net, *args, **options)
        if len(states) <= len(script):
            scores["accuracy"] = script[len(states) - 1]
        return scores

    monkeypatch.setattr(data_module, "load", load_recorded)
    monkeypatch.setattr(retrain_recipe, "evaluate", scripted_scores)
    summary = run(
        "retrain", tmp_path, "genotype=DARTS_V1", "epochs=4", "dataset.samples=96",
        "space.channels=2", "space.cells=2", "loader.batch_size=16", "validation=0.3",
    )  # fmt: skip
    assert (summary["epoch"], summary["valid_accuracy"]) == (2, 0.75)
    assert test_images[0].reads == [4]  # once, after the last epoch
    assert len(states) == 5  # four times validation, once test
    best = load_checkpoint(tmp_path / "checkpoint.safetensors", "retrain")["best"]
    for name, value in best["net"].items():
        assert torch.equal(value, states[1][name])
        assert torch.equal(value, states[4][name])  # the test used these weights
    assert any(not torch.equal(value, states[3][name]) for name, value in best["net"].items())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["valid_accuracy"] for row in rows] == script
    assert not any(key.startswith("test") for row in rows for key in row)


@pytest.mark.parametrize("hvp", ["finite_difference", "exact"])
def test_9_a_second_order_step_builds_no_network(hvp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published: each second-order step builds a new network for the weights after the virtual
    step, moves it to the GPU and loads a copied state dict.
    """
    net = make_supernet()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    built = Mock(return_value=None)
    for layer in (nn.Conv2d, nn.BatchNorm2d, nn.Linear, EdgewiseSupernet):
        monkeypatch.setattr(layer, "__init__", built)
    monkeypatch.setattr(copy, "deepcopy", built)
    monkeypatch.setattr(nn.Module, "load_state_dict", built)
    monkeypatch.setattr(nn.Module, "state_dict", built)
    for seed in range(2):
        unrolled(net, cross_entropy, make_batch(seed), make_batch(seed + 5), optimizer, hvp=hvp)
    built.assert_not_called()
    nn.Linear(1, 1)
    built.assert_called_once_with(1, 1)
