"""``darts.device`` measures lookup tables, fits latency models and compares both."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch
from tiny_search import MS

from darts.judging.devices import load_model
from darts.spaces import SPACES
from darts.spaces.nas201 import Genotype

SMALL = ("space=nas201", "space.channels=2", "space.cells=1", "shape=[3,8,8]")
QUICK = ("device=cpu", "warmup=1", "repeats=3", "threads=1")
FIT = ("fit", *SMALL, "column=phone", "train=100")


@pytest.fixture(scope="module")
def latencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latencies of 400 cells: of a device whose law is known, and constant ones."""
    file = tmp_path_factory.mktemp("latencies") / "latency.csv.gz"
    with gzip.open(file, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arch", "phone", "zeros"])
        for index in range(0, 15625, 39):
            cell = Genotype.from_index(index)
            total = 2 + sum(MS[name] for name in cell.operations)
            writer.writerow([str(cell), f"{total:.3f}", 0])
    return file


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that writes its table into its run directory."""
    folder = tmp_path_factory.mktemp("laptop") / "run"
    return commands.run("device", folder, *SMALL, *QUICK)


@pytest.fixture(scope="module")
def fitted(latencies: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("fit") / "run"
    return commands.run("device", folder, *FIT, f"table={latencies}")


def test_measure_writes_a_table_and_its_description(measured: Any) -> None:
    laptop, summary = measured.directory / "latencies.csv", measured.json("summary.json")
    assert (summary["action"], summary["operations"]) == ("measure", 13)
    assert summary["file"] == str(laptop)
    rows = commands.read_table(laptop)
    assert len(rows) == 13
    names = {row["operation"] for row in rows}
    assert names == {"fixed", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"}
    assert all(float(row["median_ms"]) > 0 and row["count"] == "3" for row in rows)
    assert {row["input"] for row in rows} == {"3x8x8", "2x8x8", "4x4x4", "8x2x2"}
    assert laptop.with_suffix(".yaml").exists()
    genotype = SPACES["nas201"]().random(torch.Generator().manual_seed(0))
    assert load_model(laptop).predict(genotype) > 0


def test_fit_writes_a_model_and_its_accuracy(fitted: Any) -> None:
    summary = fitted.json("summary.json")
    assert summary["tested"] == 301
    assert summary["spearman"] == pytest.approx(1, abs=1e-3)
    assert summary["rmse_ms"] < 0.05
    for name in ("additive", "ridge", "parameters", "macs"):
        for key in ("spearman", "kendall", "rmse_ms"):
            assert f"{name}_{key}" in summary
    assert summary["parameters_spearman"] < summary["spearman"]
    (printed,) = re.findall(r"ridge +(\S+) +(\S+) +(\S+)", fitted.out)
    formats = {"spearman": "+.3f", "kendall": "+.3f", "rmse_ms": ".4g"}
    assert printed == tuple(format(summary[f"ridge_{key}"], f) for key, f in formats.items())
    model = load_model(fitted.directory / "model.json")
    cell = Genotype.from_operations(*["nor_conv_3x3"] * 6)
    assert model.predict(cell) == pytest.approx(26, abs=0.2)


def test_the_order_of_rows_does_not_matter(fitted: Any, latencies: Path, tmp_path: Path) -> None:
    """A plain file with the same rows in another order, and another place for the model."""
    with gzip.open(latencies, "rt") as file:
        header, *lines = file.read().splitlines()
    plain, out = tmp_path / "plain.csv", tmp_path / "out.json"
    plain.write_text("\n".join([header, *reversed(lines)]))
    commands.run("device", tmp_path / "run", *FIT, f"table={plain}", f"out={out}")
    assert out.read_bytes() == (fitted.directory / "model.json").read_bytes()


def test_compare_omits_networks_of_the_fit(fitted: Any, latencies: Path, tmp_path: Path) -> None:
    model = f"model={fitted.directory / 'model.json'}"
    table = (f"table={latencies}", "column=phone")
    run = commands.run("device", tmp_path / "run", "compare", model, *table)
    summary = run.json("summary.json")
    assert summary["tested"] == 301
    for key in ("spearman", "kendall", "rmse_ms"):
        assert summary[key] == summary[f"table_{key}"] == fitted.json("summary.json")[key]
    error = commands.error_of("device", "compare", model, "networks=2")
    assert "networks=2: needs a lookup table" in error


def test_compare_can_measure_networks(measured: Any, latencies: Path, tmp_path: Path) -> None:
    model = f"model={measured.directory / 'latencies.csv'}"
    given = (model, "networks=4", f"table={latencies}", "column=phone")
    run = commands.run("device", tmp_path / "run", "compare", *given)
    summary = run.json("summary.json")
    assert summary["networks"] == 4
    assert summary["networks_rmse_ms"] > 0
    assert summary["table_spearman"] > 0.3  # convolutions take longer than poolings on any machine
    assert "networks " in run.out
    assert "table " in run.out


ERRORS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("fit",), ("fit needs measurements", "table=FILE", "column=NAME")),
    (("fit", "table=x.csv"), ("table=FILE and column=NAME belong together",)),
    (("fit", "table=x.csv", "column=a"), ("table='x.csv' cannot be read: No such",)),
    (("fit", "table=TABLE", "column=fone"), ("column=fone", "choose from phone, zeros")),
    (("fit", "table=TABLE", "column=zeros"), ("column=zeros", "a latency must be > 0")),
    (("fit", "table=TABLE", "column=phone", "train=400"), ("train=400 leaves fewer than 2",)),
    (("fit", "table=TABLE", "column=phone", "space=cnn"), ("space=nas201, not of space=cnn",)),
    (("fit", "table=TABLE", "column=phone", "out=x.pkl"), ("out='x.pkl'", ".json")),
    (("compare",), ("compare needs a model", "model=FILE")),
    (("compare", "model=x.csv", "networks=1"), ("networks=1", "at least two")),
    (("compare", "model=x.csv", "networks=2", "space=mlp"), ("space", "leave the key out")),
    (("compare", "model=x.csv", "networks=2", "threads=1"), ("threads=1", "does not use it")),
    (("measure", "networks=3"), ("networks=3", "measure does not use it")),
    (("fit", "table=x", "column=y", "repeats=9"), ("repeats=9", "fit does not use it")),
    (("compare", "model=x.json"), ("compare needs measurements", "networks=20")),
    (("compare", "model=x.json", "networks=2"), ("x.json", "No such file")),
    (("compare", "model=x.csv", "networks=2", "out=y.csv"), ("out='y.csv'", "leave it out")),
    (("compare", "model=x.pt", "networks=2"), ("'x.pt'", ".csv", ".json")),
    (("measure", "space=recurrent"), ("space=recurrent", "choose from cnn, elastic, macro")),
    (("measure", "shape=[3,32]"), ("shape=[3, 32]", "channels, height and width")),
    (("measure", "out=x.txt"), ("out='x.txt'", "must end in .csv")),
    (("measure", "precision=fp16", "device=cpu"), ("precision=fp16", "needs a GPU")),
    (("action=mesure",), ("action='mesure'", "measure, fit, compare")),
)


@pytest.mark.parametrize(("arguments", "named"), ERRORS)
def test_errors_name_key_and_choices(
    arguments: tuple[str, ...], named: tuple[str, ...], latencies: Path, cwd: Path
) -> None:
    needs_none = arguments[0] == "compare" or any(word.startswith("space=") for word in arguments)
    space = () if needs_none else SMALL
    given = [word.replace("=TABLE", f"={latencies}") for word in arguments]
    error = commands.error_of("device", given[0], *space, *given[1:])
    assert all(word in error for word in named), error
    assert not list(cwd.rglob("*")), "the command left files"


@pytest.mark.data("nasbench201/latency.csv")
@pytest.mark.slow
def test_models_of_real_devices_rank_their_cells(real_data: Path, tmp_path: Path) -> None:
    """A few devices of different kinds; experiments/device_fits.py fits all of them."""
    for column in ("raspi4", "samsung_s7", "2080ti_1", "eyeriss"):
        given = ("fit", "space=nas201", f"table={real_data}", f"column={column}")
        run = commands.run("device", tmp_path / column, *given)
        summary = run.json("summary.json")
        assert summary["tested"] == 15425
        assert summary["spearman"] >= 0.90, column
        assert summary["spearman"] > summary["macs_spearman"]
