"""Plain baselines of ``own_data.py`` without networks: models of scikit-learn."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from own_data_result import Limits, Result
from own_data_samples import relative_errors
from own_data_sets import DataSet

from darts.data.split import stratified_split

VALIDATION = 0.15
"""Share of the training part that is held out where the data has no validation part."""


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def train_on_table(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (_, train), (_, test) = (read_rows(folder / f"{split}.csv") for split in ("train", "test"))
    x, test_x = (np.array([row[:-1] for row in rows], dtype=float) for rows in (train, test))
    y, test_y = (np.array([row[-1] for row in rows]) for rows in (train, test))
    model = HistGradientBoostingClassifier(random_state=limits.seed).fit(x, y)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x, y)
    correct = model.predict(test_x) == test_y
    return Result(
        "gradient boosting",
        test=float(correct.mean()),
        samples=len(test_y),
        train_samples=len(y),
        information=f"logistic regression {linear.score(test_x, test_y):.4f}",
        correct=correct,
    )


def train_on_numbers(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (_, train), (_, test) = (read_rows(folder / f"{split}.csv") for split in ("train", "test"))
    values, test_values = (np.array(rows, dtype=float) for rows in (train, test))
    x, y, test_x, test_y = values[:, :-1], values[:, -1], test_values[:, :-1], test_values[:, -1]
    model = HistGradientBoostingRegressor(random_state=limits.seed).fit(x, y)
    linear = make_pipeline(StandardScaler(), RidgeCV()).fit(x, y)
    errors = relative_errors(model.predict(test_x), test_y)
    return Result(
        "gradient boosting",
        test=1 - float(np.mean(errors)),
        samples=len(test_y),
        train_samples=len(y),
        information=f"ridge regression {linear.score(test_x, test_y):.4f}",
        errors=errors,
    )


def train_on_documents(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline

    (_, train), (_, test) = (read_rows(folder / f"{split}.csv") for split in ("train", "test"))
    classes = sorted({label for label, _ in train})
    y, test_y = (np.array([classes.index(label) for label, _ in rows]) for rows in (train, test))
    texts, test_texts = (np.array([text for _, text in rows]) for rows in (train, test))

    def model(inverse: float) -> Pipeline:
        return make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
            LogisticRegression(C=inverse, max_iter=2000),
        )

    shares = (1 - VALIDATION, VALIDATION)
    kept, held_out = stratified_split(torch.from_numpy(y), shares, seed=limits.seed)
    scores = {
        inverse: float(model(inverse).fit(texts[kept], y[kept]).score(texts[held_out], y[held_out]))
        for inverse in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the regularization strength
    }
    best = max(scores, key=lambda inverse: scores[inverse])
    correct = model(best).fit(texts, y).predict(test_texts) == test_y  # refitted on all documents
    return Result(
        "TF-IDF, logistic regression",
        test=float(correct.mean()),
        samples=len(test_y),
        train_samples=len(y),
        valid=scores[best],
        chosen=f"C={best:g}",
        correct=correct,
    )
