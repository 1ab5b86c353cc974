"""Ten mistakes of the published DARTS code, one test each.

The docstrings say what that code does; each test would fail if this code did the same.
"""

from __future__ import annotations

import builtins
import copy
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from darts.searching import searcher
from PIL import Image
from torch import Tensor, nn

import darts.retrain
import darts.search
from darts.bilevel import first_order, unrolled
from darts.config import ConfigError, Invocation, compose
from darts.data import Batches, MemoryImages, load, load_split, stratified_split
from darts.methods.discretization import DISCRETISERS
from darts.methods.relaxation import RELAXATIONS
from darts.spaces import SearchContext
from darts.spaces.cnn import PRIMITIVES, PUBLISHED, Cnn, EdgewiseSupernet, Network
from darts.spaces.find import find_genotype
from darts.spaces.genotype import Genotype
from darts.training.checkpoint import load_checkpoint

Batch = tuple[Tensor, Tensor]


def supernet(**options: Any) -> EdgewiseSupernet:
    torch.manual_seed(0)
    return EdgewiseSupernet(**{"channels": 2, "cells": 3, "classes": 3, "nodes": 2} | options)


def batch(seed: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 8, 8, generator=draw), torch.randint(3, (4,), generator=draw)


def loss_fn(net: Any, given: Batch) -> Tensor:
    return F.cross_entropy(net(given[0]), given[1])


def run(command: str, directory: Path, *overrides: str) -> dict[str, Any]:
    """A command on the synthetic set, in this process."""
    given = ["dataset=synthetic", "device=cpu", "tracking.tensorboard=false", *overrides]
    config = compose(command, given)
    module: Any = getattr(darts, command)
    return getattr(module, command)(config, Invocation(directory, tuple(given)))


@pytest.mark.parametrize("hvp", ["finite_difference", "exact"])
def test_1_architecture_steps_leave_weights_statistics_and_momentum_alone(hvp: str) -> None:
    """Published: the architecture step runs the network in training mode, so that its forward
    passes move the running statistics; it adds R*v, subtracts 2*R*v and adds R*v again, which does
    not come back to the same floats; and it reads the momentum buffers inside a bare ``except``
    that takes zeros instead, so that a mistake goes unseen.
    """
    net = supernet()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    loss_fn(net, batch(0)).backward()
    optimizer.step()
    before = copy.deepcopy(net.state_dict())
    with_momentum = unrolled(net, loss_fn, batch(1), batch(2), optimizer, hvp=hvp)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    # The buffers do take part: without them the answer is another one.
    bare = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    without = unrolled(net, loss_fn, batch(1), batch(2), bare, hvp=hvp)
    assert not torch.allclose(with_momentum["normal"], without["normal"], rtol=1e-3)


@pytest.fixture
def first_net(monkeypatch: pytest.MonkeyPatch) -> list[EdgewiseSupernet]:
    """Searches in this process use a supernet of one node; as it began it is noted here, and that
    no weight step leaves a gradient at its alphas is seen to.
    """
    noted: list[EdgewiseSupernet] = []
    optimizer_step = searcher.optimizer_step

    def build(space: Cnn, *, depth: float, **options: Any) -> EdgewiseSupernet:
        net = EdgewiseSupernet(channels=space.channels, cells=space.cells, nodes=1, **options)
        noted.extend([copy.deepcopy(net), net])
        return net

    def watched(*args: Any, **options: Any) -> Tensor:
        norm = optimizer_step(*args, **options)
        assert all(alpha.grad is None for alpha in noted[1].alphas.values())
        return norm

    monkeypatch.setattr(Cnn, "supernet", build)
    monkeypatch.setattr(searcher, "optimizer_step", watched)
    return noted


@pytest.mark.parametrize("moving", [False, True])
def test_2_alphas_are_saved_with_the_network_and_trained_by_one_optimizer(
    tmp_path: Path, first_net: list[EdgewiseSupernet], moving: bool
) -> None:
    """Published: the alphas are bare tensors outside the state dict, so that a saved search cannot
    go on. Made into parameters carelessly, they fall to the weight optimizer as well, which then
    decays and moves them a second time.
    """
    net = supernet()
    assert {"alphas.normal", "alphas.reduce"} <= net.state_dict().keys()
    weights = {id(weight) for weight in net.weight_parameters()}
    assert not weights & {id(alpha) for alpha in net.alphas.values()}

    # With an architecture optimizer that stands still, a search does not move the alphas at all.
    rate = 0.1 if moving else 1e-30
    run(
        "search", tmp_path / "run", "epochs=2", "dataset.samples=64", "loader.batch_size=16",
        "space.channels=2", "space.cells=2", "optimizer.lr=0.5", "optimizer.weight_decay=0.1",
        "arch_optimizer.weight_decay=0", f"arch_optimizer.lr={rate}",
    )  # fmt: skip
    saved = load_checkpoint(tmp_path / "run" / "checkpoint.pt", "search")["searcher"]
    began = first_net[0]
    assert torch.equal(saved["net"]["alphas.reduce"], began.alphas["reduce"]) is not moving
    held = [len(saved[key]["param_groups"][0]["params"]) for key in ("optimizer", "arch_optimizer")]
    assert held == [len(began.weight_parameters()), 2]


def test_3_the_first_order_step_computes_no_gradient_of_a_weight() -> None:
    """Published: the first-order architecture step calls ``backward`` on the validation loss, which
    computes the gradient of every weight as well, only for it to be thrown away.
    """
    net = supernet()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    asked: list[bool] = []

    class Watch(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
            asked.append(ctx.needs_input_grad[1])
            return gradient, None

    def watched(view: Any, given: Batch) -> Tensor:
        logits = view(given[0])
        for weight in view.weight_parameters():
            logits = Watch.apply(logits, weight)
        return F.cross_entropy(logits, given[1])

    first_order(net, watched, batch(0), batch(1), optimizer)
    assert asked == [False] * len(net.weight_parameters())
    assert all(p.grad is None for p in net.parameters())


def test_4_edges_are_ranked_by_probability_and_none_takes_no_part() -> None:
    """Easily got wrong: ``none`` lowers the other probabilities of its edge, and so their rank
    among the edges, but is itself never chosen. To rank by raw alphas, or to leave ``none`` out of
    the softmax, gives another cell.
    """
    context = SearchContext.of(Cnn(), EdgewiseSupernet())

    def read(alpha: Tensor) -> Genotype:
        alphas = {"normal": alpha, "reduce": alpha}
        probabilities = RELAXATIONS["softmax"]().expected(alphas, context)
        genotype: Genotype = DISCRETISERS["argmax"]().genotype(probabilities, context)
        return genotype

    none, skip = PRIMITIVES.index("none"), PRIMITIVES.index("skip_connect")
    alpha = torch.zeros(14, 8)
    # Node 3 (rows 2 to 4): the largest raw alpha stands where `none` is larger by far.
    alpha[2, skip], alpha[2, none] = 6.0, 12.0
    alpha[3, skip] = 3.0
    alpha[4, skip] = 2.0
    genotype = read(alpha)
    assert genotype.normal[2:4] == (("skip_connect", 1), ("skip_connect", 2))
    # Where `none` beats everything everywhere, it still is in no genotype.
    alpha = torch.zeros(14, 8)
    alpha[:, none] = 20.0
    assert read(alpha).count("none") == 0


def test_5_the_split_is_shuffled_and_every_part_sees_every_class(
    tmp_path: Path, first_net: list[EdgewiseSupernet]
) -> None:
    """Published: the first half of the training indices is for the weights and the second for the
    alphas. On a folder, which is sorted by class, the two would see different classes.
    """
    labels = torch.arange(10).repeat_interleave(20)  # sorted by class, as a folder is
    weights, alphas = stratified_split(labels, (0.5, 0.5), seed=0)
    for part in (weights, alphas):
        assert labels[part].bincount().tolist() == [10] * 10
        assert not torch.equal(part, part.sort().values)
        assert len(labels[part][:20].unique()) > 2
    assert torch.equal(torch.cat([weights, alphas]).sort().values, torch.arange(200))

    summary = run("search", tmp_path, "epochs=1", "dataset.samples=64", "space.channels=2",
                  "space.cells=2", "loader.batch_size=32")  # fmt: skip
    assert summary["command"] == "search"
    labels = load("synthetic", samples=64).train.labels
    saved = load_split(tmp_path / "split.npz")
    parts = stratified_split(labels, (0.5, 0.5), seed=0)
    assert list(saved) == ["weights", "alphas"]
    assert all(torch.equal(saved[n], part) for n, part in zip(saved, parts, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for kind in ("ant", "bee"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for number in range(4):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / kind / f"{number}.png")
    return tmp_path


def test_6_workers_are_started_once(folder: Path) -> None:
    """Published: each step takes ``next(iter(valid_queue))``, which starts all the workers of the
    loader anew for a single batch, and so draws from a fresh shuffle each time.
    """
    source = load("imagefolder", root=folder, size=8, storage="disk")
    others = set(multiprocessing.active_children())

    def workers() -> set[int | None]:
        return {child.pid for child in multiprocessing.active_children() if child not in others}

    batches = Batches(
        source.train, torch.arange(8), batch_size=2, seed=0, stream="alphas", mean=source.mean,
        std=source.std, augmentation=None, shuffle=True, drop_last=True, device="cpu", workers=1,
    )  # fmt: skip
    try:
        stream: Iterator[Batch] = batches.stream()
        next(stream)
        first = workers()
        assert len(first) == 1
        epochs = [[*islice(stream, 3)], *([*islice(stream, 4)] for _ in range(3))]
        assert workers() == first
        # Without restarts an epoch has every image once.
        for epoch in epochs[1:]:
            assert len({tuple(image.flatten().tolist()) for x, _ in epoch for image in x}) == 8
        next(batches.epoch(7))  # even an iterator that is thrown away
        assert workers() == first
    finally:
        batches.close()


class Watched(MemoryImages):
    """Notes how many epochs were over each time its pixels were asked for."""

    def __init__(self, images: MemoryImages, log: Path) -> None:
        super().__init__(images.pixels, images.labels)
        self.log = log
        self.reads: list[int] = []

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        self.reads.append(len(self.log.read_text().splitlines()))
        return super().on(device)


def test_7_the_epoch_is_chosen_on_validation_data_and_the_test_split_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published: the training of the final network scores the test images after every epoch, and
    the best of those scores is what is reported.
    """
    load_real, score_real = darts.data_modules.data_module.load, darts.retrain.evaluate
    test_images: list[Watched] = []
    states: list[dict[str, Tensor]] = []
    script = [0.25, 0.75, 0.5, 0.125]  # validation accuracies: the second epoch is the best

    def load_watched(name: str, **options: Any) -> Any:
        source = load_real(name, **options)
        assert isinstance(source.test, MemoryImages)
        test_images.append(Watched(source.test, tmp_path / "metrics.jsonl"))
        return dataclasses.replace(source, test=test_images[0])

    def scripted(net: nn.Module, *args: Any, **options: Any) -> dict[str, float]:
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        scores = score_real(net, *args, **options)
        if len(states) <= len(script):
            scores["accuracy"] = script[len(states) - 1]
        return scores

    monkeypatch.setattr(darts.data_modules.data_module, "load", load_watched)
    monkeypatch.setattr(darts.retrain, "evaluate", scripted)
    summary = run(
        "retrain", tmp_path, "genotype=DARTS_V1", "epochs=4", "dataset.samples=96",
        "space.channels=2", "space.cells=2", "loader.batch_size=16", "validation=0.3",
    )  # fmt: skip
    assert (summary["epoch"], summary["valid_accuracy"]) == (2, 0.75)
    assert test_images[0].reads == [4]  # once, and after the last epoch
    assert len(states) == 5  # four times validation, once test
    chosen = load_checkpoint(tmp_path / "checkpoint.pt", "retrain")["chosen"]
    for name, value in chosen["net"].items():
        assert torch.equal(value, states[1][name])
        assert torch.equal(value, states[4][name])  # those weights are what was tested
    assert any(not torch.equal(value, states[3][name]) for name, value in chosen["net"].items())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["valid_accuracy"] for row in rows] == script
    assert not any(key.startswith("test") for row in rows for key in row)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (15, 10), (28, 28), (33, 31)])
def test_8_odd_sizes_and_a_last_batch_of_one(size: tuple[int, int]) -> None:
    """Published: FactorizedReduce concatenates halves of unequal size when a side is odd, the
    auxiliary head pools 5x5 at stride 3 and expects 8x8 states, and a last training batch of one
    image makes batch norm raise an error where only one pixel is left.
    """
    x = torch.randn(2, 3, *size)
    assert supernet()(x).shape == (2, 3)
    net = Network(PUBLISHED["DARTS_V2"].genotype, channels=2, cells=3, classes=3)
    logits, auxiliary = net(x, auxiliary=True)
    assert logits.shape == auxiliary.shape == (2, 3)

    source = load("synthetic", samples=9)
    batches = Batches(
        source.train, torch.arange(9), batch_size=4, seed=0, stream="train", mean=source.mean,
        std=source.std, augmentation=None, shuffle=True, drop_last=True, device="cpu",
    )  # fmt: skip
    for images, _ in batches.epoch(0):
        assert len(images) == 4
        net(images, auxiliary=True)
    assert net.eval()(x[:1]).isfinite().all()


@pytest.mark.parametrize("hvp", ["finite_difference", "exact"])
def test_9_no_network_is_built_for_the_second_order_step(
    hvp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published: each second-order step builds a whole new network, moves it to the GPU and loads
    a copied state dict into it, to hold the weights after the virtual step.
    """
    net = supernet()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    built: list[str] = []

    def forbid(owner: Any, name: str) -> None:
        def note(*args: Any, **options: Any) -> None:
            built.append(name)

        monkeypatch.setattr(owner, name, note)

    for layer in (nn.Conv2d, nn.BatchNorm2d, nn.Linear, EdgewiseSupernet):
        forbid(layer, "__init__")
    forbid(copy, "deepcopy")
    forbid(nn.Module, "load_state_dict")
    forbid(nn.Module, "state_dict")
    for seed in range(2):
        unrolled(net, loss_fn, batch(seed), batch(seed + 5), optimizer, hvp=hvp)
    assert not built
    nn.Linear(1, 1)
    assert built == ["__init__"]


HOSTILE = [
    "__import__('os').system('touch {mark}')",
    "Genotype(normal=[(__import__('os').system('touch {mark}'), 0)], normal_concat=[2], "
    "reduce=[('none', 0), ('none', 1)], reduce_concat=[2])",
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=open('{mark}', 'w').name, "
    "reduce=[('none', 0), ('none', 1)], reduce_concat=[2])",
    "exec(\"open('{mark}', 'w')\") or Genotype()",
    "genotypes.DARTS; open('{mark}', 'w')",
    "[open('{mark}', 'w') for _ in 'Genotype(']",
    "{{\"normal\": \"open('{mark}', 'w')\"}}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_10_a_genotype_is_read_and_never_evaluated(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published: ``eval("genotypes.%s" % name)`` runs whatever the command line says, and a found
    cell has to be pasted into a source file before it can be trained.
    """
    mark = tmp_path / "mark"
    text = text.format(mark=mark)
    (tmp_path / "genotype.json").write_text(text)

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("something was evaluated")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "eval", never)
        patched.setattr(os, "system", never)
        for read in (Genotype.parse, find_genotype):
            with pytest.raises(ValueError, match=r"\S") as caught:
                read(text)
            assert "\n" not in str(caught.value)
        for reference in (tmp_path, tmp_path / "genotype.json"):
            with pytest.raises(ValueError, match="genotype=") as caught:
                find_genotype(str(reference))
            assert "\n" not in str(caught.value)
    try:
        config = compose("retrain", [f"genotype={text}"])
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        with pytest.raises(ValueError, match=r"\S"):
            darts.retrain.check(config)
    assert not mark.exists()


def test_10_a_found_genotype_needs_no_source_file(tmp_path: Path) -> None:
    """See above: a name, a run directory, a file and the text itself all do."""
    genotype = PUBLISHED["DARTS_V2"].genotype
    (tmp_path / "genotype.json").write_text(genotype.to_json())
    references = ["DARTS_V2", str(tmp_path), str(tmp_path / "genotype.json"), str(genotype),
                  genotype.to_json()]  # fmt: skip
    for reference in references:
        assert find_genotype(reference)[1] == genotype
        config = compose("retrain", [f"genotype={reference}"])
        darts.retrain.check(config)
        assert find_genotype(config.genotype)[1] == genotype
