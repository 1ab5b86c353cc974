"""Every method of ``conf/method`` runs on every space that supports it."""

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
from darts.config import launch
from darts.reading import read_json
from darts.recipes import search
from darts.spaces import SPACES
from darts.tracking import read_metrics
from darts.training import loop
from darts.training.checkpoint import load_checkpoint

METHODS = sorted(file.stem for file in (Path(conf.__file__).parent / "method").glob("*.yaml"))
TINY = (
    *("dataset=synthetic", "dataset.samples=64", "loader.batch_size=64"),
    *("tracking.tensorboard=false", "epochs=1"),
)
ONE_CELL = ("space.channels=4", "space.cells=1")
# Overrides that make the characteristic steps of a method happen within a short search.
OVERRIDES = {
    "beta_darts": ("epochs=2",),
    "darts_pt": ("discretize.tune=0", "discretize.batches=1"),
    "drnas": ("epochs=2",),
    "lambda_darts": ("epochs=2",),
    "oles": ("freezing.window=1", "freezing.threshold=1"),
    "p_darts": ("epochs=3",),
    "pc_darts": ("epochs=2",),
    "random_sharing": ("discretize.samples=4", "discretize.finalists=2"),
}
FEW_CANDIDATES = {("darts_pt", "cnn"): ("space.candidates=s2",)}  # fewer scores
# The components of these methods also run in other everyday tests.
SIMILAR = {"darts_minus", "darts_v1", "sdarts_adv", "sdarts_rs", "snas"}
EVERYDAY_CELLS = {
    *((method, "nas201") for method in METHODS if method not in SIMILAR),
    *(("darts_v2", "cnn"), ("pc_darts", "cnn")),
}
Rows = list[dict[str, Any]]


def slow_except(cases: list[Any], everyday: set[Any]) -> list[Any]:
    """Mark test cases as slow, except those of the everyday run."""
    return [
        case
        if case in everyday
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


@pytest.fixture(autouse=True, scope="module")
def _no_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "save_search_figures", lambda *_, **__: None)
        yield


def run(folder: Path, *overrides: str, fresh: bool = True) -> dict[str, Any]:
    """Run a search in this process and return its summary."""
    sizes = () if "space=mlp" in overrides else ONE_CELL
    inputs = [f"resume={folder}"]
    if fresh:
        inputs = [*TINY, *sizes, f"hydra.run.dir={folder}"]
    with redirect_stdout(io.StringIO()):
        result: dict[str, Any] = launch(
            "search", search.check, search.search, [*inputs, *overrides]
        )
    return result


def check_characteristics(method: str, rows: Rows, content: dict[str, Any]) -> None:
    """Check the characteristic steps of a method in metrics and checkpoint."""
    searcher = content["searcher"]
    if method == "random_sharing":
        assert rows[0]["arch_grad_norm"] == 0  # the alphas are frozen
    elif method not in ("drnas", "p_darts"):  # their stages end before the warm-up here
        assert rows[-1]["arch_grad_norm"] > 0
    if method == "darts_es":
        assert math.isfinite(rows[0]["eigenvalue"])
        assert content["eigenvalues"] == [rows[0]["eigenvalue"]]
    elif method == "pc_darts":
        assert rows[0]["arch_grad_norm"] == 0  # the warm-up
        assert any(name.endswith("_edges") for name in searcher["net"])
    elif method == "oles":
        assert searcher["freezing"]["frozen"]
    elif method == "p_darts":
        assert searcher["stage"] == 2
        assert all(
            (m.sum(1) == round(0.375 * m.shape[1])).all() for m in searcher["masks"].values()
        )
    elif method == "drnas":
        assert searcher["stage"] == 1
        kept = searcher["masks"].values()
        assert all((m.sum(1) == math.floor(m.shape[1] / 2 + 0.5)).all() for m in kept)
    elif method == "darts_pt":
        assert all(m.sum(1).max() == 1 for m in searcher["masks"].values())
        assert content["discretization"]["decisions"] == []


@pytest.mark.parametrize(
    ("method", "space"),
    slow_except(
        [(method, space) for space in ("nas201", "cnn") for method in METHODS], EVERYDAY_CELLS
    ),
)
def test_method_searches_cells(method: str, space: str, tmp_path: Path) -> None:
    overrides = (*OVERRIDES.get(method, ()), *FEW_CANDIDATES.get((method, space), ()))
    summary = run(tmp_path, f"method={method}", f"space={space}", *overrides)
    genotype = SPACES[space]().parse((tmp_path / "genotype.json").read_text(encoding="utf-8"))
    assert str(genotype) == summary["genotype"]
    assert summary == read_json(tmp_path / "summary.json")
    assert summary["name"] == f"synthetic-{method}"
    assert math.isfinite(summary["valid_loss"])
    assert 0 <= summary["valid_accuracy"] <= 1
    # The genotype's network can be built and run.
    net = SPACES[space](channels=4, cells=1).network(genotype, classes=3, in_channels=3)
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 3)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, summary["epochs"] + 1))
    check_characteristics(method, rows, load_checkpoint(tmp_path / "checkpoint.safetensors"))


@pytest.mark.parametrize(
    "method",
    slow_except(["drnas", "gdas", "oles", "sdarts_adv", "darts_pt"], {"drnas", "darts_pt"}),
)
def test_method_searches_the_macro_space(method: str, tmp_path: Path) -> None:
    overrides = [
        item for item in OVERRIDES.get(method, ()) if not item.startswith("space.channels")
    ]
    partial = ["relaxation.partial=1"] if method == "drnas" else []
    summary = run(tmp_path, f"method={method}", "space=macro", *overrides, *partial)
    assert str(SPACES["macro"]().parse(summary["genotype"])) == summary["genotype"]
    content = load_checkpoint(tmp_path / "checkpoint.safetensors")
    check_characteristics(method, read_metrics(tmp_path / "metrics.jsonl"), content)


@pytest.mark.parametrize(
    "method",
    slow_except(
        ["drnas", "gdas", "sdarts_adv", "darts_pt", "fair_darts", "random_sharing"],
        {"drnas", "gdas", "random_sharing"},
    ),
)
def test_method_searches_the_mlp_space(method: str, tmp_path: Path) -> None:
    partial = ["relaxation.partial=1"] if method == "drnas" else []
    overrides = (*OVERRIDES.get(method, ()), *partial)
    summary = run(tmp_path, f"method={method}", "space=mlp", "space.widths=[4,8]", *overrides)
    assert str(SPACES["mlp"]().parse(summary["genotype"])) == summary["genotype"]
    content = load_checkpoint(tmp_path / "checkpoint.safetensors")
    check_characteristics(method, read_metrics(tmp_path / "metrics.jsonl"), content)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides for a search of a transformer with two small blocks."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [f"{('cold', 'hot')[i % 2]},{('ice', 'fire')[i % 2]} and so on" for i in range(32)]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("\n".join(["label,text", *rows]) + "\n")
    return [
        *("task=text_classification", "dataset=documents", f"dataset.root={folder}"),
        *("tracking.tensorboard=false", "epochs=1", "loader.batch_size=16", "seed=0"),
        *("space=transformer", "space.hidden=8", "space.cells=2"),
    ]


def search_texts(texts: list[str], folder: Path, *more: str) -> dict[str, Any]:
    with redirect_stdout(io.StringIO()):
        actual: dict[str, Any] = launch(
            "search", search.check, search.search, [*texts, *more, f"hydra.run.dir={folder}"]
        )
    return actual


@pytest.mark.parametrize(
    "method",
    slow_except(
        ["darts_v2", "drnas", "gdas", "sdarts_adv", "darts_pt", "fair_darts", "random_sharing"],
        {"darts_v2", "sdarts_adv", "darts_pt"},
    ),
)
def test_method_searches_the_transformer_space(
    method: str, texts: list[str], tmp_path: Path
) -> None:
    own = {"drnas": ["relaxation.partial=1"], "darts_v2": ["optimizer.algorithm=sgd"]}
    overrides = [*OVERRIDES.get(method, ()), *own.get(method, ())]
    summary = search_texts(texts, tmp_path, f"method={method}", *overrides)
    assert str(SPACES["transformer"]().parse(summary["genotype"])) == summary["genotype"]
    assert math.isfinite(summary["valid_loss"])
    content = load_checkpoint(tmp_path / "checkpoint.safetensors")
    check_characteristics(method, read_metrics(tmp_path / "metrics.jsonl"), content)


def test_recomputed_blocks_give_the_same_search(texts: list[str], tmp_path: Path) -> None:
    """Dropout draws the same random numbers in the recomputation."""
    actual = []
    for memory in ("full", "checkpoint"):
        folder = tmp_path / memory
        search_texts(texts, folder, "space.dropout=0.3", f"memory={memory}")
        actual.append(load_checkpoint(folder / "checkpoint.safetensors")["searcher"])
    assert same(actual[0]["net"], actual[1]["net"])


@pytest.mark.parametrize(
    "method",
    slow_except(["pc_darts", "darts_minus", "p_darts", "oles"], {"pc_darts", "darts_minus"}),
)
def test_transformer_space_rejects_unsupported_methods(
    method: str, texts: list[str], tmp_path: Path
) -> None:
    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.raises(SystemExit) as exit_info:
        search_texts(texts, tmp_path, f"method={method}", *OVERRIDES.get(method, ()))
    assert exit_info.value.code == 2
    assert len(stderr.getvalue().splitlines()) == 1
    assert "transformer" in stderr.getvalue()


@pytest.mark.parametrize(
    "method", slow_except(["pc_darts", "darts_minus", "p_darts", "oles"], {"p_darts", "oles"})
)
def test_mlp_space_rejects_unsupported_methods(method: str, tmp_path: Path) -> None:
    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.raises(SystemExit) as exit_info:
        run(tmp_path, f"method={method}", "space=mlp", *OVERRIDES.get(method, ()))
    assert exit_info.value.code == 2
    assert len(stderr.getvalue().splitlines()) == 1
    assert "mlp" in stderr.getvalue()


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(
            [
                *("method=drnas", "relaxation.partial=2", "bilevel=unrolled", "epochs=2"),
                *("discretize=perturbation", "discretize.tune=0"),
            ],
            marks=pytest.mark.slow,
        ),
        [
            *("method=gdas", "bilevel=unrolled", "perturbation=adversarial", "epochs=2"),
            *("regularizer=alignment", "freezing=gradient_matching", "freezing.window=1"),
        ],
        [
            *("method=darts_minus", "relaxation=sigmoid", "relaxation.edge_normalization=true"),
            *("relaxation.auxiliary_skip=1", "relaxation.partial=2", "perturbation=random"),
            *("discretize=perturbation", "discretize.tune=1", "stopping=curvature"),
        ],
        pytest.param(
            [
                *("method=random_sharing", "discretize=perturbation", "discretize.tune=1"),
                "penalty.flops=1000",
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_components_combine_freely(overrides: list[str], tmp_path: Path) -> None:
    summary = run(tmp_path, "space=nas201", *overrides)
    SPACES["nas201"]().parse(summary["genotype"])
    assert math.isfinite(summary["valid_loss"])


@pytest.mark.parametrize("component", ["bilevel=first_order", "stopping=curvature"])
def test_uniform_relaxation_rejects_components_that_need_alphas(
    component: str, tmp_path: Path
) -> None:
    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.raises(SystemExit) as exit_info:
        run(tmp_path, "method=random_sharing", component)
    assert exit_info.value.code == 2
    assert len(stderr.getvalue().splitlines()) == 1
    assert "relaxation=uniform" in stderr.getvalue()
    assert component in stderr.getvalue()


class Crash(RuntimeError):
    """The process ends without warning."""


def same(a: Any, b: Any) -> bool:
    """Return whether nested structures are equal, tensors bit for bit."""
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
        pytest.param("p_darts", 5, marks=pytest.mark.slow),  # within the third stage
        ("drnas", 4),  # between both stages: the resumed search widens the weights
    ],
)
def test_killed_and_resumed_search_ends_like_an_unbroken_one(
    method: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash loses the current step; there are two steps per epoch."""
    inputs = [f"method={method}", "space=nas201", "loader.batch_size=16", "epochs=3"]
    inputs.append("save_minutes=0")
    whole = run(tmp_path / "whole", *inputs)
    real, remaining = loop.require_finite, iter(range(steps))

    def failing(*arguments: Any) -> float:
        if next(remaining, None) is None:
            raise Crash
        return float(real(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "require_finite", failing)
        with pytest.raises(Crash):
            run(tmp_path / "broken", *inputs)
    resumed = run(tmp_path / "broken", fresh=False)
    for key in whole.keys() - {"seconds", "joules", "joules_source", "gco2e", "peak_memory_mb"}:
        assert resumed[key] == whole[key], key
    files = (tmp_path / name / "checkpoint.safetensors" for name in ("broken", "whole"))
    ours, theirs = (load_checkpoint(file) for file in files)
    for key in theirs.keys() - {"energy", "config", "metrics_offset", "event_offset"}:
        assert same(ours[key], theirs[key]), f"{key} differs"
