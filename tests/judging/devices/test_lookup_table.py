"""Lookup tables of latencies, and the weights of networks."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import darts
from darts.judging.devices import load_model
from darts.judging.devices.lookup_table import LookupTable, info_file, measure, measure_networks
from darts.judging.devices.memory import count_weights
from darts.judging.devices.pieces import FIXED, operations_of
from darts.judging.devices.stopwatch import Timing, TimingSettings, time_passes, timing
from darts.reading import FileError
from darts.spaces import SPACES, Space
from darts.spaces.cnn import Cnn
from darts.spaces.module.targets import allow_import
from darts.spaces.nas201 import Nas201
from darts.spaces.nas201.genotype import PRIMITIVES

SETTINGS = TimingSettings("cpu", threads=1, batch_size=2, precision="fp32", warmup=1, repeats=3)
SMALL: dict[str, Space] = {
    "nas201": Nas201(channels=2, cells=1),
    "cnn": Cnn(channels=4, cells=3),
    "macro": SPACES["macro"](channels=4),
    "mlp": SPACES["mlp"](),
}


def table_of(space: Space, settings: TimingSettings = SETTINGS) -> LookupTable:
    return measure(space, settings, classes=3, sample_shape=(3, 8, 8))


def with_medians(table: LookupTable, base: float = 2.0) -> LookupTable:
    """Return a table in which row n has a latency of base^n ms.

    With base 2, a sum identifies its terms.
    """
    times = (Timing(base**n, 0.0, 3) for n in range(len(table.rows)))
    rows = [dataclasses.replace(row, timing=t) for row, t in zip(table.rows, times, strict=True)]
    return dataclasses.replace(table, rows=tuple(rows))


@pytest.fixture(scope="module")
def nas201() -> LookupTable:
    return table_of(SMALL["nas201"])


def test_the_operations_of_nas201() -> None:
    found = [
        (operation.name, operation.key[1])
        for operation in operations_of(Nas201(channels=16), classes=10, sample_shape=(3, 32, 32))
    ]
    computing = [name for name in PRIMITIVES if name not in ("none", "skip_connect")]
    stages = [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    expected = [(FIXED, (3, 32, 32))]
    for stage in stages:
        # A residual block follows each stage but the last, which the head follows.
        expected += [*((name, stage) for name in computing), (FIXED, stage)]
    assert found == expected


def test_the_latency_of_a_cell_is_a_sum_over_all_cells(nas201: LookupTable) -> None:
    table = with_medians(nas201)
    cost = {(row.operation, row.key[1]): row.timing.median_ms for row in table.rows}
    stages = [(2, 8, 8), (4, 4, 4), (8, 2, 2)]
    fixed = sum(value for (name, _), value in cost.items() if name == FIXED)
    draw = torch.Generator().manual_seed(0)
    for _ in range(10):
        genotype = SMALL["nas201"].random(draw)
        terms = [
            cost[name, stage]
            for stage in stages
            for name in genotype.operations
            if name not in ("none", "skip_connect")
        ]
        assert table.predict(genotype) == fixed + sum(terms)


@pytest.mark.parametrize("name", SMALL)
def test_a_table_survives_its_files(name: str, tmp_path: Path) -> None:
    table = with_medians(table_of(SMALL[name]), base=1.0)
    table.save(tmp_path / "new" / "x.csv")
    loaded = load_model(tmp_path / "new" / "x.csv")
    assert loaded == table
    assert loaded.space == SMALL[name]
    draw = torch.Generator().manual_seed(0)
    genotypes = [SMALL[name].random(draw) for _ in range(3)]
    latencies = [loaded.predict(genotype) for genotype in genotypes]
    assert latencies == [table.predict(genotype) for genotype in genotypes]
    assert min(latencies) > 0
    info = yaml.safe_load((tmp_path / "new" / "x.yaml").read_text())
    assert info["settings"] == dataclasses.asdict(SETTINGS)
    assert info["torch"] == torch.__version__
    assert info["name"]


class Sleep(nn.Module):
    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds = iter(seconds)

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
        time.sleep(next(self.seconds))
        return x


def test_the_median_leaves_out_the_warm_up() -> None:
    threads, rounds = torch.get_num_threads(), []
    modules = [Sleep(0.5, 0.01, 0.03, 0.02), Sleep(0.4, 0.0, 0.0, 0.0)]
    with timing(SETTINGS):
        inputs, count = [torch.zeros(1)] * 2, lambda: rounds.append(len(rounds))
        slow, quick = time_passes(modules, inputs, SETTINGS, count)
    assert rounds == [0, 1, 2, 3]
    assert torch.get_num_threads() == threads
    assert slow.count == quick.count == 3
    assert 20 <= slow.median_ms < 100
    assert slow.spread_ms > 5
    assert quick.median_ms < 10


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_is_measured(precision: str) -> None:
    settings = dataclasses.replace(SETTINGS, device="cuda", precision=precision)
    table = table_of(SMALL["nas201"], settings)
    assert table.info.name == torch.cuda.get_device_name()
    genotype = SMALL["nas201"].random(torch.Generator().manual_seed(0))
    (found,) = measure_networks([genotype], table)
    assert found.median_ms > 0
    assert table.predict(genotype) > 0


def test_genotypes_of_other_spaces_and_missing_rows_are_errors(nas201: LookupTable) -> None:
    other, own = (
        SMALL[name].random(torch.Generator().manual_seed(0)) for name in ("cnn", "nas201")
    )
    with pytest.raises(ValueError, match="for space=nas201, and the genotype is of space=cnn"):
        nas201.predict(other)
    table = dataclasses.replace(nas201, rows=nas201.rows[1:])
    with pytest.raises(ValueError, match=r"no row for .* measure the space again"):
        table.predict(own)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("median_ms", "median"), "no column 'median_ms'"),
        ((",3\n", ",3,4\n"), "Expected 8 fields in line 2, saw 9"),
        ((",3\n", ",-3\n"), "count: Expected int >= 1"),
        (("fixed,3x8x8", "fixed,3xax8"), "invalid literal"),
        ({"classes": 0}, "classes: Expected int >= 1"),
        ({"sample_shape": "3x8x8"}, "sample_shape"),
        ({"settings": None}, "settings: Expected object, got null"),
        ({"space": {"name": "grid"}}, "space.name='grid' is unknown"),
    ],
)
def test_damaged_tables_and_descriptions_are_refused(
    change: Any, named: str, nas201: LookupTable, tmp_path: Path
) -> None:
    table = tmp_path / "x.csv"
    nas201.save(table)
    if isinstance(change, dict):
        info, error = yaml.safe_load(info_file(table).read_text()), ValueError
        info_file(table).write_text(yaml.safe_dump(info | change))
    else:
        table.write_text(table.read_text().replace(*change, 1))
        error = FileError
    genotype = SMALL["nas201"].random(torch.Generator().manual_seed(0))
    with pytest.raises(error, match=named) as caught:
        load_model(table).predict(genotype)
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_imports_no_code(nas201: LookupTable, tmp_path: Path) -> None:
    info = dataclasses.replace(nas201.info, space={"name": "module", "target": "os:system"})
    dataclasses.replace(nas201, info=info).save(tmp_path / "x.csv")
    table = load_model(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"space\.target='os:system'"):
        table.space.supernet(classes=3, in_channels=3)


class OwnNet(nn.Module):
    """A model with a choice, as users write it."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.choice = darts.Choice({"small": nn.Conv2d(3, 4, 1), "large": nn.Conv2d(3, 4, 3, 1, 1)})
        self.classifier = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.choice(x).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_model_of_the_users_own_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARTS_ALLOWED_MODELS", "")
    target = f"{__name__}:OwnNet"
    allow_import(target)
    space = SPACES["module"](target=target)  # type: ignore[call-arg]
    table = table_of(space, dataclasses.replace(SETTINGS, batch_size=1))
    assert {row.operation for row in table.rows} == {"small", "large", FIXED}
    draw = torch.Generator().manual_seed(0)
    assert all(table.predict(space.random(draw)) > 0 for _ in range(3))
    with pytest.raises(ValueError, match="batch_size=2: operations of models of your own"):
        table_of(space)


@pytest.mark.parametrize("space", ["cnn", "macro", "mlp", "nas201"])
def test_weights_are_parameters_and_statistics_of_norms(space: str) -> None:
    chosen = SPACES[space]()
    genotype = chosen.random(torch.Generator().manual_seed(1))
    network = chosen.network(genotype, classes=5, in_channels=chosen.in_channels((3, 16, 16)))
    parameters = sum(t.numel() for t in network.parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert count_weights(network, statistics=False) == parameters
    assert count_weights(network) == parameters + 2 * sum(norm.num_features for norm in norms)


def test_the_weights_of_an_auxiliary_head_do_not_count() -> None:
    space = Cnn(channels=4, cells=3)
    genotype = space.random(torch.Generator().manual_seed(0))
    plain, with_head = (
        space.network(genotype, classes=10, in_channels=3, auxiliary=auxiliary)
        for auxiliary in (False, True)
    )
    assert count_weights(with_head) == count_weights(plain)
