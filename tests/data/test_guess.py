"""How the kind of data at a path is recognized."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.config import ConfigError
from darts.data.guess import guess_data
from darts.find import with_data


def settings(path: Path, label: str | None = None) -> dict[str, str]:
    """Return the settings without the root, which is always the path."""
    found = dict(guess_data(path, label).settings)
    assert found.pop("dataset.root") == str(path)
    return found


FILES = {
    "images": (["train/cat/1.PNG", "train/dog/1.jpg"], {"dataset": "imagefolder"}),
    "class folders": (["cat/deep/1.png", "dog/2.png"], {"dataset": "imagefolder"}),
    "recordings": (["train/a/1.wav"], {"dataset": "audiofolder"}),
    "arrays": (["train.npz"], {"dataset": "npz"}),
    "challenge": (["train_x.npy", "train_y.npy"], {"dataset": "challenge"}),
    "text": (["train.txt", "test.txt"], {"dataset": "text", "task": "language_model"}),
    "translations": (
        ["train.en", "train.de", "test.en", "test.de"],
        {"dataset": "pairs", "task": "translation", "dataset.source": "de", "dataset.target": "en"},
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_names_of_files_decide(kind: str, tmp_path: Path) -> None:
    files, expected = FILES[kind]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert settings(tmp_path) == expected


REGRESSION = {"dataset": "csv", "task": "regression"}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["yes", "no"] * 20, {"dataset": "csv"}),
        ([0, 1] * 20, {"dataset": "csv"}),
        ([*range(1, 27)] * 10, {"dataset": "csv"}),  # letters
        ([*range(18, 90)] * 10, REGRESSION),  # ages
        ([*range(0, 90, 3)], REGRESSION),
        ([0.5, 1.5, 2.5] * 20, REGRESSION),
        (["1,5", "2,5"] * 20, REGRESSION),
        ([3, "", 4, "NA"] * 20, {"dataset": "csv"}),
    ],
)
def test_the_target_column_decides_between_classes_and_numbers(
    targets: list[object], expected: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"{number};a;{target}" for number, target in enumerate(targets)]
    file.write_text("\n".join(["x;kind;y", *rows]))
    assert settings(file) == expected
    assert settings(file, "kind") == {"dataset": "csv"}
    with pytest.raises(ValueError, match=r"mine\.csv has no column 'z' for dataset\.label"):
        guess_data(file, "z")


def test_labels_and_texts_are_documents(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nsome words,a\nothers,b\n")
    assert settings(tmp_path) == {"dataset": "documents", "task": "text_classification"}


def test_other_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    for path in (tmp_path, tmp_path / "notes.md"):
        with pytest.raises(ValueError, match="no known data; it can be a table"):
            guess_data(path)
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        with_data([str(tmp_path / "absent")])


def test_settings_take_precedence_over_the_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x,y\n" + "\n".join(f"{n},{n / 7}" for n in range(40)))
    words = with_data([str(file), "task=classification", "seed=1"])
    assert words == ["dataset=csv", f"dataset.root={file}", "task=classification", "seed=1"]
    assert "40 different numbers in the column 'y'; dataset=csv" in capsys.readouterr().out
    assert with_data([str(file), "dataset=npz"]) == [f"dataset.root={file}", "dataset=npz"]
    assert with_data(["--cfg", "job"]) == ["--cfg", "job"]
    assert with_data(["dataset=digits"]) == ["dataset=digits"]
