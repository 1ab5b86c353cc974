"""The paper experiments have the authors' values: schedules at given epochs, sizes and lengths.

The numbers were read from, or computed by hand with, the authors' published code.
"""

from __future__ import annotations

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
    return compose("search", [f"experiment={name}"])


def retrain_config(name: str) -> RetrainConfig:
    genotype = GENOTYPE.get(name, "DARTS_V2")
    return compose("retrain", [f"experiment={name}", f"genotype='{genotype}'"])


@pytest.mark.slow
def test_every_method_has_both_experiments() -> None:
    methods = {file.stem for file in (EXPERIMENTS.parent / "method").glob("*.yaml")}
    assert set(SEARCHES) == {*(f"paper_{name}" for name in methods), *VARIANTS}
    assert set(RETRAININGS) == {*SEARCHES, "paper_nas201", "paper_darts_imagenet"}
    for name in SEARCHES:
        assert search_config(name).method == VARIANTS.get(name, name.removeprefix("paper_"))


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
        ("paper_pc_darts_imagenet", {0: 0.1, 2: 0.3, 4: 0.5, 5: 0.4878, 49: 4.93e-4}),
        ("paper_drnas_nas201", {0: 0.025, 99: 0.001006}),
    ],
)
def test_learning_rates(name: str, rates: dict[int, float]) -> None:
    config = search_config(name)
    for epoch, rate in rates.items():
        first, length = schedule_of(epoch, config.epochs, config.stages or [Stage()])
        found = rate_of_epoch(config.optimizer, epoch - first, length)
        assert found == pytest.approx(rate, rel=2e-3)


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
    rates = {25: 0.384, 30: 0.304, 34: 0.24, 35: 0.4, 36: 0.3275, 40: 0.1472, 49: 0.0243}
    rates |= {50: 0.672, 59: 0.42, 60: 0.7, 74: 0.0426}
    for epoch, rate in rates.items():
        position = stage_position(epoch, 75, p_darts.stages)
        stage, warmup = p_darts.stages[position.stage], p_darts.arch_optimizer.warmup
        assert skip_dropout_at(stage, position, epoch, warmup) == pytest.approx(rate, abs=1e-4)


def test_the_learning_rates_of_imagenet() -> None:
    """Recorded from the schedules of the authors' code, at epochs counted from 0."""
    darts, partial = (
        retrain_config("paper_darts_imagenet"),
        retrain_config("paper_pc_darts_imagenet"),
    )
    expected = {0: 0.1, 1: 0.097, 249: 0.1 * 0.97**249}
    actual = {epoch: rate_of_epoch(darts.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected)
    expected = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 5: 120 / 245, 125: 60 / 245}
    expected |= {244: 0.5 / 245, 245: 0.5 / 245, 247: 0.3 / 245, 249: 0.1 / 245}
    actual = {epoch: rate_of_epoch(partial.optimizer, epoch, 250) for epoch in expected}
    assert actual == pytest.approx(expected)
    for config in (darts, partial):
        assert config.dataset.color_jitter == [0.4, 0.4, 0.4, 0.2]
        assert (config.space.stem, config.label_smoothing, config.auxiliary) == (
            "imagenet",
            0.1,
            0.4,
        )
