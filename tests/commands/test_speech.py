"""Classification of audio files in every command."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NO_TENSORBOARD = "tracking.tensorboard=false"
SPECTROGRAM = (
    "dataset.rate=8000",
    "dataset.mels=8",
    "dataset.hop=16",
    "dataset.window=32",
    "dataset.seconds=0.15",
    "dataset.frequency_width=1",
    "dataset.time_width=2",
    "dataset.shift=1",
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of low and high tones with random loudness and two sampling rates."""
    top = tmp_path_factory.mktemp("some tones")
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 10)):
        for label, pitch in (("high", 2000), ("low", 400)):
            folder = top / split / label
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


def overrides_of(tones: Path, *more: str) -> list[str]:
    """Return the overrides of a tiny run."""
    small = ("space.channels=4", "space.cells=2", "loader.batch_size=8")
    return [
        "task=speech",
        "dataset=audiofolder",
        f"dataset.root={tones}",
        *SPECTROGRAM,
        *small,
        NO_TENSORBOARD,
        *more,
    ]


@pytest.mark.usefixtures("no_figures")
def test_a_searched_classifier_learns_and_is_evaluated_with_equal_scores(
    tones: Path, commands: Any, tmp_path: Path
) -> None:
    arguments = overrides_of(tones, "epochs=2", f"hydra.run.dir={tmp_path / 'search'}")
    search_result = commands.call("search", arguments, tmp_path / "search")
    assert search_result.result["valid_accuracy"] > 0.4
    printed_arguments = commands.printed_arguments(search_result.out, "retrain")
    small = ["space.channels=4", "space.cells=2", "loader.batch_size=8", "optimizer.lr=0.1"]
    options = ["epochs=6", "drop_path=0", "auxiliary=0", "tracking.figures=false", NO_TENSORBOARD]
    arguments = [*printed_arguments, *small, *options, f"hydra.run.dir={tmp_path / 'retrain'}"]
    retrain_result = commands.call("retrain", arguments, tmp_path / "retrain")
    assert retrain_result.result["genotype"] == search_result.result["genotype"]
    assert retrain_result.result["test_accuracy"] > 0.85
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    assert evaluation.result["test_accuracy"] == retrain_result.result["test_accuracy"]
    assert evaluation.result["test_word_error_rate"] == pytest.approx(
        1 - evaluation.result["test_accuracy"]  # each label is one word
    )
    assert evaluation.result["samples"] == 20


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("command", "steps"), [pytest.param("search", 4, marks=pytest.mark.slow), ("retrain", 7)]
)
def test_a_resumed_run_ends_like_an_unbroken_one(
    command: str, steps: int, tones: Path, commands: Any, tmp_path: Path
) -> None:
    more = ["epochs=2", "tracking.figures=false"]
    if command == "retrain":
        more += ["genotype=DARTS_V2", "auxiliary=0", "evaluate_test=false"]
    commands.assert_resume_is_exact(command, overrides_of(tones, *more), tmp_path, steps)


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["dataset.crop=pad"], "dataset.crop"),
        ("search", ["dataset.mels=4"], "dataset.mels=4: must be"),
        ("search", ["dataset.scale=bark"], "choose from slaney, htk"),
        (
            "search",
            ["dataset.mels=64", "dataset.rate=2000"],
            "mels=64: 2 bands contain no frequency for window=32 milliseconds",
        ),
        ("search", ["dataset.time_width=11"], "time_width=11 is more than the 10 frames"),
        ("retrain", ["genotype=DARTS_V2", "cutout=2"], "cutout=2 erases a square of an image"),
    ],
)
def test_options_that_do_not_fit_audio_are_refused(
    command: str, overrides: list[str], message: str, tones: Path, commands: Any
) -> None:
    assert message in commands.error_of(command, *overrides_of(tones, *overrides))


def test_missing_audio_files_are_refused_with_a_hint(commands: Any, tmp_path: Path) -> None:
    line = commands.error_of("search", "dataset=fsdd", f"dataset.root={tmp_path}")
    assert f"into {tmp_path / 'recordings'}, or set dataset.root" in line
