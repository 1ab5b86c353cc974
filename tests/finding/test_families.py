"""Families of networks, their baselines, and the execution of runs of ``darts.find``."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from darts.config import FindConfig, compose
from darts.finding.candidates import Networks
from darts.finding.decisions import Decisions
from darts.finding.execution import Execution, Stopwatch, newest_epoch
from darts.finding.families import BASELINES, FAMILIES, PLAIN_CELL, RESNET_CELL, Family
from darts.finding.limited_baselines import (
    largest_architecture,
    reduced_architecture,
    within_limits,
)
from darts.finding.setup import make_networks
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits.costs import CostMeter
from darts.recipes.commands import overrides_by_key
from darts.recipes.rules import settings
from darts.running.jobs import Executor, ExecutorError, Future, Job, Outcome
from darts.spaces import SPACES, AnyGenotype
from darts.spaces.lookup import find_genotype
from darts.spaces.network import FittedLayer

TINY = ("dataset=synthetic", "dataset.samples=32", "dataset.size=8", "device=cpu")


def genotype(text: str) -> AnyGenotype:
    return find_genotype(text)[1]


PLAIN, RESNET = genotype(PLAIN_CELL), genotype(RESNET_CELL)
LATE = genotype("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
EARLY = genotype("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|")


def networks(space: str, *more: str) -> Networks:
    family = Family(space, space, {}, {})
    user = overrides_by_key([*TINY, f"space={space}", *more])
    return Networks(family, {}, user, seed=0, metric=None)


@pytest.mark.parametrize("kind", FAMILIES)
def test_baselines_belong_to_the_space_of_their_family_and_most_have_neighbors(kind: str) -> None:
    """LSTMs and linear models are not in the spaces, so the first baseline may have none."""
    names = [family.name for family in FAMILIES[kind]]
    assert len(set(names)) == len(names)
    for family in FAMILIES[kind]:
        options = {name.removeprefix("space."): value for name, value in family.values.items()}
        space = SPACES[family.space]
        own = {name: value for name, value in options.items() if name in space.__dataclass_fields__}
        assert kind in space.data_kinds
        assert family.baselines
        points: list[object] = []
        for text in family.baselines.values():
            assert genotype(text).space == family.space
            with contextlib.suppress(ValueError):
                points.append(space(**own).encode(genotype(text)))
            points += space(**own).moves(genotype(text))
        assert points or family.name in ("text_256", "recurrent")


SHAPES = ((57, 1, 40), (1, 1, 5), (12, 5, 5), (1, 6, 7), (3, 9, 9), (1, 27, 18), (3, 60, 60))


@pytest.mark.parametrize(
    "shape", [s if s in SHAPES[:3] else pytest.param(s, marks=pytest.mark.slow) for s in SHAPES]
)
@pytest.mark.parametrize("family", FAMILIES["images"], ids=lambda family: family.name)
def test_networks_learn_from_small_and_from_long_thin_images(
    family: Family, shape: tuple[int, int, int]
) -> None:
    own = networks(family.space, *(f"{key}={value}" for key, value in family.values.items()))
    images = torch.randn(2, *shape)
    for baseline in family.genotypes().values():
        sizes = {"classes": 4, "in_channels": shape[0]}
        for net in (own.space.network(baseline, **sizes), own.space.supernet(**sizes)):
            for layer in net.modules():
                if isinstance(layer, FittedLayer):
                    layer.whiten(images)
            net(images).logsumexp(1).sum().backward()
            assert all(w.grad is None or w.grad.isfinite().all() for w in net.parameters())


def test_arrays_begin_without_shifts_and_mirroring_which_are_settings(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(40, 3, 1, 96))
    np.save(tmp_path / "train_x.npy", numbers)
    np.save(tmp_path / "train_y.npy", np.arange(40) % 2)
    config = compose("find", ["dataset=challenge", f"dataset.root={tmp_path}", "device=cpu"])
    facts, by_name = make_networks(config)
    own = by_name["convnet"]
    dataset = own.config.dataset
    assert (dataset.crop, dataset.flip, dataset.padding) == ("none", False, 6)  # type: ignore[attr-defined]
    options = {setting.name: setting.values for setting in settings(facts, own.values, ())}
    assert options["flip"] == {"dataset.flip": True, "mirror": True}
    assert options["shift"] == {"dataset.crop": "pad"}
    assert options["cutout"] == {"cutout": 32}


@pytest.mark.parametrize("space", BASELINES)
def test_baselines_of_a_chosen_space_belong_to_it(space: str) -> None:
    assert {genotype(text).space for text in BASELINES[space].values()} == {space}


def test_the_recipe_of_each_family_composes() -> None:
    config: FindConfig = compose("find", list(TINY))
    facts, by_name = make_networks(config)
    assert (facts.kind, facts.side) == ("images", 8)
    assert list(by_name) == [family.name for family in FAMILIES["images"]]
    for own in by_name.values():
        assert own.config.optimizer.schedule == "stable"
        assert own.config.evaluate_test is False
        assert own.config.average_power > 0
        assert own.costs(next(iter(own.baselines.values())))["parameters"] > 0


def test_the_largest_cell_of_nas_bench_201_has_only_3x3_convolutions() -> None:
    own = networks("nas201", "space.channels=2", "space.cells=1")
    assert largest_architecture(own) == PLAIN


def test_a_new_edge_gets_an_operation() -> None:
    own = networks("cnn")
    point = own.space.encode(genotype("DARTS_V2"))
    assert point["normal.5"] == "0+2"
    changed = own.architecture({**point, "normal.5": "0+4"})
    assert changed is not None
    assert own.space.encode(changed)["normal.5"] == "0+4"


@pytest.mark.slow
def test_the_largest_cell_of_darts_has_more_macs_than_published_ones() -> None:
    own = networks("cnn", "space.channels=2", "space.cells=1")
    macs = own.costs(largest_architecture(own))["macs"]
    assert all(own.costs(genotype(text))["macs"] < macs for text in BASELINES["cnn"].values())


def test_costs_are_those_of_the_network() -> None:
    own = networks("mlp")
    costs = own.costs(genotype('{"space": "mlp", "layers": ["relu_16"]}'))
    assert costs["macs"] == 192 * 16 + 16 * len(own.data.target_names)


def test_a_latency_limit_is_measured_even_if_other_costs_were_asked_for_first() -> None:
    own = replace(networks("mlp"), limits=CostMeter({"latency_ms": 1e-9}))
    net = genotype('{"space": "mlp", "layers": ["relu_16"]}')
    assert own.costs(net)["macs"] > 0
    assert not own.fits(net)
    assert replace(networks("mlp"), limits=CostMeter({"latency_ms": 1e9})).fits(net)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_baseline_beyond_the_limits_is_reduced_by_few_changes(share: float) -> None:
    own = networks("nas201", "space.channels=2", "space.cells=1")
    empty = genotype("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    fixed, whole = own.costs(empty)["macs"], own.costs(PLAIN)["macs"]
    limit = fixed + share * (whole - fixed)
    limited = replace(own, limits=CostMeter({"macs": limit}))
    reduced = reduced_architecture(limited, PLAIN)
    assert is_connected(reduced)
    assert reduced.simplified() == reduced
    assert limited.costs(reduced)["macs"] <= limit
    # One more 3x3 convolution would exceed the limit.
    convolution = (whole - fixed) / 6
    assert limited.costs(reduced)["macs"] + convolution > limit


def test_no_two_baselines_within_limits_compute_the_same_function() -> None:
    own = networks("nas201", "space.channels=2", "space.cells=1")
    limited = replace(own, limits=CostMeter({"macs": own.costs(LATE)["macs"]}))
    direct = genotype("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    baselines = {"late": LATE, "early": EARLY, "direct": direct}
    assert within_limits(limited, baselines) == {"late": LATE}


def test_a_baseline_within_the_limits_replaces_an_equal_reduced_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = networks("nas201", "space.channels=2", "space.cells=1")
    pooling = genotype("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|")
    reduced = {PLAIN: EARLY, RESNET: pooling}
    monkeypatch.setattr(
        "darts.finding.limited_baselines.reduced_architecture", lambda networks, own: reduced[own]
    )
    limited = replace(own, limits=CostMeter({"macs": own.costs(LATE)["macs"]}))
    baselines = {"plain": PLAIN, "resnet": RESNET, "late": LATE}
    fitting = within_limits(limited, baselines)
    assert list(fitting.items()) == [("resnet_reduced", pooling), ("late", LATE)]


def test_a_reduced_baseline_keeps_what_there_is_room_for() -> None:
    """Only one 3x3 convolution fits, so both residual connections and a 1x1 convolution stay."""
    own = networks("nas201", "space.channels=2", "space.cells=1")
    limit = own.costs(RESNET)["macs"] - 1
    reduced = reduced_architecture(replace(own, limits=CostMeter({"macs": limit})), RESNET)
    counts = Counter(name for _, _, name in reduced.edges("cell"))
    assert counts == {"nor_conv_3x3": 1, "nor_conv_1x1": 1, "skip_connect": 2, "none": 2}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_baseline_with_a_shape_is_reduced_by_moves(share: float) -> None:
    own = networks("macro", "space.skeleton=fast")
    plain = genotype(FAMILIES["images"][0].baselines["plain_16"])
    limits = {"macs": share * own.costs(plain)["macs"], "parameters": 50_000}
    limited = replace(own, limits=CostMeter(limits))
    reduced = reduced_architecture(limited, plain)
    costs = limited.costs(reduced)
    assert all(limit / 4 < costs[key] <= limit for key, limit in limits.items() if key == "macs")
    assert costs["parameters"] <= 50_000
    assert within_limits(limited, {"plain": plain}) == {"plain_reduced": reduced}


@pytest.mark.slow
def test_a_baseline_cannot_be_reduced_below_the_smallest_network() -> None:
    own = networks("nas201", "space.channels=2", "space.cells=1")
    assert reduced_architecture(replace(own, limits=CostMeter({"macs": 10})), PLAIN) is None


class FakeExecutor(Executor):
    """A run that fails, a job that cannot be executed, and one that never ends."""

    workers, threads = 3, 1

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        futures = [Future(job) for job in jobs]
        futures[0].set_result(Outcome(None, "it diverged"))
        futures[1].set_exception(ExecutorError("3 workers in a row died"))
        return futures


def test_an_error_of_the_executor_ends_the_race_at_once(tmp_path: Path) -> None:
    """It does not wait for the other runs, which the end of the executor stops."""
    messages: list[str] = []
    console: Any = SimpleNamespace(
        warn=messages.append, step=lambda seconds, **fields: None, status=lambda text: None
    )
    interrupt: Any = SimpleNamespace(received=None)
    stopwatch = Stopwatch(100.0, Decisions(tmp_path / "decisions.json"), clock=lambda: 0.0)
    execution = Execution(FakeExecutor(), console, interrupt, stopwatch)
    jobs = [Job(name, "retrain", tmp_path / name, ()) for name in ("a", "b", "c")]
    with pytest.raises(ExecutorError, match="3 workers"):
        execution.run(jobs)
    assert messages == ["a: it diverged"]


def test_a_job_that_is_alone_shows_its_epoch(tmp_path: Path) -> None:
    job = Job("final", "retrain", tmp_path, ())
    assert newest_epoch(job) == "final"
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "train_loss": 0.5}\n{"epoch": 2, "train_loss": 0.25}\n{"epoch": 3, "tr'
    )
    assert newest_epoch(job) == "final epoch 2 train_loss 0.25"
