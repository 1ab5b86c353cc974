"""Every kind of data except images in every command: search, retrain, evaluate and resume.

``test_target_kinds`` has numbers and labels, ``test_spaces`` the spaces for images.
"""

from __future__ import annotations

import random
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darts.reading import read_json
from darts.spaces import SPACES

NO_TENSORBOARD = "tracking.tensorboard=false"
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "to", "some", "place")
CLASSES = {"cold": ("ice", "snow", "frost"), "hot": ("fire", "sun", "flame")}
NUMBERS = {"ein": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}
LSTM = '{"space": "transformer", "blocks": [["lstm", "identity"], ["lstm", "gelu_1"]]}'
ATTENTION = '{"space": "transformer", "blocks": [["attention_2", "gelu_2"]]}'

pytestmark = pytest.mark.usefixtures("no_figures")


def write_sentences(folder: Path) -> None:
    """Write sentences in which each word determines the next one."""
    draw = random.Random(0)
    for split, lines in (("train", 120), ("valid", 60), ("test", 40)):
        starts = [draw.randrange(len(WORDS)) for _ in range(lines)]
        rows = [" ".join(WORDS[(start + i) % len(WORDS)] for i in range(6)) for start in starts]
        (folder / f"{split}.txt").write_text("\n".join(rows) + "\n")


def write_documents(folder: Path) -> None:
    """Write texts of common words and one word that determines the class."""
    draw = random.Random(0)
    for split, count in (("train", 240), ("test", 60)):
        rows = ["label,text"]
        for i in range(count):
            label = ("cold", "hot")[i % 2]
            words = draw.choices(WORDS[:6], k=draw.randrange(3, 9))
            words[draw.randrange(len(words))] = draw.choice(CLASSES[label])
            rows.append(f"{label},{' '.join(words)}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")


def write_pairs(folder: Path) -> None:
    """Write numbers in words, in two languages."""
    draw = random.Random(0)
    for split, count in (("train", 160), ("valid", 20), ("test", 20)):
        rows = [draw.choices(list(NUMBERS), k=draw.randrange(1, 5)) for _ in range(count)]
        (folder / f"{split}.de").write_text("".join(" ".join(row) + "\n" for row in rows))
        translations = [" ".join(NUMBERS[word] for word in row) for row in rows]
        (folder / f"{split}.en").write_text("".join(line + "\n" for line in translations))


def write_tones(folder: Path) -> None:
    """Write low and high tones with random loudness and two sampling rates."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 10)):
        for label, pitch in (("high", 2000), ("low", 400)):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                rate = (8000, 11025)[number % 2]
                clock = np.arange(round(rate * rng.uniform(0.08, 0.2))) / rate
                tone = np.sin(2 * np.pi * pitch * rng.uniform(0.8, 1.2) * clock)
                sound = tone * rng.uniform(2000, 20000) + rng.normal(size=len(clock)) * 100
                with wave.open(str(folder / split / label / f"{number}.wav"), "wb") as file:
                    file.setparams((1, 2, rate, 0, "NONE", ""))
                    file.writeframes(sound.astype("<i2").tobytes())


def write_iris(folder: Path) -> None:
    """Write the Iris data set with semicolons."""
    from sklearn import datasets

    bunch = datasets.load_iris()
    lines = [
        ";".join([str(bunch.target_names[label]), *map(str, row)])
        for row, label in zip(bunch.data.tolist(), bunch.target, strict=True)
    ]
    text = "\n".join(["kind;" + ";".join("abcd"), *lines])
    (folder / "the iris.csv").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Case:
    """A tiny data set, and how a network learns it."""

    write: Callable[[Path], None]
    overrides: tuple[str, ...]
    search: tuple[str, ...]
    retrain: tuple[str, ...]
    learned: Callable[[Mapping[str, float]], bool]
    samples: int  # of the test split
    genotype: str  # for a retraining without a search


CASES = {
    "language_model": Case(
        write_sentences,
        (
            *("task=language_model", "dataset=text", "space.embedding=12", "space.hidden=12"),
            *("task.window=9", "loader.batch_size=6", "optimizer.lr=5.0", "seed=5"),
            *(f"space.{layer}_dropout=0.1" for layer in ("embedding", "input", "hidden", "output")),
        ),
        ("space.nodes=2", "epochs=2"),
        ("optimizer.lr=0.03", "epochs=25"),  # of AdamW
        # The perplexity of thirteen words and the end of a line is 14 without training.
        lambda scores: 1 < scores["test_perplexity"] < 8,
        40 * 7 - 1,  # all tokens after the first
        "DARTS_RNN_V1",
    ),
    "transformer_language_model": Case(
        write_sentences,
        (
            *("task=language_model", "dataset=text", "space=transformer", "space.hidden=16"),
            *("task.window=9", "loader.batch_size=6"),
        ),
        ("space.cells=1", "epochs=2"),
        ("optimizer.lr=0.01", "epochs=4"),
        lambda scores: 1 < scores["test_perplexity"] < 8,
        40 * 7 - 1,
        LSTM,
    ),
    "text_classification": Case(
        write_documents,
        (
            *("task=text_classification", "dataset=documents", "space.hidden=16"),
            *("space.dropout=0.1", "loader.batch_size=16", "seed=3"),
        ),
        ("space.cells=1", "epochs=2"),
        ("optimizer.lr=0.01", "epochs=8"),
        lambda scores: scores["test_macro_f1"] > 0.9,
        60,
        ATTENTION,
    ),
    "translation": Case(
        write_pairs,
        (
            *("task=translation", "dataset=pairs", "dataset.source=de", "dataset.target=en"),
            *("dataset.subset=160", "task.max_length=8", "space.embedding=24", "space.hidden=24"),
            *("loader.batch_size=16", "seed=5"),
            *(f"space.{layer}_dropout=0.05" for layer in ("embedding", "hidden", "output")),
        ),
        ("space.nodes=2", "epochs=2"),
        ("optimizer.lr=0.02", "epochs=25", "task.beam=2"),
        # BLEU needs four matching words in a row, which most of these short rows do not have.
        lambda scores: scores["test_perplexity"] < 2.5,
        20,
        "DARTS_RNN_V1",
    ),
    "speech": Case(
        write_tones,
        (
            *("task=speech", "dataset=audiofolder", "dataset.rate=8000", "dataset.mels=8"),
            *("dataset.hop=16", "dataset.window=32", "dataset.seconds=0.15", "dataset.shift=1"),
            *("dataset.frequency_width=1", "dataset.time_width=2", "space.channels=4"),
            *("space.cells=2", "loader.batch_size=8"),
        ),
        ("epochs=2",),
        ("epochs=6", "drop_path=0", "auxiliary=0", "optimizer.lr=0.1"),
        lambda scores: scores["test_accuracy"] > 0.85,
        20,
        "DARTS_V2",
    ),
    "table": Case(
        write_iris,
        ("dataset=csv", "dataset.label=kind", "space=mlp"),
        ("epochs=15", "space.widths=[8,16]"),
        ("epochs=20",),
        lambda scores: scores["test_accuracy"] > 0.85,
        30,
        '{"space": "mlp", "layers": ["relu_8"]}',
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The root of the data set of each case."""
    found = {}
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(f"some {name}")
        case.write(folder)
        found[name] = folder / "the iris.csv" if name == "table" else folder
    return found


def overrides_of(name: str, folders: dict[str, Path]) -> list[str]:
    """Return the overrides of a tiny run."""
    return [*CASES[name].overrides, f"dataset.root={folders[name]}", NO_TENSORBOARD]


@pytest.mark.parametrize("name", CASES)
def test_a_searched_network_learns_and_is_evaluated_with_equal_scores(
    name: str, commands: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    case, overrides = CASES[name], overrides_of(name, folders)
    folder = tmp_path / "search"
    found = commands.call("search", [*overrides, *case.search, f"hydra.run.dir={folder}"], folder)
    printed = commands.printed_arguments(found.out, "retrain")
    assert {*overrides[:2]} - {"dataset.label=kind"} <= {*printed}
    assert f"dataset.root={folders[name]}" in printed

    folder = tmp_path / "retrain"
    more = [*case.retrain, f"genotype={found.directory}", "tracking.figures=false"]
    trained = commands.call("retrain", [*overrides, *more, f"hydra.run.dir={folder}"], folder)
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
    if case.write in (write_sentences, write_documents, write_pairs):
        assert (folder / "vocabulary.json").exists()
    if name == "speech":  # each label is one word
        error = pytest.approx(1 - evaluation.result["test_accuracy"])
        assert evaluation.result["test_word_error_rate"] == error


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search", "retrain"])
@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_like_an_unbroken_one(
    name: str, command: str, commands: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    case, arguments = CASES[name], [*overrides_of(name, folders), "tracking.figures=false"]
    if command == "search":
        arguments += case.search
    else:
        (tmp_path / "genotype.json").write_text(case.genotype)
        is_text = case.genotype.startswith("{")
        genotype = str(tmp_path / "genotype.json") if is_text else case.genotype
        arguments += [*case.retrain, f"genotype={genotype}", "evaluate_test=false"]
    commands.assert_resume_is_exact(command, [*arguments, "epochs=2"], tmp_path)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("darts_v2", []),
        ("gdas", []),
        ("drnas", ["stages=[]", "relaxation.partial=1", "arch_optimizer.warmup=0"]),
        ("random_sharing", ["discretize.samples=3"]),
        pytest.param(
            "darts_pt", ["discretize.tune=0", "discretize.batches=1"], marks=pytest.mark.slow
        ),
    ],
)
def test_each_method_searches_language_models(
    method: str, more: list[str], commands: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    overrides = overrides_of("language_model", folders)
    small = [*overrides, f"method={method}", "space.nodes=2", "epochs=1", *more]
    done = commands.call("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_perplexity"] > 1
    assert len(done.json("genotype.json")["recurrent"]) == 2


def test_ag_news_files_can_be_searched(commands: Any, tmp_path: Path) -> None:
    rows = [
        f'"{i % 4 + 1}","Title {i}","Some words about {("war", "sport", "money", "code")[i % 4]}"'
        for i in range(80)
    ]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    start = ["task=text_classification", "dataset=agnews", f"dataset.root={tmp_path}"]
    size = ["space.hidden=16", "space.cells=1", "epochs=1", "loader.batch_size=8", NO_TENSORBOARD]
    run = tmp_path / "run"
    done = commands.call("search", [*start, *size, f"hydra.run.dir={run}"], run)
    assert 0 <= done.result["valid_macro_f1"] <= 1


def test_summaries_are_scored_with_rouge(commands: Any, tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","one {n % 5} two","a text of {n % 5} words"' for n in range(80)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    start = ["task=summarization", f"dataset.root={tmp_path}", NO_TENSORBOARD, "epochs=1"]
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
    ("language_model", "search", ["loader.batch_size=400"], "too few for windows of 9; choose"),
    ("language_model", "search", ["dataset.subset=999999"], "more than the 840 training tokens"),
    ("language_model", "search", ["method=pc_darts"], "space=recurrent has no partial channels"),
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
    ("translation", "search", ["dataset.target=fr"], "train.fr, valid.fr, test.fr not in"),
    ("speech", "search", ["dataset.flip=true"], "dataset.flip"),
    ("speech", "search", ["dataset.mels=64", "dataset.rate=2000"], "2 bands contain no frequency"),
    ("speech", "search", ["dataset.time_width=11"], "time_width=11 is more than the 10 frames"),
    ("table", "search", ["dataset.test_share=0"], "dataset.test_share=0.0: must be"),
    ("table", "search", ["dataset.label=e"], "has no column 'e' for dataset.label"),
    ("table", "search", ["dataset.label=null"], "column 'kind': 'setosa' is not a number"),
    *(
        ("table", "search", [f"space={name}"], "dataset=csv contains rows; choose space=mlp")
        for name in SPACES
        if "images" in SPACES[name].data_kinds and "rows" not in SPACES[name].data_kinds
    ),
]


@pytest.mark.parametrize(("name", "command", "overrides", "message"), ERRORS)
def test_invalid_combinations_are_refused_in_one_line(
    name: str,
    command: str,
    overrides: list[str],
    message: str,
    commands: Any,
    folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    keys = {override.partition("=")[0] for override in overrides}
    # A key of another data set, space or task would be an error of its own.
    owners = tuple(f"{key}." for key in keys & {"dataset", "space", "task"})
    owners += ("space.",) if "task" in keys else ()
    others = [
        word
        for word in overrides_of(name, folders)
        if word.partition("=")[0] not in keys and not (owners and word.startswith(owners))
    ]
    line = commands.error_of(command, *others, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line


def test_missing_audio_files_are_refused_with_a_hint(commands: Any, tmp_path: Path) -> None:
    line = commands.error_of("search", "dataset=fsdd", f"dataset.root={tmp_path}")
    assert f"into {tmp_path / 'recordings'}, or set dataset.root" in line
