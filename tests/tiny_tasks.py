"""A tiny data set of each kind except images, and how a network learns it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "to", "some", "place")
CLASSES = {"cold": ("ice", "snow", "frost"), "hot": ("fire", "sun", "flame")}
NUMBERS = {"ein": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}
LSTM = '{"space": "transformer", "blocks": [["lstm", "identity"], ["lstm", "gelu_1"]]}'
ATTENTION = '{"space": "transformer", "blocks": [["attention_2", "gelu_2"]]}'


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
                path = folder / split / label / f"{number}.wav"
                soundfile.write(path, sound.astype("<i2"), rate)


def wine() -> Any:
    """Return the wine data set of scikit-learn as a data frame with the column ``cultivar``."""
    from sklearn import datasets

    bunch = datasets.load_wine(as_frame=True)
    table = bunch.data.rename(columns=lambda name: name.replace("/", "_"))
    return table.assign(cultivar=bunch.target_names[bunch.target])


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

    def data(self, folder: Path) -> list[str]:
        """Write the data set to a new folder; return the overrides of a tiny run on it.

        The run has neither figures nor TensorBoard. The second last override is the root.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder)
        root = folder / "the iris.csv" if self.write is write_iris else folder
        own = (*self.overrides, "tracking.figures=false")
        return [*own, f"dataset.root={root}", "tracking.tensorboard=false"]


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
        73,  # target tokens
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
