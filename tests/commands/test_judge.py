"""``darts.judge`` scores architectures and compares the scores with the truth."""

from __future__ import annotations

import csv
import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from darts.spaces import SPACES

SMALL = ("space=nas201", "space.channels=2", "space.cells=1", "dataset.size=8")
TINY = (*SMALL, "judge.samples=4")


def rows_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_genotypes(file: Path, space: str, count: int, truth: bool = True) -> list[str]:
    """Write random genotypes with a number as truth; return them."""
    generator = torch.Generator().manual_seed(0)
    texts = [str(SPACES[space]().random(generator)) for _ in range(count)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        if truth:
            writer = csv.writer(stream)
            writer.writerow(["architecture", "quality"])
            writer.writerows(zip(texts, range(count), strict=True))
        else:
            stream.write("\n".join(texts) + "\n")
    return texts


def test_scores_are_compared_with_a_benchmark_table(
    commands: Any, table: Path, tmp_path: Path
) -> None:
    judged = ("judge=training_free", "architectures=12", f"benchmark.table={table}")
    done = commands.run("judge", tmp_path / "run", *TINY, *judged)
    summary, rows = done.json("summary.json"), rows_of(done.directory)
    assert summary["architectures"] == len(rows) == len({row["genotype"] for row in rows}) == 12
    for prefix in ("", "parameters_", "macs_", "zico_", "naswot_"):
        assert -1 <= summary[f"{prefix}spearman"] <= 1
        assert -1 <= summary[f"{prefix}kendall"] <= 1
        assert summary[f"{prefix}top_recall"] in (0, 1)
    assert summary["seconds_per_architecture"] > 0
    values = [float(row["judge"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert rows[0]["genotype"] == summary["genotype"] == done.result["genotype"]
    assert json.loads((done.directory / "genotype.json").read_text())["space"] == "nas201"
    assert f"{summary['spearman']:+.3f}" in done.out


def test_a_list_with_truth_calibrates_the_combination(commands: Any, tmp_path: Path) -> None:
    """The architectures of the calibration do not count in the agreement."""
    file = tmp_path / "list.csv"
    write_genotypes(file, "cnn", 8)
    sizes = ("space=cnn", "space.channels=2", "space.cells=2", "judge.samples=4", "dataset.size=8")
    judged = ("judge=training_free", f"genotypes={file}", "truth=quality", "calibration=4")
    done = commands.run("judge", tmp_path / "run", *sizes, *judged)
    summary = done.json("summary.json")
    assert (summary["architectures"], summary["calibration"]) == (8, 4)
    weights = {name: value for name, value in summary.items() if name.startswith("weight_")}
    assert set(weights) == {
        f"weight_{name}"
        for name in ("expressivity", "trainability", "macs", "naswot", "synflow", "zico")
    }
    assert len(set(weights.values())) > 1
    assert {row["truth"] for row in rows_of(done.directory)} == {f"{n}.0" for n in range(8)}


def test_a_list_without_truth_is_ranked(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    texts = write_genotypes(file, "nas201", 4, truth=False)
    done = commands.run("judge", tmp_path / "run", *TINY, "judge=macs", f"genotypes={file}")
    rows = rows_of(done.directory)
    assert {row["genotype"] for row in rows} == set(texts)
    assert [float(row["judge"]) for row in rows] == [float(row["macs"]) for row in rows]
    assert "spearman" not in done.json("summary.json")


@pytest.mark.parametrize(
    ("judge", "more"),
    [
        ("table", ()),
        pytest.param("train", ("epochs=1", "dataset.samples=64"), marks=pytest.mark.slow),
    ],
)
def test_other_judges_score_architectures(
    commands: Any, table: Path, tmp_path: Path, judge: str, more: tuple[str, ...]
) -> None:
    judged = (f"judge={judge}", "architectures=3", f"benchmark.table={table}", *more)
    done = commands.run("judge", tmp_path / "run", *SMALL, *judged)
    rows = rows_of(done.directory)
    assert all(math.isfinite(float(row["valid_accuracy"])) for row in rows)
    if judge == "table":  # the table's validation accuracy is the test accuracy minus a constant
        assert done.result["spearman"] == pytest.approx(1)


@pytest.mark.parametrize("space", ["macro", "mlp"])
def test_supported_scores_of_other_spaces_are_numbers(
    commands: Any, tmp_path: Path, space: str
) -> None:
    sizes = {"macro": ("space.channels=4",), "mlp": ()}[space]
    scores = "judge.scores=[gradient_norm,snip,synflow,zico,naswot,parameters,macs]"
    arguments = (f"space={space}", *sizes, "judge.samples=4", "dataset.size=8", scores)
    done = commands.run("judge", tmp_path / "run", *arguments, "architectures=3")
    for row in rows_of(done.directory):
        assert all(not math.isnan(float(value)) for key, value in row.items() if key != "genotype")


def test_an_interrupted_command_continues(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C, only the missing architectures are scored, with the same result."""
    from darts.hpo import trial_tools

    arguments = (*TINY, "judge=synflow", "architectures=5")
    whole = commands.run("judge", tmp_path / "whole", *arguments)
    calls = 0
    compute = trial_tools.UntrainedSetup.scores

    def interrupted(self: Any, genotype: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 4:  # the judge and the baselines of the second architecture
            signal.raise_signal(signal.SIGINT)
        return compute(self, genotype)

    monkeypatch.setattr(trial_tools.UntrainedSetup, "scores", interrupted)
    with pytest.raises(SystemExit) as stopped:
        commands.run("judge", tmp_path / "run", *arguments)
    assert stopped.value.code == 130
    assert not (tmp_path / "run" / "summary.json").exists()
    calls = 100
    done = commands.call("judge", [f"resume={tmp_path / 'run'}"], tmp_path / "run")
    assert calls == 100 + 2 * 3
    assert rows_of(done.directory) == rows_of(whole.directory)
    assert "complete" in commands.error_of("judge", f"resume={tmp_path / 'run'}")


def test_changed_scores_are_not_continued(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = commands.run("judge", tmp_path / "run", *TINY, "judge=macs", "architectures=3")
    (done.directory / "summary.json").unlink()
    file = done.directory / "scores.json"
    content = file.read_text()
    file.write_text(content.replace('"macs": ', '"macs": 1', 1))
    assert "scores.json was changed" in commands.error_of("judge", f"resume={done.directory}")
    file.write_text(content[:-20])
    assert "scores.json" in commands.error_of("judge", f"resume={done.directory}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("judge=zico", "truth=x"), "truth=x is a column of a file; set genotypes=FILE"),
        (("judge.scores=[nonsense]",), "judge.scores='nonsense'"),
        (("judge=table",), "judge=table needs benchmark.table=FILE"),
        (("judge=train", "calibration=8"), "calibration=8 weighs several scores"),
        (("calibration=8",), "calibration=8 needs the truth of at least 10 architectures"),
        (("genotypes=/no/file",), "genotypes='/no/file' does not exist"),
        (("genotype=DARTS_V2",), "darts.judge scores several; set genotypes=FILE"),
        (("metric=nonsense",), "metric='nonsense'"),
    ],
)
def test_unusable_settings_end_in_one_line(
    commands: Any, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    others = (*SMALL, "architectures=4", f"hydra.run.dir={tmp_path / 'run'}")
    assert message in commands.error_of("judge", *others, *arguments)
    assert not (tmp_path / "run").exists()


def test_unusable_files_end_in_one_line(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    texts = write_genotypes(file, "nas201", 3)
    base = (*TINY, f"genotypes={file}")
    error = commands.error_of("judge", *base, "truth=nonsense")
    assert "truth=nonsense" in error
    assert "choose from quality" in error
    file.write_text(f'architecture,quality\n"{texts[0]}",1\n"{texts[1]}",abc\n')
    assert "line 3: the truth 'abc' is not a number" in commands.error_of(
        "judge", *base, "truth=quality"
    )
    file.write_text(f"{texts[0]}\nnonsense\n")
    assert "line 2" in commands.error_of("judge", *base)
    file.write_text(f"{texts[0]}\n")
    assert "has 1 architectures; at least 2 are needed" in commands.error_of("judge", *base)
    write_genotypes(file, "mlp", 2)
    assert "a genotype of space=mlp, not of space=nas201" in commands.error_of("judge", *base)


def test_scores_that_do_not_apply_to_words_are_refused(commands: Any, tmp_path: Path) -> None:
    for split, count in (("train", 600), ("valid", 300), ("test", 300)):
        text = "\n".join(f"a b c d {n % 7}" for n in range(count))
        (tmp_path / f"{split}.txt").write_text(text + "\n")
    text = ("task=language_model", "dataset=text", f"dataset.root={tmp_path}", "space=transformer")
    sizes = ("space.cells=1", "architectures=2", f"hydra.run.dir={tmp_path / 'run'}")
    error = commands.error_of("judge", *text, *sizes, "judge=naswot")
    assert "naswot needs inputs of numbers, such as images, not words; leave it out" in error


def test_a_study_refuses_scores_that_only_compare(commands: Any) -> None:
    error = commands.error_of("tune", "experiment=nas201_table", "judge=training_free")
    assert "judge=training_free compares architectures with each other" in error
