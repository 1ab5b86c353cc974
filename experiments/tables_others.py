"""Other ways to predict the rows of a table, each in a process of its own, for ``tables.py``.

    python tables_others.py WAY TASK TRAIN.csv TEST.csv SECONDS SEED PREDICTIONS.csv

TASK is classification or regression; the last column is the target. The program needs pandas and
the package of the way only, so that it also runs in an environment without this project.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

MOST_CATEGORIES = 200  # of a column; rarer ones are missing for HistGradientBoosting

Frames = tuple[pd.DataFrame, pd.Series, pd.DataFrame]
"""Training rows, their targets, and test rows."""


def as_categories(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows whose texts are categories of the training rows."""
    train, test = train.copy(), test.copy()
    for name in train.columns:
        if not pd.api.types.is_numeric_dtype(train[name]):
            frequent = train[name].value_counts().index[:MOST_CATEGORIES]
            for frame in (train, test):
                frame[name] = pd.Categorical(frame[name].astype(object), categories=frequent)
    return train, test


def hgb(frames: Frames, seconds: float, seed: int) -> np.ndarray:
    """Use HistGradientBoosting with its defaults."""
    return _boosting(frames, seed)


def _boosting(frames: Frames, seed: int, **setting: float) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    train, target, test = frames
    kind = (
        HistGradientBoostingRegressor
        if pd.api.types.is_float_dtype(target)
        else HistGradientBoostingClassifier
    )
    model = kind(random_state=seed, categorical_features="from_dtype", **setting)
    return np.asarray(model.fit(train, target).predict(test))


def hgb_tuned(frames: Frames, seconds: float, seed: int) -> np.ndarray:
    """Use the best of random settings of HistGradientBoosting, by a held-out fifth of the rows."""
    begin, random = time.monotonic(), np.random.default_rng(seed)
    train, target, _ = frames
    order = random.permutation(len(train))
    count = max(len(train) // 5, 1)
    valid, kept = order[:count], order[count:]
    part = train.iloc[kept], target.iloc[kept], train.iloc[valid]
    best: tuple[float, dict[str, float]] = (-np.inf, {})
    trials = 0
    while True:
        setting: dict[str, Any] = {}
        if trials:
            setting = {
                "learning_rate": float(np.exp(random.uniform(np.log(0.02), np.log(0.3)))),
                "max_iter": int(np.exp(random.uniform(np.log(30), np.log(1000)))),
                "max_leaf_nodes": int(random.choice([4, 8, 16, 31, 63, 127])),
                "min_samples_leaf": int(random.choice([2, 5, 10, 20, 50])),
                "l2_regularization": float(random.choice([0.0, 0.1, 1.0, 10.0])),
            }
        found = _boosting(part, seed, **setting)
        true = target.iloc[valid].to_numpy()
        is_number = pd.api.types.is_float_dtype(target)
        score = -float(np.mean((found - true) ** 2)) if is_number else float(np.mean(found == true))
        best = max(best, (score, setting), key=lambda own: own[0])
        trials += 1
        spent = time.monotonic() - begin
        if spent * (trials + 2) / trials > seconds:
            return _boosting(frames, seed, **best[1])


def lightgbm(frames: Frames, seconds: float, seed: int) -> np.ndarray:
    """Use LightGBM with its defaults."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    train, target, test = frames
    kind = LGBMRegressor if pd.api.types.is_float_dtype(target) else LGBMClassifier
    return np.asarray(kind(random_state=seed, verbose=-1).fit(train, target).predict(test))


def catboost(frames: Frames, seconds: float, seed: int) -> np.ndarray:
    """Use CatBoost with its defaults."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    train, target, test = frames
    names = [name for name in train if isinstance(train[name].dtype, pd.CategoricalDtype)]
    for frame in (train, test):  # copies, see as_categories
        for name in names:
            frame[name] = frame[name].astype(object).fillna("missing")
    kind = CatBoostRegressor if pd.api.types.is_float_dtype(target) else CatBoostClassifier
    model = kind(random_seed=seed, verbose=False, cat_features=names, allow_writing_files=False)
    return np.asarray(model.fit(train, target).predict(test)).reshape(-1)


def autogluon(frames: Frames, seconds: float, seed: int) -> np.ndarray:
    """Use AutoGluon-Tabular with its defaults and a time limit."""
    from autogluon.tabular import TabularPredictor

    train, target, test = frames
    rows = train.assign(target__=target)
    problem = "regression" if pd.api.types.is_float_dtype(target) else None
    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor("target__", path=folder, verbosity=0, problem_type=problem)
        model.fit(rows, time_limit=seconds, num_cpus="auto")
        return np.asarray(model.predict(test))


WAYS: dict[str, Callable[[Frames, float, int], np.ndarray]] = {
    own.__name__: own for own in (hgb, hgb_tuned, lightgbm, catboost, autogluon)
}


def main(arguments: Sequence[str]) -> None:
    """Train on a file, and write predictions for another one."""
    way, task, train_file, test_file, seconds, seed, out = arguments
    train, test = (pd.read_csv(name, low_memory=False) for name in (train_file, test_file))
    target = train.pop(train.columns[-1])
    test = test.drop(columns=test.columns[-1])
    # A target of floats stands for regression below.
    target = target.astype(float) if task == "regression" else target.astype(str)
    if way != "autogluon":  # which finds the kinds of columns itself
        train, test = as_categories(train, test)
    found = WAYS[way]((train, target, test), float(seconds), int(seed))
    pd.Series(found).to_csv(out, index=False, header=["prediction"])


if __name__ == "__main__":
    main(sys.argv[1:])
