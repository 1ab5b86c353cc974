"""Every kind of data except images: search, retrain, evaluate, resume, predict and export.

``test_target_kinds`` has numbers and labels, ``test_spaces`` the spaces for images.
"""

from __future__ import annotations

from pathlib import Path

import command_calls as commands
import numpy as np
import pytest
from tiny_tasks import CASES

import darts
from darts.reading import read_json
from darts.spaces import SPACES


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The overrides of a tiny run of each case, whose folder has a space in its name."""
    folders = {name: tmp_path_factory.mktemp(f"some {name}") for name in CASES}
    return {name: case.data(folders[name]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_searched_network_learns_and_is_evaluated_with_equal_scores(
    name: str, overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    case, own = CASES[name], overrides[name]
    folder = tmp_path / "search"
    found = commands.call("search", [*own, *case.search, f"hydra.run.dir={folder}"], folder)
    printed = commands.printed_arguments(found.out, "retrain")
    assert {word for word in own if word.startswith(("task=", "dataset="))} <= {*printed}
    assert own[-2] in printed  # dataset.root

    folder = tmp_path / "retrain"
    more = [*case.retrain, f"genotype={found.directory}", f"hydra.run.dir={folder}"]
    trained = commands.call("retrain", [*own, *more], folder)
    assert trained.result["genotype"] == found.result["genotype"]
    assert case.learned(trained.result)
    evaluation = commands.run("evaluate", tmp_path / "evaluate", f"checkpoint={folder}")
    scores = {key: value for key, value in trained.result.items() if key.startswith("test_")}
    assert {key: evaluation.result[key] for key in scores} == scores
    assert evaluation.result["samples"] == case.samples
    if name == "translation":
        table = (folder / "samples_test.md").read_text()
        assert table.startswith("| reference | generated |")
        assert any(line.split("|")[1] == line.split("|")[2] for line in table.splitlines()[2:])
        error = commands.error_of("export", f"checkpoint={folder}")
        assert "task=translation: its networks generate text word by word" in error
    assert (folder / "vocabulary.json").exists() == (name not in ("speech", "table"))
    if name == "speech":  # each label is one word
        accuracy = evaluation.result["test_accuracy"]
        assert evaluation.result["test_word_error_rate"] == pytest.approx(1 - accuracy)
        place = own[-2].removeprefix("dataset.root=") + "/test"
        commands.run("predict", tmp_path / "p", f"checkpoint={folder}", f"input={place}")
        rows = commands.read_table(tmp_path / "p" / "predictions.csv")
        right = [row["class"] == Path(row["file"]).parent.name for row in rows]
        assert (len(right), np.mean(right)) == (20, pytest.approx(accuracy))
        with pytest.raises(ValueError, match="a recording must be a file name, not ndarray"):
            darts.predict(darts.load(folder), [np.zeros(4000)])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search", "retrain"])
@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_like_an_unbroken_one(
    name: str, command: str, overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    case = CASES[name]
    retrain = (*case.retrain, f"genotype={case.genotype}", "evaluate_test=false")
    own = case.search if command == "search" else retrain
    commands.assert_resume_is_exact(command, [*overrides[name], *own, "epochs=2"], tmp_path)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("darts_v2", []),
        pytest.param("gdas", [], marks=pytest.mark.slow),
        pytest.param(
            "drnas",
            ["stages=[]", "relaxation.partial=1", "arch_optimizer.warmup=0"],
            marks=pytest.mark.slow,
        ),
        ("random_sharing", ["discretize.samples=3"]),
        pytest.param(
            "darts_pt", ["discretize.tune=0", "discretize.batches=1"], marks=pytest.mark.slow
        ),
    ],
)
def test_each_method_searches_language_models(
    method: str, more: list[str], overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    small = [*overrides["language_model"], f"method={method}", "space.nodes=2", "epochs=1", *more]
    done = commands.call("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_perplexity"] > 1
    assert len(done.json("genotype.json")["recurrent"]) == 2


def test_summaries_are_scored_with_rouge(tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","one {n % 5} two","a text of {n % 5} words"' for n in range(80)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    start = ["task=summarization", f"dataset.root={tmp_path}", "epochs=1"]
    start += ["tracking.tensorboard=false", "tracking.figures=false"]
    small = ["space.embedding=8", "space.hidden=8", "space.nodes=2", "dataset.subset=null"]
    size = ["loader.batch_size=8", "task.max_length=5", f"hydra.run.dir={tmp_path / 'run'}"]
    done = commands.call("search", [*start, *small, *size], tmp_path / "run")
    assert {"valid_rouge1", "valid_rouge2", "valid_rougeL"} <= set(done.result)
    words = read_json(tmp_path / "run" / "vocabulary.json")
    assert words["source"] == words["target"]
    assert not any("bleu" in name for name in done.result)


ERRORS: list[tuple[str, str, list[str], str]] = [
    ("language_model", "search", ["space=cnn"], "takes images or audio, but dataset=text contains"),
    ("language_model", "search", ["dataset=digits"], "learns from text, but dataset=digits"),
    ("language_model", "search", ["task=classification"], "dataset=text contains text; choose"),
    ("language_model", "search", ["metric=accuracy"], "choose from perplexity"),
    ("language_model", "search", ["dataset.subset=999999"], "more than the 840 training tokens"),
    ("language_model", "search", ["method=pc_darts"], "space=recurrent does not support partial=4"),
    ("language_model", "search", ["discretize.skip_limit=2"], "has no skip connections"),
    ("language_model", "search", ["stages=[{skip_dropout: 0.1}]"], "set skip_dropout=0"),
    ("language_model", "retrain", ["genotype=DARTS_RNN_V2", "auxiliary=0.4"], "no auxiliary head"),
    ("language_model", "retrain", ["genotype=DARTS_RNN_V2", "drop_path=0.1"], "set drop_path=0"),
    ("language_model", "retrain", ["genotype=DARTS_RNN_V2", "cutout=4"], "cutout=4 erases"),
    ("text_classification", "search", ["space.hidden=12"], "multiple of 8"),
    ("text_classification", "search", ["dataset.subset=500"], "more than the 240 training"),
    ("translation", "search", ["train_portion=0.001"], "leaves a subset empty; use more pairs"),
    ("translation", "search", ["bilevel=unrolled"], "needs optimizer.algorithm=sgd, not adam"),
    ("translation", "search", ["penalty.parameters=100"], "leave penalty out"),
    ("translation", "search", ["space.copy=true"], "set dataset.joint=true"),
    ("speech", "search", ["dataset.flip=true"], "dataset.flip"),
    *(
        ("table", "search", [f"space={name}"], "dataset=csv contains rows; choose space=mlp")
        for name in SPACES
        if "images" in SPACES[name].data_kinds and "rows" not in SPACES[name].data_kinds
    ),
]


@pytest.mark.parametrize(("name", "command", "changes", "message"), ERRORS)
def test_invalid_combinations_are_refused_in_one_line(
    name: str, command: str, changes: list[str], message: str, overrides: dict[str, list[str]]
) -> None:
    keys = {change.partition("=")[0] for change in changes}
    # A key of another data set, space or task would be an error of its own.
    owners = tuple(f"{key}." for key in keys & {"dataset", "space", "task"})
    owners += ("space.",) if "task" in keys else ()
    others = [
        word
        for word in overrides[name]
        if word.partition("=")[0] not in keys and not (owners and word.startswith(owners))
    ]
    assert message in commands.error_of(command, *others, *changes)
