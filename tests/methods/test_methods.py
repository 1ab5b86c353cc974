"""Every method of ``conf/method`` runs on every space that supports it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_cases import slow_except

import conf
from darts.config import ConfigError, compose, launch
from darts.reading import read_json
from darts.recipes import search
from darts.recipes.checks import check_components
from darts.spaces import SPACES
from darts.tracking import read_metrics
from darts.training.checkpoint import load_checkpoint

METHODS = sorted(file.stem for file in (Path(conf.__file__).parent / "method").glob("*.yaml"))
TINY = (
    *("dataset=synthetic", "dataset.samples=64", "loader.batch_size=64"),
    *("tracking.tensorboard=false", "epochs=1"),
)
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
    "sandwich": ("discretize.samples=4", "discretize.population=2"),
}
ONE_CELL = ("space.channels=4", "space.cells=1")
SPACE_OVERRIDES = {
    "cnn": ONE_CELL,
    "nas201": ONE_CELL,
    "elastic": ("space.channels=4",),
    "macro": ONE_CELL,
    "mlp": ("space.widths=[4,8]",),
    "transformer": ("space.hidden=8", "space.cells=2", "loader.batch_size=16", "seed=0"),
}
WITHOUT_CHANNELS = {"elastic", "macro", "mlp", "transformer"}  # spaces without partial channels
MORE = {
    ("darts_pt", "cnn"): ("space.candidates=s2",),  # fewer scores
    ("darts_v2", "transformer"): ("optimizer.algorithm=sgd",),
    **{("drnas", space): ("relaxation.partial=1",) for space in WITHOUT_CHANNELS},
}
CASES = [
    *((m, space) for space in ("nas201", "cnn") for m in METHODS if m != "sandwich"),
    *((method, "elastic") for method in ("drnas", "gdas", "random_sharing", "sandwich")),
    *((method, "macro") for method in ("drnas", "gdas", "oles", "sdarts_adv", "darts_pt")),
    *((method, "mlp") for method in ("drnas", "gdas", "sdarts_adv", "fair_darts")),
    *(("darts_pt", "mlp"), ("random_sharing", "mlp")),
    *((method, "transformer") for method in ("darts_v2", "drnas", "gdas", "sdarts_adv")),
    *((method, "transformer") for method in ("darts_pt", "fair_darts", "random_sharing")),
]
# The components of these methods also run in other everyday tests.
SIMILAR = {"darts_minus", "darts_v1", "sdarts_adv", "sdarts_rs", "snas"}
EVERYDAY = {
    *((method, "nas201") for method in METHODS if method not in {*SIMILAR, "sandwich"}),
    ("sandwich", "elastic"),
    *(("darts_v2", "cnn"), ("pc_darts", "cnn"), ("drnas", "macro"), ("darts_pt", "macro")),
    *((method, "mlp") for method in ("drnas", "gdas", "random_sharing")),
    *((method, "transformer") for method in ("darts_v2", "sdarts_adv", "darts_pt")),
}


@pytest.fixture(autouse=True, scope="module")
def _no_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "save_genotype", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("texts")
    rows = [f"{('cold', 'hot')[i % 2]},{('ice', 'fire')[i % 2]} and so on" for i in range(32)]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("\n".join(["label,text", *rows]) + "\n")
    data = ("task=text_classification", "dataset=documents", f"dataset.root={folder}")
    return (*data, "tracking.tensorboard=false", "epochs=1")


def run(*overrides: str) -> dict[str, Any]:
    return launch("search", search.check, search.search, list(overrides))


def check_characteristics(method: str, rows: list[dict[str, Any]], content: Any) -> None:
    searcher = content["searcher"]
    if method in ("random_sharing", "sandwich"):
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
        for mask in searcher["masks"].values():
            assert (mask.sum(1) == round(0.375 * mask.shape[1])).all()
    elif method == "drnas":
        assert searcher["stage"] == 1
        kept = searcher["masks"].values()
        assert all((m.sum(1) == math.floor(m.shape[1] / 2 + 0.5)).all() for m in kept)
    elif method == "darts_pt":
        assert all(m.sum(1).max() == 1 for m in searcher["masks"].values())
        assert content["discretization"]["decisions"] == []


@pytest.mark.parametrize(("method", "space"), slow_except(CASES, EVERYDAY))
def test_a_method_searches(method: str, space: str, texts: tuple[str, ...], tmp_path: Path) -> None:
    data = texts if space == "transformer" else TINY
    own = (*SPACE_OVERRIDES[space], *OVERRIDES.get(method, ()), *MORE.get((method, space), ()))
    names = (f"space={space}", f"method={method}", f"hydra.run.dir={tmp_path}")
    summary = run(*data, *names, *own)
    text = (tmp_path / "genotype.json").read_text(encoding="utf-8")
    genotype = SPACES[space].genotype.parse(text)
    assert str(genotype) == summary["genotype"]
    assert summary == read_json(tmp_path / "summary.json")
    assert math.isfinite(summary["valid_loss"])
    assert 0 <= summary["valid_accuracy"] <= 1
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, summary["epochs"] + 1))
    check_characteristics(method, rows, load_checkpoint(tmp_path / "checkpoint.safetensors"))


@pytest.mark.parametrize(
    "overrides",
    [
        [
            *("method=gdas", "bilevel=unrolled", "perturbation=adversarial", "epochs=2"),
            *("regularizer=alignment", "freezing=gradient_matching", "freezing.window=1"),
        ],
        [
            *("method=darts_minus", "relaxation=sigmoid", "relaxation.edge_normalization=true"),
            *("relaxation.auxiliary_skip=1", "relaxation.partial=2", "perturbation=random"),
            *("discretize=perturbation", "discretize.tune=1", "stopping=curvature"),
        ],
    ],
)
def test_components_combine_freely(overrides: list[str], tmp_path: Path) -> None:
    names = ("space=nas201", f"hydra.run.dir={tmp_path}")
    summary = run(*TINY, *ONE_CELL, *names, *overrides)
    SPACES["nas201"].genotype.parse(summary["genotype"])
    assert math.isfinite(summary["valid_loss"])


def test_sandwich_needs_slices_and_all_candidates() -> None:
    words = ["method=sandwich", "space=elastic", "stages=[{keep: 0.5}]"]
    for own, message in ((words[:1], "space=cnn are not slices"), (words, "set keep=1 in all")):
        with pytest.raises(ConfigError, match=f"relaxation=sandwich: .*{message}"):
            check_components(compose("search", own))


@pytest.mark.parametrize("component", ["bilevel=first_order", "stopping=curvature"])
def test_uniform_relaxation_rejects_components_that_need_alphas(component: str) -> None:
    config = compose("search", [*TINY, "method=random_sharing", component])
    with pytest.raises(ConfigError, match=f"relaxation=uniform: .* {component} "):
        search.check(config)
