"""Arrays, tensors, tables and datasets of Hugging Face as data of the Python functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image as Pillow

from darts.data import load
from darts.data.given_samples import as_samples, is_table, training_and_test
from darts.data.torch_datasets import store

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 7, 5), dtype=np.uint8)
LABELS = [0, 1, 2, 0, 1, 2]


def loaded(data: Any, root: Path, label: str | None = None) -> Any:
    """Return the data set as a command loads it."""
    train, test = training_and_test(data)
    pair = [None if own is None else as_samples(own, label) for own in (train, test)]
    stored = store(*pair, root=root)
    return load(stored.name, root=stored.root)


def test_samples_and_labels_are_a_pair(tmp_path: Path) -> None:
    column = pandas.Series(LABELS, index=range(9, 3, -1))
    for samples, labels in ((PIXELS, LABELS), (torch.from_numpy(PIXELS), column)):
        source = loaded(((samples, labels), (samples, labels)), tmp_path)
        assert source.train.pixels.numpy().tobytes() == PIXELS.tobytes()
        assert source.test.labels.tolist() == LABELS
    gray = (PIXELS[:, 0], torch.tensor(LABELS))
    assert loaded({"train": gray, "test": gray}, tmp_path).train.shape == (1, 7, 5)
    rows = np.random.default_rng(0).normal(size=(20, 4))
    assert loaded((rows, [0, 1] * 10), tmp_path).train.shape == (4, 1, 1)


def test_labels_may_be_texts(tmp_path: Path) -> None:
    names = np.array(["dog", "cat", "dog", "ant", "ant", "cat"])
    source = loaded(((PIXELS, names), (PIXELS[:2], names[:2])), tmp_path)
    assert source.classes == ("ant", "cat", "dog")
    assert source.train.labels.tolist() == [2, 1, 2, 0, 0, 1]
    assert source.test.labels.tolist() == [2, 1]
    with pytest.raises(ValueError, match="sample 1 of test has the label 'cow'"):
        loaded(((PIXELS, names), (PIXELS[:2], ["dog", "cow"])), tmp_path)


def test_a_column_of_targets_is_added_to_its_table() -> None:
    table = pandas.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[5, 6])
    for targets, name in ((pandas.Series([7, 8], name="y"), "y"), (np.array([7, 8]), "target")):
        samples = as_samples((table, targets))
        assert is_table(samples)
        assert samples[name].tolist() == [7, 8]
    assert [*as_samples((table, table["b"]))] == ["a", "b", "target"]


class Hub(dict[str, Any]):
    """A dataset with the interface of ``datasets.Dataset``."""

    def __init__(self, types: Mapping[str, str], columns: Mapping[str, Any]) -> None:
        super().__init__(columns)
        names = {"ClassLabel": {"names": ["ant", "bee"]}}
        self.features = {n: type(kind, (), names.get(kind, {}))() for n, kind in types.items()}

    def to_pandas(self) -> pandas.DataFrame:
        return pandas.DataFrame(dict(self))


def test_a_dataset_of_hugging_face_has_images_or_is_a_table(tmp_path: Path) -> None:
    pictures = [Pillow.fromarray(image.transpose(1, 2, 0)) for image in PIXELS]
    types = {"label": "ClassLabel", "other": "Value", "img": "Image"}
    columns = {"label": [0, 1] * 3, "other": ["x", "y"] * 3, "img": pictures}
    for label, classes in ((None, ("ant", "bee")), ("other", ("x", "y"))):
        data = Hub(types, columns)
        source = loaded({"train": data, "test": data}, tmp_path, label)
        assert source.classes == classes
        assert source.train.pixels.numpy().tobytes() == PIXELS.tobytes()
    del types["img"], columns["img"]
    table = as_samples(Hub(types, columns))
    assert is_table(table)
    assert table.to_dict("list") == {"other": ["x", "y"] * 3, "label": ["ant", "bee"] * 3}
    with pytest.raises(ValueError, match="label='z': data has the columns label, other"):
        as_samples(Hub(types, columns), "z")
    with pytest.raises(TypeError, match="cannot use the column 'sound' of type Audio"):
        as_samples(Hub({"sound": "Audio"}, columns))
