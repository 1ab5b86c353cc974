"""What users pass to the Python functions as data, as PyTorch datasets or tables of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    import pandas as pd

Samples: TypeAlias = "Dataset[Any] | pd.DataFrame"

ACCEPTED = (
    "the name of a data set, a path, a pair (X, y) of arrays or tensors, a table of pandas, a "
    "map-style dataset of PyTorch, a dataset of Hugging Face, or a pair of training and test "
    "samples of these kinds"
)


def training_and_test(data: object) -> tuple[Any, Any]:
    """Return the training and the test samples among the data; None for no test samples."""
    if isinstance(data, Mapping) and "train" in data:  # such as DatasetDict of Hugging Face
        return data["train"], data.get("test")
    if not isinstance(data, tuple | list) or _is_pair(data):
        return data, None
    if len(data) != 2:
        raise TypeError(f"data has {len(data)} entries; must be {ACCEPTED}")
    return data[0], data[1]


def as_samples(samples: Any, label: str | None = None) -> Samples:
    """Return samples as a PyTorch dataset of pairs ``(sample, target)`` or a table of pandas.

    Args:
        samples: Such a dataset or table, which is returned as it is; a pair ``(X, y)`` of arrays or
            tensors; a pair of a table and the column of its targets; or a ``datasets.Dataset`` of
            Hugging Face.
        label: Name of the column of the targets in a dataset of Hugging Face; by default its first
            column of classes, or else its last column. In a table, it becomes the last column.
    """
    if hasattr(samples, "features") and hasattr(samples, "to_pandas"):
        return _from_hub(samples, label)
    if is_table(samples):
        return samples
    if label is not None:
        raise ValueError(f"label={label!r}: names a column, but data has no columns; leave it out")
    if _is_pair(samples):
        table, targets = samples
        if is_table(table):
            name = getattr(targets, "name", None)
            column = "target" if name is None or name in table.columns else str(name)
            return table.assign(**{column: np.asarray(targets)})
        x, y = (v if isinstance(v, Tensor) else np.atleast_1d(v) for v in samples)
        return _Pairs(x, y)
    has_items = hasattr(samples, "__len__") and hasattr(samples, "__getitem__")
    if not has_items or isinstance(samples, str | Mapping) or hasattr(samples, "dtype"):
        raise TypeError(f"data: cannot use {type(samples).__name__}; must be {ACCEPTED}")
    return samples


def is_table(samples: object) -> TypeGuard[pd.DataFrame]:
    """Return whether samples are a table of pandas, whose import would take half a second."""
    return hasattr(samples, "to_csv") and hasattr(samples, "columns")


def _is_pair(samples: Any) -> bool:
    """Return whether samples are a pair ``(X, y)``, of which one is an array, tensor or column."""
    is_pair = isinstance(samples, tuple | list) and len(samples) == 2
    return is_pair and any(hasattr(own, "dtype") for own in samples)


class _Pairs(Dataset[Any]):
    """Samples and their targets; classes may be texts."""

    def __init__(self, samples: Any, targets: Any, classes: Sequence[str] = ()) -> None:
        if len(samples) != len(targets):
            raise ValueError(f"data: there are {len(samples)} samples, but {len(targets)} targets")
        self.samples, self.targets = samples, targets
        if not classes and all(isinstance(target, str) for target in targets):
            classes = sorted({str(target) for target in targets})
        self.classes = [*classes]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.samples[index], self.targets[index]


def _from_hub(rows: Any, label: str | None) -> Samples:
    types = {name: type(feature).__name__ for name, feature in rows.features.items()}
    classes = {name: getattr(feature, "names", ()) for name, feature in rows.features.items()}
    target = label or next((name for name in classes if classes[name]), [*types][-1])
    if target not in types:
        raise ValueError(f"label={target!r}: data has the columns {', '.join(types)}")
    if (image := next((n for n in types if types[n] == "Image"), None)) is not None:
        return _Pairs(rows[image], rows[target], classes[target])
    for name, kind in types.items():
        if kind not in ("Value", "ClassLabel"):
            raise TypeError(f"data: cannot use the column {name!r} of type {kind}; remove it")
    table: pd.DataFrame = rows.to_pandas()
    for name, names in classes.items():
        if names:
            table[name] = table[name].map(dict(enumerate(names)))  # -1 means no label
    return table[[*(name for name in table.columns if name != target), target]]
