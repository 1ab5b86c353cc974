"""Every image space works with all commands; NAS-Bench-Macro has a table of accuracies."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
from slow_cases import slow_except
from tiny_search import BUILT_IN

from darts.benchmarks import macro
from darts.config import compose
from darts.spaces import SPACES, parse_genotype, space_of

SPACES_WITHOUT_CNN = [
    name for name in BUILT_IN if name != "cnn" and "images" in SPACES[name].data_kinds
]


@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.parametrize("space", slow_except(SPACES_WITHOUT_CNN, ("nas201",)))
def test_a_space_can_be_searched_retrained_evaluated_and_drawn(space: str, tmp_path: Path) -> None:
    own = (f"space={space}", "epochs=1", "space.cells=1")
    found = commands.run("search", tmp_path / "search", *own, "tracking.figures=true")
    genotype = parse_genotype((found.directory / "genotype.json").read_text(encoding="utf-8"))
    assert space_of(genotype).name == space
    for group in found.json("alphas.json"):
        for figure in (f"alphas_{group}.png", f"alphas_{group}_history.png"):
            assert (found.directory / figure).stat().st_size > 1000
    assert "</text>" in (found.directory / "genotype.svg").read_text(encoding="utf-8")
    assert found.rows[-1]["genotype"] == str(genotype)

    sizes = ["space.channels=4"] if hasattr(SPACES[space], "channels") else []
    words = (f"genotype={found.directory}", *own, "auxiliary=0", *sizes)
    trained = commands.run("retrain", tmp_path / "retrain", *words)
    checkpoint = f"checkpoint={trained.directory}"
    evaluation = commands.run("evaluate", tmp_path / "evaluate", checkpoint)
    assert evaluation.result["test_accuracy"] == trained.result["test_accuracy"]
    assert evaluation.result["genotype"] == str(genotype)

    out = commands.run("genotypes", None, f"validate={found.directory}").out
    assert f"space       {space}" in out
    figure = tmp_path / "both.png"
    compared = [f"compare=[{found.directory},{found.directory}]", f"out={figure}"]
    assert "search and search: equal" in commands.run("genotypes", None, *compared).out
    assert figure.stat().st_size > 10_000


SPACE = ("space=macro", "space.skeleton=nasbench")
ON_TABLE = (
    *("experiment=nas201_table", "parameters.genotype.space=macro"),
    *("+parameters.genotype.skeleton=nasbench", *SPACE, "strategy=random"),
    *("judge.split=test_run0", "judge.epochs=50"),
    *("tracking.tensorboard=false", "tracking.figures=false"),
)


@pytest.fixture(scope="module")
def macro_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "macro.csv"
    lines = ["arch,test_acc_0,mean_acc,params,flops"]
    for index, digits in enumerate(product("012", repeat=8)):
        accuracy = 50 + index / 200  # a unique accuracy per architecture
        lines.append(f"{''.join(digits)},{accuracy - 1},{accuracy},1,1")
    path.write_text("\n".join(lines))
    return path


def test_a_search_reports_the_true_accuracy(macro_table: Path, tmp_path: Path) -> None:
    options = ("space.channels=4", f"benchmark.table={macro_table}", "epochs=1")
    done = commands.run("search", tmp_path / "run", *SPACE, *options)
    summary, truth = done.json("summary.json"), macro.load(macro_table)
    genotype = summary["genotype"]
    assert len(macro.arch_of(genotype)) == 8
    (row,) = done.rows
    assert row["true_accuracy"] == pytest.approx(truth.accuracy(genotype) / 100)
    assert row["true_rank"] == truth.rank(genotype)
    assert row["true_regret"] == pytest.approx(truth.regret(genotype) / 100)
    assert "space.skeleton=nasbench" in done.out  # in the command that retrains
    retraining = (*SPACE, "space.channels=4", f"genotype={tmp_path / 'run'}", "epochs=1")
    trained = commands.run("retrain", tmp_path / "trained", *retraining, "auxiliary=0")
    assert trained.json("summary.json")["genotype"] == genotype
    error = commands.error_of("retrain", "space=macro", *retraining[2:], "auxiliary=0")
    assert "have 2, 3, 3 blocks, not 3, 3, 3; set space.skeleton=nasbench" in error


@pytest.mark.slow
def test_architectures_are_scored_with_the_table(macro_table: Path, tmp_path: Path) -> None:
    options = (f"benchmark.table={macro_table}", "budget.trials=20")
    done = commands.run("tune", tmp_path, *ON_TABLE, *options)
    summary, truth = done.json("summary.json"), macro.load(macro_table)
    genotype = done.result["genotype"]
    assert summary["true_accuracy"] == pytest.approx(truth.accuracy(genotype) / 100)
    assert summary["valid_accuracy"] == pytest.approx(truth.accuracy(genotype) / 100 - 0.01)
    assert (summary["true_rank"], summary["architectures"]) == (truth.rank(genotype), 6561)
    assert summary["rank_correlation_spearman"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("space", "table_name", "message"),
    [
        (("space=macro",), "macro", "needs space=nas201 or space=macro space.skeleton=nasbench, "),
        (("space=cnn",), "macro", "not space=cnn"),
        (("space=nas201",), "macro", "is not a benchmark table: the header"),
        (SPACE, "nas201", "needs the columns arch, mean_acc, params, flops"),
    ],
)
def test_tables_of_other_spaces_are_refused(
    macro_table: Path, table: Path, space: tuple[str, ...], table_name: str, message: str
) -> None:
    path = {"macro": macro_table, "nas201": table}[table_name]
    assert message in commands.error_of("search", *space, f"benchmark.table={path}")


def test_the_experiments_have_the_size_of_the_benchmark() -> None:
    for command, options in (("search", []), ("retrain", ["genotype=x"])):
        config = compose(command, ["experiment=nas_bench_macro", *options])
        full: Any = config.space
        size = macro.space()
        assert (full.channels, full.skeleton) == (size.channels, size.skeleton)
        assert config.dataset.name == "cifar10"
