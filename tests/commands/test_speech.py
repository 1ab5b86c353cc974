"""Recordings go through every command."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

QUIET = "tracking.tensorboard=false"
FORM = (
    *("dataset.rate=8000", "dataset.mels=8", "dataset.hop=16", "dataset.window=32"),
    *("dataset.seconds=0.15", "dataset.frequency_width=1", "dataset.time_width=2"),
    "dataset.shift=1",
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of tones, low and high, of any loudness, at two rates."""
    top = tmp_path_factory.mktemp("some tones")
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 10)):
        for kind, pitch in (("high", 2000), ("low", 400)):
            folder = top / part / kind
            folder.mkdir(parents=True)
            for number in range(count):
                rate = (8000, 11025)[number % 2]
                clock = np.arange(round(rate * rng.uniform(0.08, 0.2))) / rate
                tone = np.sin(2 * np.pi * pitch * rng.uniform(0.8, 1.2) * clock)
                sound = tone * rng.uniform(2000, 20000) + rng.normal(size=len(clock)) * 100
                with wave.open(str(folder / f"{number}.wav"), "wb") as file:
                    file.setparams((1, 2, rate, 0, "NONE", ""))
                    file.writeframes(sound.astype("<i2").tobytes())
    return top


def given(tones: Path, *more: str) -> list[str]:
    small = ("space.channels=4", "space.cells=2", "loader.batch_size=8")
    return [
        "task=speech",
        "dataset=audiofolder",
        f"dataset.root={tones}",
        *FORM,
        *small,
        QUIET,
        *more,
    ]


@pytest.mark.usefixtures("no_pictures")
def test_search_retrain_and_evaluate(tones: Path, commands: Any, tmp_path: Path) -> None:
    words = given(tones, "epochs=2", f"hydra.run.dir={tmp_path / 'found'}")
    found = commands.exactly("search", words, tmp_path / "found")
    assert found.result["valid_accuracy"] > 0.4
    printed = commands.printed(found.out, "retrain")
    small = ["space.channels=4", "space.cells=2", "loader.batch_size=8", "optimizer.lr=0.1"]
    calm = ["epochs=6", "drop_path=0", "auxiliary=0", "tracking.figures=false", QUIET]
    words = [*printed, *small, *calm, f"hydra.run.dir={tmp_path / 'trained'}"]
    trained = commands.exactly("retrain", words, tmp_path / "trained")
    assert trained.result["genotype"] == found.result["genotype"]
    assert trained.result["test_accuracy"] > 0.85
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    assert scored.result["test_accuracy"] == trained.result["test_accuracy"]
    assert scored.result["test_word_error_rate"] == pytest.approx(
        1 - scored.result["test_accuracy"]  # names of one word
    )
    assert scored.result["samples"] == 20


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("command", "steps"), [pytest.param("search", 4, marks=pytest.mark.slow), ("retrain", 7)]
)
def test_a_run_that_crashes_in_its_second_epoch_ends_like_an_unbroken_one(
    command: str,
    steps: int,
    tones: Path,
    commands: Any,
    tmp_path: Path,
) -> None:
    more = ["epochs=2", "tracking.figures=false"]
    if command == "retrain":
        more += ["genotype=DARTS_V2", "auxiliary=0", "evaluate_test=false"]
    commands.goes_on(command, given(tones, *more), tmp_path, steps)


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["dataset.crop=pad"], "dataset.crop"),
        ("search", ["dataset.flip=true"], "dataset.flip"),
        ("search", ["dataset.size=8"], "dataset.size"),
        ("search", ["dataset.mels=4"], "dataset.mels=4: must be"),
        ("search", ["dataset.scale=bark"], "choose from slaney, htk"),
        ("search", ["dataset.test_speakers=[x]"], "dataset.test_speakers"),
        (
            "search",
            ["dataset.mels=64", "dataset.rate=2000"],
            "mels=64: 2 bands contain no frequency for window=32 milliseconds",
        ),
        ("search", ["dataset.time_width=11"], "time_width=11 is more than the 10 frames"),
        ("retrain", ["genotype=DARTS_V2", "cutout=2"], "cutout=2 erases a square of an image"),
    ],
)
def test_what_recordings_have_not(
    command: str, overrides: list[str], message: str, tones: Path, commands: Any
) -> None:
    assert message in commands.refused(command, *given(tones, *overrides))


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_missing_digits_are_said_in_one_line(command: str, commands: Any, tmp_path: Path) -> None:
    more = ["genotype=DARTS_V2"] if command == "retrain" else []
    line = commands.refused(command, "dataset=fsdd", f"dataset.root={tmp_path}", *more)
    assert f"into {tmp_path / 'recordings'}, or set dataset.root" in line
