"""Every method of ``conf/method`` searches, on every space that has what it needs."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

import conf
from darts import search
from darts.config import launch
from darts.spaces import SPACES, parse_genotype
from darts.tracking import read_json, read_metrics

METHODS = sorted(file.stem for file in (Path(conf.__file__).parent / "method").glob("*.yaml"))
TINY = (
    *("dataset=synthetic", "dataset.samples=64", "loader.batch_size=64"),
    *("tracking.tensorboard=false", "space.channels=4", "space.cells=1", "epochs=1"),
)
# As many epochs as there are stages, or as it takes until the method does what sets it apart.
NEEDS = {
    "beta_darts": ("epochs=2",),
    "darts_pt": ("discretize.tune=0", "discretize.batches=1", "space.candidates=s2"),
    "drnas": ("epochs=2", "space.channels=6"),
    "lambda_darts": ("epochs=2",),
    "oles": ("freezing.window=1",),
    "p_darts": ("epochs=3",),
    "random_sharing": ("discretize.samples=4", "discretize.finalists=2"),
}


@pytest.fixture(autouse=True, scope="module")
def _no_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "draw_search", lambda *_, **__: None)
        yield


def run(folder: Path, *overrides: str, fresh: bool = True) -> dict[str, Any]:
    """The summary of a search in this process."""
    given = [*TINY, f"hydra.run.dir={folder}"] if fresh else [f"resume={folder}"]
    with redirect_stdout(io.StringIO()):
        result: dict[str, Any] = launch("search", search.check, search.search, [*given, *overrides])
    return result


def needs(method: str, space: str) -> list[str]:
    own = [o for o in NEEDS.get(method, ()) if space == "cnn" or "candidates" not in o]
    return [f"method={method}", f"space={space}", *own]


@pytest.mark.parametrize("space", ["cnn", "nas201"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_finds_an_architecture(method: str, space: str, tmp_path: Path) -> None:
    overrides = needs(method, space)
    summary = run(tmp_path, *overrides)
    genotype = parse_genotype((tmp_path / "genotype.json").read_text(encoding="utf-8"))
    assert genotype.space == space
    assert str(genotype) == summary["genotype"]
    assert summary == read_json(tmp_path / "summary.json")
    assert summary["name"] == f"synthetic-{method}"
    assert math.isfinite(summary["valid_loss"])
    assert 0 <= summary["valid_accuracy"] <= 1
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, summary["epochs"] + 1))
    # The genotype's network can be built and run.
    net = SPACES[space](channels=4, cells=1).network(genotype, classes=3, in_channels=3)
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 3)


def test_what_sets_methods_apart_has_happened(tmp_path: Path) -> None:
    """Of those whose mark is seen from outside, on the smaller space."""

    def state(method: str, *overrides: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        folder = tmp_path / method
        run(folder, *needs(method, "nas201"), *overrides)
        content = torch.load(folder / "checkpoint.pt", weights_only=True)
        return read_metrics(folder / "metrics.jsonl"), content

    rows, content = state("random_sharing")
    assert rows[0]["arch_grad_norm"] == 0  # alphas do not move
    rows, content = state("r_darts")
    assert math.isfinite(rows[0]["eigenvalue"])
    assert content["eigenvalues"] == [rows[0]["eigenvalue"]]
    rows, content = state("pc_darts", "epochs=4")
    assert [row["arch_grad_norm"] > 0 for row in rows] == [False, False, True, True]  # warm-up
    assert content["searcher"]["net"]["alphas.cell_edges"].shape == (6,)
    rows, content = state("oles", "freezing.threshold=1")
    assert content["searcher"]["frozen"]["frozen"]
    rows, content = state("p_darts")
    assert content["searcher"]["stage"] == 2
    assert content["searcher"]["kept"]["cell"].sum(1).eq(2).all()  # 0.375 of five
    rows, content = state("drnas")
    assert content["searcher"]["stage"] == 1
    assert content["searcher"]["kept"]["cell"].sum(1).eq(3).all()  # half of five
    rows, content = state("darts_pt")
    assert content["searcher"]["kept"]["cell"].sum(1).eq(1).all()
    assert content["decided"]["questions"] == []


@pytest.mark.parametrize(
    "overrides",
    [
        [
            *("method=drnas", "relaxation.partial=2", "bilevel=unrolled", "epochs=2"),
            *("discretize=perturbation", "discretize.tune=0"),
        ],
        [
            *("method=gdas", "bilevel=unrolled", "perturbation=adversarial", "epochs=2"),
            *("regularizer=alignment", "freezing=gradient_matching", "freezing.window=1"),
        ],
        [
            *("method=darts_minus", "relaxation=sigmoid", "relaxation.edge_normalisation=true"),
            *("relaxation.auxiliary_skip=1", "relaxation.partial=2", "perturbation=random"),
            *("discretize=perturbation", "discretize.tune=1", "stopping=curvature"),
        ],
        [
            *("method=random_sharing", "discretize=perturbation", "discretize.tune=1"),
            "penalty.flops=1000",
        ],
    ],
)
def test_parts_combine_freely(overrides: list[str], tmp_path: Path) -> None:
    summary = run(tmp_path, "space=nas201", *overrides)
    assert parse_genotype(summary["genotype"]).space == "nas201"
    assert math.isfinite(summary["valid_loss"])


@pytest.mark.parametrize("part", ["bilevel=first_order", "stopping=curvature"])
def test_without_alphas_there_is_no_gradient_of_them(part: str, tmp_path: Path) -> None:
    told = io.StringIO()
    with redirect_stderr(told), pytest.raises(SystemExit) as left:
        run(tmp_path, "method=random_sharing", part)
    assert left.value.code == 2
    assert len(told.getvalue().splitlines()) == 1
    assert "relaxation=uniform" in told.getvalue()
    assert part in told.getvalue()


class Crash(RuntimeError):
    """Stands for whatever ends a process without warning."""


def same(a: Any, b: Any) -> bool:
    """Whether nested structures are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.equal(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ("p_darts", 5),  # within the third stage
        ("p_darts", 4),  # between the second and the third
        ("drnas", 5),  # within the second stage, whose weights were widened
        ("oles", 3),
        ("sdarts_adv", 3),
    ],
)
def test_killed_and_resumed_it_ends_the_same(
    method: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, after a crash that loses the step it happens in; two steps an epoch."""
    channels = 6 if method == "drnas" else 4
    given = [
        f"method={method}",
        "space=nas201",
        "loader.batch_size=16",
        f"space.channels={channels}",
    ]
    given += ["epochs=3", "save_minutes=0", "freezing.window=1"][: 3 if method == "oles" else 2]
    whole = run(tmp_path / "whole", *given)
    real, seen = search.require_finite, iter(range(steps))

    def failing(*arguments: Any) -> float:
        if next(seen, None) is None:
            raise Crash
        return float(real(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(search, "require_finite", failing)
        with pytest.raises(Crash):
            run(tmp_path / "broken", *given)
    resumed = run(tmp_path / "broken", fresh=False)
    for key in whole.keys() - {"seconds", "joules", "joules_source"}:
        assert resumed[key] == whole[key], key
    files = (tmp_path / name / "checkpoint.pt" for name in ("broken", "whole"))
    ours, theirs = (torch.load(file, weights_only=True) for file in files)
    for key in theirs.keys() - {"energy", "config", "metrics_offset"}:
        assert same(ours[key], theirs[key]), f"{key} differs"
