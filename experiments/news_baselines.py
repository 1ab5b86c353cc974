"""What needs no network on AG News: TF-IDF with logistic regression, the first words as headline.

    python experiments/news_baselines.py --root DIR

uses the parts that ``dataset=agnews`` has. The number of words of a headline and the strength of
the regression are chosen on the validation part; the test part is scored once. Writes
results/news_baselines.json and the table in README.md.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from benchmark import hardware, put_table, record, table

from darts.data import Documents, Labeled, Pairs, load
from darts.data.words import END, PADDING, join
from darts.tasks.translation import ROUGE

KEY = ("task", "method")
COMMAND = "python experiments/news_baselines.py --root DIR"


def texts(documents: Documents, part: Labeled) -> list[str]:
    """The texts of a part, as networks see them."""
    return [documents.words.text(row.tolist()) for row in part.texts]


def topics(root: Path) -> dict[str, object]:
    """Macro F1 and accuracy of logistic regression on TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    news: Documents = load("agnews", root=root, kind="documents", least=1, longest=1000)
    assert news.valid is not None
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train = vectors.fit_transform(texts(news, news.train))
    valid, test = (vectors.transform(texts(news, part)) for part in (news.valid, news.test))
    found = []
    for strength in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0):
        model = LogisticRegression(C=strength, max_iter=2000).fit(train, news.train.labels.numpy())
        score = f1_score(news.valid.labels.numpy(), model.predict(valid), average="macro")
        found.append((score, strength, model))
    score, strength, model = max(found, key=lambda entry: entry[0])
    said, truth = model.predict(test), news.test.labels.numpy()
    return {
        "task": "text_classification",
        "method": "TF-IDF, logistic regression",
        "chosen": f"C={strength:g}",
        "valid": {"macro_f1": float(score)},
        "test": {
            "macro_f1": float(f1_score(truth, said, average="macro")),
            "accuracy": float(accuracy_score(truth, said)),
        },
    }


def headlines(root: Path) -> dict[str, object]:
    """ROUGE of the first words of the description."""
    news: Pairs = load("agnews", root=root, kind="pairs", least=1, longest=1000)

    def scored(part: str, count: int) -> dict[str, float]:
        from torchmetrics.text import ROUGEScore

        sentences = getattr(news, part)
        said = [_lead(row, count, news) for row in sentences.sources]
        metric = ROUGEScore(rouge_keys=ROUGE)
        metric.update(said, [[text] for text in sentences.references])
        values = metric.compute()
        return {name: float(values[f"{name}_fmeasure"]) for name in ROUGE}

    by_count = {count: scored("valid", count) for count in range(6, 31, 2)}
    best = max(by_count, key=lambda count: by_count[count]["rouge1"])
    return {
        "task": "summarization",
        "method": f"the first {best} words",
        "chosen": f"{best} words",
        "valid": by_count[best],
        "test": scored("test", best),
    }


def _lead(row: torch.Tensor, count: int, news: Pairs) -> str:
    words = [word for word in row.tolist() if word not in (PADDING, END)][:count]
    return join(news.source.words[word] for word in words)


def main() -> None:
    """Compute both, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", required=True, type=Path, help="folder of AG News' test.csv")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [
        {**row, "command": COMMAND, "hardware": hardware("cpu")}
        for row in (topics(given.root), headlines(given.root))
    ]
    lines = [
        (
            row["task"],
            row["method"],
            ", ".join(f"{name} {100 * value:.1f}" for name, value in row["test"].items()),
        )
        for row in record("news_baselines", KEY, rows)
    ]
    put_table("news_baselines", table(("task", "method", "test %"), lines))


if __name__ == "__main__":
    main()
