"""Inputs of ``darts predict``: patterns, several files, texts and standard input; its output."""

from __future__ import annotations

import io
from pathlib import Path

import command_calls as commands
import numpy as np
import pytest
import torch
from command_calls import CommandResult
from tiny_tasks import write_documents

import darts
from darts.reading import parse_json, read_json
from darts.recipes.model import Predictions
from darts.recipes.prediction import Samples, _shown


def predict(run: Path, *arguments: str, typed: str = "") -> list[dict[str, str]]:
    """Return the rows of the table that the command writes; ``typed`` is its standard input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        commands.call("predict", [f"checkpoint={run}", "output=new.csv", *arguments])
    return commands.read_table(Path("new.csv"))


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents of two classes, and the run of a network trained on them."""
    folder: Path = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    for file in (folder / "train.csv", folder / "test.csv"):
        file.write_text(file.read_text().replace("label,text", "topic,body"))
    keys = (
        "task=text_classification", "dataset=documents", f"dataset.root={folder}", "seed=1",
        "dataset.label=topic", "dataset.text=body", "space=transformer", "epochs=3",
        'genotype={"space": "transformer", "blocks": [["identity", "gelu_1"]]}',
        "dataset.lowercase=true", "space.hidden=16", "loader.batch_size=16", *commands.QUIET,
    )  # fmt: skip
    commands.call("retrain", [*keys, f"hydra.run.dir={folder}/run"])
    return folder


def test_several_inputs_are_joined(retrain_run: CommandResult, photos: Path, cwd: Path) -> None:
    odd, names = "a=b [1].png", ["0.bmp", "1.png", "2.bmp", "more/3.png", "more/4.bmp"]
    (photos / odd).write_bytes((photos / "1.png").read_bytes())
    for arguments, expected in (
        (["input=photos/*.bmp"], ["0.bmp", "2.bmp"]),
        (["input=photos/**/*.png"], ["1.png", odd, "more/3.png"]),
        (["input=phot**"], [*names[:3], odd, *names[3:]]),
        (["input=[photos/1.png,photos/*.bmp]"], ["1.png", "0.bmp", "2.bmp"]),
        ([f"photos/{odd}", "photos/more"], [odd, *names[3:]]),
        (["-"], names[2:]),
    ):
        typed = "photos/2.bmp\n\n photos/more \n"
        rows = predict(retrain_run.directory, *arguments, typed=typed)
        assert [row["file"] for row in rows] == [str(Path("photos", name)) for name in expected]


def test_wrong_inputs_end_in_one_line(
    retrain_run: CommandResult, documents: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(photos / "x.npy", np.zeros((2, 3, 32, 32), np.uint8))
    image, text = (f"checkpoint={run}" for run in (retrain_run.directory, documents / "run"))
    for typed, arguments, message in (
        (b"", [image, f"{photos}/*.jpg"], "no file or folder matches this pattern"),
        (b"", [image, "a sentence"], "input='a sentence': there is no such file or folder"),
        (b"", [image, "input=[]"], "input=[]: name at least one file or folder"),
        (b"\n", [image, "-"], "input='-': standard input is empty"),
        (b"", [text, "-"], "input='-': standard input is empty"),
        (b"snow \xff\n", [text, "-"], "standard input is not UTF-8 text: byte 5"),
        (b"", [image, f"{photos}/x.npy", str(photos)], "are different kinds of inputs"),
        (b"", [text, str(photos)], f"input='{photos}': must be a CSV or text file"),
        (b"", [text, "input="], "input='': there is no such file or folder"),
        (b"", [text, "tset.csv"], "input='tset.csv': there is no such file or folder"),
        (b"", [text, "folder/*"], "input='folder/*': no file or folder matches this pattern"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))
        assert message in commands.error_of("predict", *arguments)


def test_texts_get_the_classes_of_the_evaluation(documents: Path, cwd: Path) -> None:
    run, rows = documents / "run", commands.read_table(documents / "test.csv")
    found = predict(run, f"input={documents / 'test.csv'}", "batch_size=7")
    right = [row["class"] == own["topic"] for row, own in zip(found, rows, strict=True)]
    assert np.mean(right) == pytest.approx(read_json(run / "summary.json")["test_accuracy"])
    model = darts.load(run)
    upper, lower = (darts.predict(model, text) for text in ("the SNOW and ice", "the snow and ice"))
    assert upper.probabilities.equal(lower.probabilities)
    text, classes = "\n\n".join(row["body"] for row in rows), [row["class"] for row in found]
    (cwd / "lines.txt").write_text(text)
    lines = predict(run, "input=lines.txt")
    assert [row["class"] for row in lines] == classes
    assert [row["line"] for row in lines[:3]] == ["1", "3", "5"]
    assert lines == predict(run, "input=-", typed=text)
    several = predict(run, "lines.txt", str(documents / "test.csv"))
    assert [row["class"] for row in several] == [*classes, *classes]
    assert [row["line"] for row in several[:2]] == ["lines.txt:1", "lines.txt:3"]
    words = ["It's [cold], isn't it? *Very*", "snow"]
    assert [row["text"] for row in predict(run, *words)] == words
    assert [row["text"] for row in predict(run, f"input={words[0]}")] == words[:1]
    with pytest.raises(ValueError, match="a text must be a string, not int"):
        darts.predict(model, [7])
    (cwd / "other.csv").write_text("text\nsnow\n")
    line = commands.error_of("predict", f"checkpoint={run}", "input=other.csv")
    assert "has no column 'body' for dataset.text; its columns are text" in line


def test_ten_predictions_are_printed(documents: Path, cwd: Path) -> None:
    arguments = [f"checkpoint={documents / 'run'}", str(documents / "test.csv"), "output=new.csv"]
    title, *lines = commands.call("predict", arguments).out.splitlines()
    assert title == "line  class  probability"
    for line, row in zip(lines[:10], commands.read_table(cwd / "new.csv"), strict=False):
        best = 100 * max(float(row[f"probability of {name}"]) for name in ("cold", "hot"))
        assert line == f"{row['line']:<4}  {row['class']:<5}  {best:5.1f} %"
    assert lines[10] == "and 50 more in new.csv"
    assert commands.call("predict", [*arguments, "log=quiet"]).out == ""
    printed = commands.call("predict", [*arguments, "log=json"]).out
    message, summary = map(parse_json, printed.splitlines())
    assert message == {"message": "\n".join([title, *lines[:11]])}
    assert summary["samples"] == 60


def test_labels_and_numbers_are_printed_and_long_names_shortened() -> None:
    values, name = torch.tensor([[0.971, 0.505], [-1234567.0, 0]]), "a" * 50 + "b" * 50
    for targets, column, expected in (
        ("labels", "file", f"...{'b' * 45}  ice 97.1 %, snow 50.5 %|c{' ' * 49}-"),
        ("numbers", "text", f"{'a' * 45}...  0.971         0.505|c{' ' * 49}-1.23457e+06  0"),
    ):
        found = Predictions(("ice", "snow"), targets, values)
        assert _shown(Samples(column, [name, "c"], [], []), found)[1:] == expected.split("|")
