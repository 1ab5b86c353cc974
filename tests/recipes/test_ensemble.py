"""The greedy selection of an ensemble, and its checkpoint in every command that takes one."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import darts
from darts.config import Invocation, compose
from darts.reading import read_json
from darts.recipes import ensemble as ensembles
from darts.recipes.ensemble import choose_members, fits_together, greedy_selection, save_ensemble
from darts.recipes.exporting import export
from darts.recipes.exporting.formats import FORMATS
from darts.recipes.exporting.network import ExportableNetwork
from darts.recipes.trained import TrainedNetwork
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.training.checkpoint import NETWORK, CheckpointError, load_checkpoint, save_checkpoint

Score = Callable[[Tensor], float]


def selected(predictions: Tensor, score: Score, rounds: int) -> list[int]:
    """Return the selection for a score of the mean of predictions ``(networks, samples, K)``."""

    def of_counts(counts: Sequence[int]) -> float:
        weights = torch.tensor(counts, dtype=predictions.dtype) / sum(counts)
        used = weights > 0  # also if another prediction is not a number
        return score((weights[used].view(-1, 1, 1) * predictions[used]).sum(0))

    return greedy_selection(len(predictions), of_counts, rounds=rounds)


def obvious_selection(predictions: Tensor, score: Score, rounds: int) -> list[int]:
    """Score the mean of every list of networks that extends the current one by one network."""

    def mean_score(names: list[int]) -> float:
        return score(torch.stack([predictions[name] for name in names]).mean(0))

    chosen: list[int] = []
    while len(chosen) < rounds:
        options = [[*chosen, name] for name in range(len(predictions))]
        found = min(options, key=lambda option: (-mean_score(option), len(set(option)), option[-1]))
        if chosen and mean_score(found) <= mean_score(chosen):
            break
        chosen = found
    return [chosen.count(name) for name in range(len(predictions))]


@pytest.mark.parametrize(
    "score_for",
    [
        lambda mean, classes: float((mean.argmax(-1) == classes).double().mean()),
        lambda mean, classes: float(mean[torch.arange(30), classes].log().mean()),
    ],
    ids=["accuracy", "negative loss"],
)
@pytest.mark.parametrize("seed", range(8))
def test_it_chooses_like_the_obvious_code(score_for: Any, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 3, (30,), generator=draw)
    logits = torch.randn(6, 30, 3, generator=draw, dtype=torch.float64)
    logits[..., 0] += 2 * (classes == 0)
    predictions, score = logits.softmax(-1), partial(score_for, classes=classes)
    for rounds in (1, 5, 12):
        expected = obvious_selection(predictions, score, rounds)
        found = selected(predictions, score, rounds)
        assert found == expected
        assert 1 <= sum(found) <= rounds


def test_equal_scores_keep_the_smaller_ensemble() -> None:
    same = torch.full((3, 4, 2), 0.5)
    assert selected(same, lambda mean: 1.0, 10) == [1, 0, 0]


def test_a_score_that_is_not_a_number_is_the_worst() -> None:
    predictions = torch.tensor([[[torch.nan]], [[1.0]], [[2.0]]])
    assert selected(predictions, lambda mean: float(mean.sum()), 5) == [0, 0, 1]
    never = selected(predictions, lambda mean: torch.nan, 5)
    assert never == [1, 0, 0]


@pytest.mark.parametrize(
    ("hits", "shares"),
    [
        ((0.7, 0.7, 0.3), ((0.3, 0.7), (0.3, 0.7), (0, 0))),
        ((0.7, 0.69, 0.3), ((0.3, 0.99), (0.01, 0.7), (0, 0))),
        ((0.9, 0.5, 0.5), ((1, 1), (0, 0), (0, 0))),
    ],
)
def test_networks_with_similar_scores_share_an_ensemble(
    hits: tuple[float, ...], shares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first samples are right, with certainty, so averaging two networks gains nothing."""
    classes = torch.randint(0, 2, (200,), generator=torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(1)
    ranks = [torch.randperm(200, generator=order) for _ in hits]
    outputs = {}
    for number, (share, rank) in enumerate(zip(hits, ranks, strict=True)):
        is_hit = rank < share * 200
        found = torch.where(is_hit, classes, 1 - classes)
        outputs[Path(str(number))] = (10.0 + number) * torch.nn.functional.one_hot(found, 2)
    objective = SimpleNamespace(metrics=CLASSIFICATION_METRICS)
    found = lambda path, _: (outputs[path], classes, objective)  # noqa: E731
    monkeypatch.setattr(ensembles, "validation_outputs", found)
    trained = SimpleNamespace(config=SimpleNamespace(task=SimpleNamespace(targets="classes")))
    monkeypatch.setattr(ensembles.TrainedNetwork, "load", lambda _: trained)

    choice = choose_members([[path] for path in outputs], "accuracy", higher_is_better=True)

    for count, (low, high) in zip(choice.counts, shares, strict=True):
        assert low <= count / sum(choice.counts) <= high
    assert choice.score >= max(hits) - 0.02


QUIET = ["tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false"]
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
SMALL = ["dataset=synthetic", "dataset.samples=96", "space.channels=4", "space.cells=1"]
SMALL += ["loader.batch_size=16"]
COUNTS = (2, 3, 1)


def retrained(folder: Path, genotype: str, *overrides: str, **options: Any) -> Path:
    own = [*QUIET, *overrides]
    return darts.retrain(genotype, out=folder, overrides=own, **options).directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Retrainings of networks of two spaces; one averages mirror images, one has a second head."""
    folder = tmp_path_factory.mktemp("runs")
    settings = [
        ("DARTS_V2", ["auxiliary=0.4", "space.cells=2"]),
        (CELL, ["space=nas201", "mirror=true"]),
        ("DARTS_V2", []),
    ]
    return [
        retrained(folder / f"run{seed}", genotype, *SMALL, *more, epochs=2, seed=seed)
        for seed, (genotype, more) in enumerate(settings)
    ]


@pytest.fixture(scope="module")
def ensemble(runs: list[Path]) -> Path:
    """The directory of an ensemble, with the validation samples of its first member."""
    folder = runs[0].parent / "ensemble"
    save_ensemble(folder, runs, COUNTS)
    shutil.copy(runs[0] / "split.npz", folder)
    return folder


def test_predictions_are_the_mean_of_those_of_the_members(runs: list[Path], ensemble: Path) -> None:
    images = torch.rand(5, 3, 8, 8)
    pairs = zip(COUNTS, runs, strict=True)
    terms = [count * darts.predict(run, images).probabilities for count, run in pairs]
    found = darts.predict(ensemble, images)
    torch.testing.assert_close(found.probabilities, torch.stack(terms).sum(0) / sum(COUNTS))
    assert found.names == darts.load(runs[0]).classes


def exported(checkpoint: Path, directory: Path, name: str) -> Any:
    """Export a network; return the summary."""
    config = compose("export", [f"checkpoint={checkpoint}", f"format={name}"])
    return export.export(config, Invocation(directory, ()))


def test_a_shared_file_has_the_same_network(ensemble: Path, tmp_path: Path) -> None:
    exported(ensemble, tmp_path, "safetensors")
    images = torch.rand(3, 3, 8, 8)
    expected = darts.predict(ensemble, images).probabilities
    assert darts.predict(tmp_path / "network.safetensors", images).probabilities.equal(expected)
    assert str(ensemble.parent).encode() not in (tmp_path / "network.safetensors").read_bytes()


def test_no_training_continues_from_it(runs: list[Path], ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no training continues from an ensemble"):
        retrained(tmp_path / "start", "DARTS_V2", *SMALL, f"start={ensemble}", epochs=1)
    continued = Path(shutil.copytree(runs[0], tmp_path / "run"))
    shutil.copy(ensemble / "checkpoint.safetensors", continued)
    message = "was written by find or export, not by retrain"
    with pytest.raises(CheckpointError, match=message):
        darts.retrain(resume=continued)


# Networks that do not fit together.


def test_networks_fit_together_whatever_their_space_and_training(runs: list[Path]) -> None:
    first, *others = (TrainedNetwork.load(str(run)) for run in runs)
    assert all(fits_together(first, other) and fits_together(other, first) for other in others)


def test_networks_of_other_data_do_not_fit(runs: list[Path], tmp_path: Path) -> None:
    other = retrained(tmp_path / "other", "DARTS_V2", *SMALL, "dataset.samples=64", epochs=1)
    first, second = (TrainedNetwork.load(str(run)) for run in (runs[0], other))
    assert not fits_together(first, second)


# Damaged checkpoints.


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda members: members[1].update(count=0), r"members\[1\].count: Expected int >= 1"),
        (
            lambda members: members[1]["config"].update(task={"name": "multi_label"}),
            r"members\[1\] cannot be in an ensemble of task=classification",
        ),
        (
            lambda members: members[2]["config"]["space"].update(channels=2**20),  # a terabyte
            "the weights do not fit the network, in members.2.",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    damage: Callable[[Any], None], message: str, ensemble: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(ensemble / "checkpoint.safetensors", NETWORK)
    damage(content["members"])
    entries = {key: value for key, value in content.items() if key not in ("format", "kind")}
    save_checkpoint(tmp_path / "checkpoint.safetensors", NETWORK, entries)
    with pytest.raises(CheckpointError, match=message) as caught:
        darts.load(tmp_path)
    assert "\n" not in str(caught.value)


# Files that run without this package.


@pytest.fixture(scope="module")
def mlp_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two retrainings that predict two numbers from two columns of a table, and their ensemble.

    The inputs of the second one have bins.
    """
    folder = tmp_path_factory.mktemp("regression")
    with (folder / "houses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["price", "size", "a", "b"])
        for a, b in np.random.default_rng(0).normal(size=(80, 2)).tolist():
            writer.writerow([300_000 + 50_000 * a, 90 + 20 * b, a, b])
    data = ["dataset=csv", f"dataset.root={folder / 'houses.csv'}", "dataset.labels=[price,size]"]
    made = []
    for width in (16, 32):
        genotype = f'{{"space": "mlp", "layers": ["relu_{width}"]}}'
        own = ("space=mlp", "task=regression", "epochs=2", f"dataset.bins={width - 16}")
        made.append(retrained(folder / f"run{width}", genotype, *data, *own))
    save_ensemble(folder / "ensemble", made, COUNTS[:2])
    return [*made, folder / "ensemble"]


def test_networks_with_and_without_bins_are_averaged(mlp_runs: list[Path]) -> None:
    rows = np.random.default_rng(1).normal(size=(9, 2))
    first, second, mean = (darts.predict(run, rows).values for run in mlp_runs)
    torch.testing.assert_close(mean, (2 * first + 3 * second) / 5)
    trained = [TrainedNetwork.load(str(run)) for run in mlp_runs[:2]]
    assert fits_together(*trained)
    assert fits_together(*reversed(trained))
    scaled = replace(trained[1], target_scale=None)
    assert not fits_together(trained[0], scaled)


@pytest.mark.parametrize("name", ["onnx", "torch_export"])
def test_exported_files_compute_the_same(name: str, mlp_runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    summary = exported(mlp_runs[-1], tmp_path, name)
    assert summary["difference"] < 1e-5
    model, rows = darts.load(mlp_runs[-1]), torch.randn(5, 2)
    chosen = FORMATS[name]
    trained = TrainedNetwork.load(str(mlp_runs[-1]))
    parts = trained.input_specs, trained.target_scale, trained.encoding
    network = ExportableNetwork(trained.build().eval(), *parts)
    (found,) = chosen.load(tmp_path / f"network{chosen.suffix}", network)([rows])
    expected = model(torch.stack([model.transform(row) for row in rows]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert read_json(tmp_path / "network.json")["names"] == list(trained.target_names)
    assert summary["parameters"] == sum(
        parameter.numel()
        for run in mlp_runs[:-1]
        for parameter in TrainedNetwork.load(str(run)).build().parameters()
    )
