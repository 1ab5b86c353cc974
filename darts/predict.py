"""Classify images with a trained network: ``python -m darts.predict checkpoint=RUN input=DIR``.

In Python, ``darts.predict(...)`` is ``darts.recipes.model.predict``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from darts.config import ConfigError, Invocation, PredictConfig, launch
from darts.config.python_call import make_callable
from darts.data.decode import SUFFIXES
from darts.escaping import for_csv
from darts.reading import JsonObject
from darts.recipes.model import Predictions, load
from darts.recipes.model import predict as predict_images
from darts.recipes.trained import find_checkpoint
from darts.tracking import Console, print_summary
from darts.training.device import resolve_device
from darts.training.run_directory import RunDirectory
from darts.writing import write_atomically


def check(config: PredictConfig) -> None:
    """Refuse invalid values before the network is loaded."""
    find_checkpoint(config.checkpoint)
    find_images(config.input)
    resolve_device(config.device)


def predict(config: PredictConfig, invocation: Invocation) -> JsonObject:
    """Classify images and write a table of the results; return the summary.

    Raises:
        CheckpointError: If the checkpoint is unusable.
        ConfigError: If there are no images.
        FileError: If an image is damaged; the message names it.
    """
    with RunDirectory(invocation.directory, "predict") as files:
        files.claim_unused(numbered=invocation.numbered, repeatable=True)
        model = load(config.checkpoint, resolve_device(config.device))
        images = find_images(config.input)
        remaining, results = iter(images), []
        with Console(total_steps=len(images), name="predict") as console:
            while batch := list(islice(remaining, config.batch_size)):
                results.append(predict_images(model, batch, batch_size=config.batch_size))
                console.step(len(batch))
        output = Path(config.output) if config.output else files.path / "predictions.csv"
        files.begin(config, invocation.overrides)
        write_atomically(output, _table(images, results, model.classes))
        summary = files.finish({"images": len(images), "file": str(output)})
    print_summary("predict", {key: summary[key] for key in ("images", "file")})
    return summary


def find_images(place: str) -> list[Path]:
    """Return an image file, or all image files in a folder and its folders, sorted.

    Raises:
        ConfigError: If there are none.
    """
    path = Path(place)
    if path.is_file():
        return [path]
    found = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
    )
    if not found:
        raise ConfigError(
            f"input={place!r}: must be an image file or a folder with images "
            f"({', '.join(SUFFIXES)})"
        )
    return found


def _table(images: Sequence[Path], results: Sequence[Predictions], classes: Sequence[str]) -> str:
    """Return CSV: file, predicted class, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = (for_csv(f"probability of {name}") for name in classes)
    writer.writerow(["file", "class", *columns])
    names = [name for result in results for name in result.classes]
    rows = [row for result in results for row in result.probabilities.tolist()]
    for file, name, row in zip(images, names, rows, strict=True):
        numbers = (f"{probability:.6f}" for probability in row)
        writer.writerow([for_csv(str(file)), for_csv(name), *numbers])
    return text.getvalue()


def main() -> None:
    """Entry point of ``darts-predict``."""
    launch("predict", check, predict)


make_callable(__name__, predict_images)

if __name__ == "__main__":
    main()
