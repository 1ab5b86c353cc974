"""Exported networks for tables, whose graphs take the columns as they are in the table."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import command_calls as commands
import numpy as np
import pandas as pd
import pytest
import torch

import darts
from darts.data.columns import Column
from darts.data.encodings import RowEncoding
from darts.reading import read_json
from darts.recipes.exporting.formats import FORMATS
from darts.recipes.exporting.rows import RowEncoder

NUMBERS, CATEGORIES = ["age", "income"], ["city", "member", "grade"]
PARTS = [f"joined.{part}" for part in ("year", "month", "weekday", "hour", "days")]
LAYERS = 'genotype={"space": "mlp", "layers": ["relu_16"]}'
CASES = {"numbers": NUMBERS, "categories": CATEGORIES, "coarse": [*NUMBERS, "coarse"]}
CASES["mixed"] = [*NUMBERS, *CATEGORIES, "joined"]


def table(rows: int, seed: int, cities: Sequence[str | None]) -> pd.DataFrame:
    """Return rows with missing values in some columns, and classes that follow from two columns."""
    draw = np.random.default_rng(seed)
    hours = pd.to_timedelta(draw.integers(0, 50_000, rows), unit="h")
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 90, rows).astype(float),
            "income": draw.normal(40_000, 9_000, rows).round(2),
            "city": draw.choice(np.array(cities, object), rows),
            "member": draw.random(rows) < 0.5,
            "grade": draw.integers(1, 4, rows),
            "joined": pd.Timestamp("2019-01-01 12:30") + hours,
            "coarse": 1e9 + draw.normal(size=rows),
        }
    )
    frame["class"] = np.where(frame.income + 9_000 * frame.member > 44_000, "high", "low")
    for name in ("age", "joined"):
        frame[name] = frame[name].where(draw.random(rows) > 0.2)
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns the run directory of a network for a case."""

    @cache
    def train(case: str) -> Path:
        folder: Path = tmp_path_factory.mktemp(case)
        frame = table(300, 0, ["Köln", "Bonn", "Ulm", None])
        frame[[*CASES[case], "class"]].to_csv(folder / "table.csv", index=False)
        data = ["dataset=csv", f"dataset.root={folder / 'table.csv'}", "dataset.bins=8"]
        own = [LAYERS, "space=mlp", "epochs=20", "loader.batch_size=32", "validation=0.3"]
        place = f"hydra.run.dir={folder / 'run'}"
        commands.call("retrain", [*data, *own, *commands.QUIET, place])
        return folder / "run"

    return train


def raw_columns(about: Any, frame: pd.DataFrame) -> list[np.ndarray[Any, Any]]:
    """Return the inputs of a graph, as network.json describes them."""
    date, inputs = frame.joined.dt, []
    days = (frame.joined - pd.Timestamp(0)) / pd.Timedelta(days=1)
    parts = (date.year, date.month, date.day_of_week, date.hour + date.minute / 60, days)
    frame = frame.assign(**dict(zip(PARTS, parts, strict=True)))
    for spec in about["inputs"]:
        values = frame[spec["columns"]].astype(object)
        if spec["name"] == "categories":
            texts = values.map(str, na_action="ignore").fillna("")
            pairs = zip(spec["columns"], spec["categories"], strict=True)
            values = pd.DataFrame(
                {key: pd.Index(own).get_indexer(texts[key]) for key, own in pairs}
            )
        inputs.append(values.to_numpy(spec["type"], copy=True))
    return inputs


def outputs(folder: Path, inputs: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    if (folder / "network.pt2").exists():
        graph = torch.export.load(folder / "network.pt2").module()
        return graph(*map(torch.from_numpy, inputs))[0].detach()
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    names = [own.name for own in session.get_inputs()]
    return torch.from_numpy(session.run(None, dict(zip(names, inputs, strict=True)))[0])


@pytest.mark.parametrize("name", ["onnx", "torch_export"])
@pytest.mark.parametrize("case", ["mixed", "numbers", "categories"])
def test_a_graph_takes_the_columns_of_the_table(
    name: str, case: str, trained: Any, tmp_path: Path
) -> None:
    run = trained(case)
    done = commands.run("export", tmp_path, f"checkpoint={run}", f"format={name}").result
    assert done["valid_accuracy"] == done["float_valid_accuracy"]
    about = read_json(tmp_path / "network.json")
    expected = {"numbers": NUMBERS + PARTS * (case == "mixed"), "categories": CATEGORIES}
    found = {spec["name"]: spec["columns"] for spec in about["inputs"]}
    assert found == (expected if case == "mixed" else {case: expected[case]})
    assert [column["name"] for column in about["encoding"]["columns"]] == CASES[case]
    if case != "numbers":
        texts = dict(zip(CATEGORIES, about["inputs"][-1]["categories"], strict=True))
        assert set(texts["city"]) == {"Köln", "Bonn", "Ulm", ""}
        assert set(texts["member"]) == {"True", "False"}
    frame = table(50, 1, ["Köln", "Bonn", "Paris", None])
    frame.loc[:5, "income"] = np.nan  # no training row lacks it
    model = darts.load(run)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    logits = model(torch.stack([model.transform(row) for row in rows]))
    found = outputs(tmp_path, raw_columns(about, frame))
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)


def test_int8_keeps_the_score(trained: Any, tmp_path: Path) -> None:
    """Numbers of the table are not rounded to 8 bits, only what layers compute from them."""
    pytest.importorskip("onnx")
    words = (f"checkpoint={trained('mixed')}", "quantize=int8", "max_drop=0.05")
    done = commands.run("export", tmp_path, *words).result
    assert done["valid_accuracy"] > 0.8
    assert 0 < done["difference"] < 0.2
    assert len(read_json(tmp_path / "network.json")["inputs"]) == 2


@pytest.mark.parametrize("case", ["coarse", "mixed"])
def test_other_files_take_encoded_rows(
    case: str, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with large numbers that hardly differ, and those of one sample."""
    own = replace(FORMATS["torch_export"], one_sample=case == "mixed")
    monkeypatch.setitem(FORMATS, "torch_export", own)  # type: ignore[arg-type]
    commands.run("export", tmp_path, f"checkpoint={trained(case)}", "format=torch_export")
    (spec,) = read_json(tmp_path / "network.json")["inputs"]
    assert spec["name"] == "samples"
    assert "columns" not in spec


def test_the_mean_of_large_numbers_is_not_rounded() -> None:
    """The difference of a float32 number and the mean is as exact as in float64."""
    mean, deviation = 1_000_000.03, 10.0
    encoding = RowEncoding((Column("x", "number", "1234.5", mean=(mean,), deviation=(deviation,)),))
    numbers = torch.arange(999_980, 1_000_020, 0.25)[:, None]
    expected = ((numbers.double() - mean) / deviation).float()
    found = RowEncoder(encoding)(numbers)[:, :, 0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_validation_rows_are_exact_if_the_deviation_is_much_larger_than_most_numbers() -> None:
    draw = np.random.default_rng(0)
    cells = [[repr(x) for x in np.exp(6 * draw.normal(size=200)).tolist()]]
    samples = (encoding := RowEncoding.fit([Column("x", "number", "1234.5")], cells, 16))(cells)
    encoder = RowEncoder(encoding)
    torch.testing.assert_close(encoder(*encoder.raw(samples)), samples)


def test_the_program_of_the_docs_predicts_a_class(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```\n(import json\n.*?)```", page, re.DOTALL)
    commands.run("export", tmp_path, f"checkpoint={trained('mixed')}")
    monkeypatch.chdir(tmp_path)
    out, names = io.StringIO(), dict[str, Any]()
    with redirect_stdout(out):
        exec(program, names)
    row = dict.fromkeys(CASES["mixed"]) | names["row"]
    (expected,) = darts.predict(trained("mixed"), [row]).classes
    assert out.getvalue() == f"{expected}\n"
