"""The command ``darts.genotypes``, and all commands with every image space and NAS-Bench-Macro."""

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
from darts.spaces import SPACES, nas201, parse_genotype, recurrent, space_of
from darts.spaces.cnn import PUBLISHED

GENOTYPE = PUBLISHED["SGAS"].genotype

pytestmark = pytest.mark.usefixtures("drawn_figures", "cwd")


def test_list_contains_paper_and_score_of_published_genotypes(tmp_path: Path) -> None:
    out = commands.run("genotypes", None).out
    lines = out.splitlines()
    first = len(PUBLISHED) + 1
    assert len(lines) == first + len(recurrent.PUBLISHED) + 1
    for entry, line in zip(PUBLISHED.values(), lines[1:first], strict=True):
        assert line.startswith(entry.name)
        assert f"arXiv:{entry.arxiv}" in line
        assert entry.result in line
    assert "DARTS_V2" in out
    assert "2.76 ± 0.09" in out
    assert "test perplexity" in lines[first]
    for cell, line in zip(recurrent.PUBLISHED.values(), lines[first + 1 :], strict=True):
        assert line.startswith(cell.name)
        assert cell.result in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_draw_writes_the_format_of_the_suffix(tmp_path: Path, suffix: str) -> None:
    out = commands.run("genotypes", None, "draw=SGAS", f"out=new/x.{suffix}").out
    file = tmp_path / "new" / f"x.{suffix}"
    start = {"svg": b"<", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert file.read_bytes().startswith(start)
    assert f"x.{suffix}" in out


def test_draw_defaults_to_the_working_directory(tmp_path: Path) -> None:
    commands.run("genotypes", None, "draw=SGAS")
    assert [file.name for file in tmp_path.iterdir()] == ["SGAS.svg"]


@pytest.mark.parametrize("reference", ["DARTS_V2", str(PUBLISHED["DARTS_V2"].genotype)])
def test_validate_prints_cells_and_parameters(reference: str) -> None:
    out = commands.run("genotypes", None, f"validate={reference}").out
    assert "is valid" in out
    assert str(PUBLISHED["DARTS_V2"].genotype) in out
    assert "3,349,342" in out  # as published, in the published network
    assert "4 nodes" in out


def test_compare_prints_and_draws_differences(tmp_path: Path) -> None:
    out = commands.run("genotypes", None, "compare=[DARTS_V1,DARTS_V2]", "out=two.png").out
    assert "DARTS_V1 and DARTS_V2" in out
    assert "differences" in out
    assert "normal cell" in out
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    assert "equal" in commands.run("genotypes", None, "compare=[SGAS,sgas]").out
    # Equal genotypes may have different formats.
    (tmp_path / "a.json").write_text(GENOTYPE.to_json(), encoding="utf-8")
    (tmp_path / "b.json").write_text(str(GENOTYPE), encoding="utf-8")
    assert "equal" in commands.run("genotypes", None, "compare=[a.json,b.json]").out


def test_different_spaces_and_unwritable_output_are_refused(tmp_path: Path) -> None:
    genotype = nas201.Genotype.from_operations(*["nor_conv_3x3"] * 5, "skip_connect")
    (tmp_path / "a.json").write_text(genotype.to_json(), encoding="utf-8")
    assert "nas201 and cnn" in commands.error_of("genotypes", "compare=[a.json,DARTS_V2]")
    (tmp_path / "file").write_text("not a folder")
    assert "file" in commands.error_of("genotypes", "draw=SGAS", "out=file/x.svg")


OTHER_SPACES = [name for name in BUILT_IN if name != "cnn" and "images" in SPACES[name].data_kinds]


@pytest.mark.parametrize("space", slow_except(OTHER_SPACES, ("nas201",)))
def test_a_space_can_be_searched_retrained_evaluated_and_drawn(space: str, tmp_path: Path) -> None:
    own = (f"space={space}", "epochs=1", "space.cells=1")
    found = commands.run("search", tmp_path / "search", *own, "tracking.figures=true")
    genotype = parse_genotype((found.directory / "genotype.json").read_text(encoding="utf-8"))
    assert space_of(genotype).name == space
    assert found.json("alphas.json")
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
