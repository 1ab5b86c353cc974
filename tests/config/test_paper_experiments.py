"""The paper experiments have the authors' values: schedules at given epochs, sizes and lengths.

The numbers were read from, or computed by hand with, the authors' published code.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import conf
from darts.config import RetrainConfig, SearchConfig, compose
from darts.methods.stages import Stage, schedule_of, skip_dropout_at, stage_position
from darts.training.schedules import rate_of_epoch

EXPERIMENTS = Path(conf.__file__).parent / "experiment"
SEARCHES = sorted(file.stem for file in (EXPERIMENTS / "search").glob("paper_*.yaml"))
RETRAININGS = sorted(file.stem for file in (EXPERIMENTS / "retrain").glob("paper_*.yaml"))
CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
GENOTYPE = {"paper_nas201": CELL, "paper_drnas_nas201": CELL}

VARIANTS = {
    "paper_recurrent": "darts_v2",
    "paper_r_darts_dp": "r_darts",
    "paper_pc_darts_imagenet": "pc_darts",
    "paper_drnas_nas201": "drnas",
}
"""Searches whose names are not those of their methods."""


def search_config(name: str) -> SearchConfig:
    config = compose("search", [f"experiment={name}"])
    assert isinstance(config, SearchConfig)
    return config


def retrain_config(name: str) -> RetrainConfig:
    genotype = GENOTYPE.get(name, "DARTS_V2")
    config = compose("retrain", [f"experiment={name}", f"genotype='{genotype}'"])
    assert isinstance(config, RetrainConfig)
    return config


def learning_rate(config: SearchConfig, epoch: int) -> float:
    first, length = schedule_of(epoch, config.epochs, config.stages or [Stage()])
    return rate_of_epoch(config.optimizer, epoch - first, length)


@pytest.mark.slow
def test_every_method_has_both_experiments() -> None:
    methods = {file.stem for file in (EXPERIMENTS.parent / "method").glob("*.yaml")}
    assert set(SEARCHES) == {*(f"paper_{name}" for name in methods), *VARIANTS}
    assert set(RETRAININGS) == {*SEARCHES, "paper_nas201", "paper_darts_imagenet"}
    for name in SEARCHES:
        assert search_config(name).method == VARIANTS.get(name, name.removeprefix("paper_"))


def test_the_recurrent_cell_on_penn_treebank() -> None:
    search, retraining = search_config("paper_recurrent"), retrain_config("paper_recurrent")
    for config in (search, retraining):
        assert (config.dataset.name, config.task.name) == ("ptb", "language_model")
        optimizer = config.optimizer
        assert (optimizer.lr, optimizer.lr_min, optimizer.clip) == (20, 20, 0.25)
        dropouts = config.space.dropouts
        assert (dropouts.embedding, dropouts.input, dropouts.hidden, dropouts.output) == (
            0.2, 0.75, 0.25, 0.75
        )  # fmt: skip
    assert (search.epochs, search.loader.batch_size, search.space.hidden) == (50, 256, 300)
    assert search.arch_optimizer.betas == [0.9, 0.999]
    assert (search.optimizer.weight_decay, search.space.dropouts.word) == (5e-7, 0)
    assert (retraining.epochs, retraining.loader.batch_size, retraining.space.hidden) == (
        8000,
        64,
        850,
    )
    assert (retraining.optimizer.weight_decay, retraining.space.dropouts.word) == (8e-7, 0.1)
    defaults = compose("retrain", ["task=language_model", "dataset=ptb", "genotype=DARTS_RNN_V2"])
    assert isinstance(defaults, RetrainConfig)
    assert defaults.space.dropouts == retraining.space.dropouts


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("paper_darts_v1", {0: 0.025, 49: 0.0010237}),
        ("paper_pc_darts", {0: 0.1, 49: 9.87e-5}),
        ("paper_p_darts", {0: 0.025, 24: 9.86e-5, 25: 0.025, 74: 9.86e-5}),
        ("paper_drnas", {0: 0.1, 26: 0.0469}),
        ("paper_gdas", {0: 0.025, 249: 0.0010009}),
        ("paper_snas", {0: 0.025, 149: 0.0010026}),
        ("paper_fair_darts", {0: 0.005}),
        ("paper_pc_darts_imagenet", {0: 0.1, 4: 0.5, 5: 0.4878, 49: 4.93e-4}),
        ("paper_drnas_nas201", {0: 0.025, 99: 0.001006}),
    ],
)
def test_learning_rates(name: str, rates: dict[int, float]) -> None:
    config = search_config(name)
    for epoch, rate in rates.items():
        assert learning_rate(config, epoch) == pytest.approx(rate, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("paper_pc_darts", range(15)),
        ("paper_pc_darts_imagenet", range(35)),
        ("paper_drnas_nas201", ()),
        ("paper_p_darts", (*range(10), *range(25, 35), *range(50, 60))),
        ("paper_drnas", (*range(10), *range(25, 35))),
        ("paper_darts_v1", ()),
    ],
)
def test_epochs_with_frozen_alphas(name: str, frozen: Any) -> None:
    config = search_config(name)
    actual = []
    for epoch in range(config.epochs):
        position = stage_position(epoch, config.epochs, config.stages or [Stage()])
        if position.progress(epoch) < config.arch_optimizer.warmup:
            actual.append(epoch)
    assert actual == list(frozen)


def test_quantities_that_change_during_the_search() -> None:
    gdas, snas = (search_config(name).relaxation for name in ("paper_gdas", "paper_snas"))
    for relaxation, epochs, values in (
        (gdas, 250, {0: 10.0, 1: 9.960, 125: 5.030, 249: 0.1}),
        (snas, 150, {0: 0.9935, 1: 0.9871, 74: 0.515, 148: 0.0365, 149: 0.03}),
    ):
        for epoch, value in values.items():
            actual = relaxation.temperature_at(epoch / (epochs - 1))
            assert actual == pytest.approx(value, abs=1e-3)
    for name in ("paper_sdarts_rs", "paper_sdarts_adv"):
        perturbation = search_config(name).perturbation
        assert perturbation.radius_at(0) == pytest.approx(0.03)
        assert perturbation.radius_at(49 / 50) == pytest.approx(0.2946)
    minus = search_config("paper_darts_minus").relaxation
    assert [minus.auxiliary_weight(epoch / 50) for epoch in (0, 25, 49)] == pytest.approx(
        [1.0, 0.5, 0.02]
    )
    p_darts = search_config("paper_p_darts")
    rates = {25: 0.384, 34: 0.24, 35: 0.4, 49: 0.0243, 50: 0.672, 59: 0.42, 60: 0.7, 74: 0.0426}
    for epoch, rate in rates.items():
        position = stage_position(epoch, 75, p_darts.stages)
        stage, warmup = p_darts.stages[position.stage], p_darts.arch_optimizer.warmup
        assert skip_dropout_at(stage, position, epoch, warmup) == pytest.approx(rate, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("paper_darts_v2", {"bilevel": "unrolled", "batch": 64, "alpha_lr": 3e-4}),
        ("paper_pc_darts", {"batch": 256, "alpha_lr": 6e-4, "partial": 4}),
        ("paper_pc_darts_imagenet", {"batch": 1024, "alpha_lr": 6e-3, "partial": 2}),
        ("paper_pc_darts_imagenet", {"alpha_clip": 5.0, "portion": 0.8, "channels": 16}),
        ("paper_p_darts", {"batch": 96, "alpha_lr": 6e-4, "alpha_clip": 5.0, "cells": 5}),
        ("paper_drnas", {"channels": 36, "cells": 20, "partial": 6, "candidates": 7}),
        ("paper_fair_darts", {"batch": 128, "alpha_lr": 3e-3, "deviation": 0, "candidates": 7}),
        ("paper_gdas", {"epochs": 250, "batch": 256, "nesterov": True, "decay": 5e-4, "cells": 6}),
        ("paper_snas", {"epochs": 150, "batch": 64, "bilevel": "single_level", "alpha_clip": 10}),
        ("paper_snas", {"drop_path": (0.3, "constant"), "cutout": 0, "portion": 1.0}),
        ("paper_darts_es", {"bilevel": "unrolled", "decay": 3e-4, "stopping": "curvature"}),
        ("paper_r_darts", {"bilevel": "unrolled", "decay": 2.7e-3, "stopping": "never"}),
        ("paper_r_darts", {"drop_path": (0.0, "linear"), "cutout": 0}),
        ("paper_r_darts_dp", {"bilevel": "unrolled", "decay": 3e-4, "stopping": "never"}),
        ("paper_r_darts_dp", {"drop_path": (0.2, "linear"), "cutout": 16, "portion": 0.5}),
        ("paper_beta_darts", {"candidates": 7, "alpha_lr": 3e-4}),
        ("paper_lambda_darts", {"candidates": 7}),
        ("paper_darts_pt", {"candidates": 7}),
        ("paper_oles", {"candidates": 8}),
        ("paper_random_sharing", {"epochs": 150, "channels": 24, "clip": 1.0}),
    ],
)
def test_values_that_distinguish_a_search(name: str, values: dict[str, Any]) -> None:
    config = search_config(name)
    candidates = config.space.edge_candidates["normal"][0]
    actual = {
        "epochs": config.epochs,
        "batch": config.loader.batch_size,
        "nesterov": config.optimizer.nesterov,
        "decay": config.optimizer.weight_decay,
        "clip": config.optimizer.clip,
        "alpha_lr": config.arch_optimizer.lr,
        "alpha_clip": config.arch_optimizer.clip,
        "deviation": config.arch_optimizer.initial_deviation,
        "bilevel": config.bilevel.name,
        "stopping": config.stopping.name,
        "channels": config.space.channels,
        "cells": config.space.cells,
        "partial": config.relaxation.partial,
        "candidates": len(candidates),
        "drop_path": (config.drop_path, config.drop_path_schedule),
        "cutout": config.cutout,
        "portion": config.train_portion,
    }
    assert {key: actual[key] for key in values} == values
    assert ("none" in candidates) is (len(candidates) == 8)


RECIPE = {
    "epochs": 600, "batch": 96, "lr": 0.025, "decay": 3e-4, "nesterov": False, "clip": 5.0,
    "drop_path": 0.2, "cutout": 16, "auxiliary": 0.4, "channels": 36, "cells": 20,
}  # fmt: skip
IMAGENET = {
    "epochs": 250, "decay": 3e-5, "drop_path": 0.0, "cutout": 0, "channels": 48, "cells": 14,
}  # fmt: skip
BENCHMARK: dict[str, object] = {
    "epochs": 200, "batch": 256, "lr": 0.1, "decay": 5e-4, "nesterov": True, "clip": 0.0,
    "drop_path": 0.0, "cutout": 0, "auxiliary": 0.0, "channels": 16, "cells": 5,
}  # fmt: skip
OTHERS: dict[str, dict[str, object]] = {
    "paper_pc_darts": {"drop_path": 0.3},
    "paper_p_darts": {"batch": 128, "drop_path": 0.3},
    "paper_drnas": {"batch": 64, "drop_path": 0.3},
    "paper_gdas": {"epochs": 300, "decay": 5e-4, "nesterov": True, "clip": 0.0},
    "paper_darts_es": {"channels": 16, "cells": 8},
    "paper_r_darts": {"channels": 16, "cells": 8},
    "paper_r_darts_dp": {"channels": 16, "cells": 8},
    "paper_darts_imagenet": IMAGENET | {"batch": 128, "lr": 0.1},
    "paper_pc_darts_imagenet": IMAGENET | {"batch": 1024, "lr": 0.5},
    "paper_drnas_nas201": BENCHMARK,
    "paper_nas201": BENCHMARK,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RETRAININGS if name != "paper_recurrent"])
def test_retrainings_use_all_images_and_the_last_epoch(name: str) -> None:
    config = retrain_config(name)
    assert (config.validation, config.selection, config.optimizer.lr_min) == (0, "last", 0)
    actual = {
        **{key: getattr(config, key) for key in ("epochs", "drop_path", "cutout", "auxiliary")},
        "batch": config.loader.batch_size,
        "lr": config.optimizer.lr,
        "decay": config.optimizer.weight_decay,
        "nesterov": config.optimizer.nesterov,
        "clip": config.optimizer.clip,
        "channels": config.space.channels,
        "cells": config.space.cells,
    }
    assert actual == RECIPE | OTHERS.get(name, {})


def test_the_learning_rates_of_imagenet() -> None:
    """Recorded from the schedules of the authors' code, at epochs counted from 0."""
    darts, partial = (
        retrain_config("paper_darts_imagenet"),
        retrain_config("paper_pc_darts_imagenet"),
    )
    expected = {0: 0.1, 1: 0.097, 249: 0.1 * 0.97**249}
    actual = {epoch: rate_of_epoch(darts.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected)
    expected = {0: 0.1, 4: 0.5, 5: 0.48980, 244: 0.00204, 245: 0.00204, 249: 0.000408}
    actual = {epoch: rate_of_epoch(partial.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected, rel=2e-3)
    for config in (darts, partial):
        assert config.dataset.color_jitter == [0.4, 0.4, 0.4, 0.2]
        assert (config.space.stem, config.label_smoothing, config.auxiliary) == (
            "imagenet",
            0.1,
            0.4,
        )


@pytest.mark.parametrize("name", SEARCHES)
def test_experiments_are_complete(name: str) -> None:
    """Other defaults of the configuration would not change a paper experiment."""
    text = (EXPERIMENTS / "search" / f"{name}.yaml").read_text("utf-8")
    config = search_config(name)
    for section in ("optimizer", "arch_optimizer"):
        for field in dataclasses.fields(getattr(config, section)):
            if field.name in ("decay", "cooldown"):  # of schedules that no search has
                continue
            assert f"\n  {field.name}:" in text, f"{section}.{field.name}"
