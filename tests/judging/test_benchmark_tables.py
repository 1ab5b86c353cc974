"""Benchmark tables: lookups, notations, and the errors of invalid files."""

from __future__ import annotations

import bz2
import csv
import gzip
import os
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from darts.benchmarks import macro, nas201
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces.macro import Genotype as MacroGenotype
from darts.spaces.nas201 import Genotype

CELLS = [str(Genotype.from_index(index)) for index in range(15625)]
CHAINS = ["".join(digits) for digits in product("012", repeat=8)]


def cell_accuracy(index: int) -> float:
    """Return an accuracy; groups of four are equal, and index 7 is in the best group."""
    return 10 + ((index // 4 - 2) % 3907) * 0.02


def chain_accuracy(arch: str) -> float:
    """Return an accuracy between 50 and 90; architectures with equal sums of digits are equal."""
    return 50 + 2.5 * sum(map(int, arch))


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The lines of a table of NAS-Bench-201 in reverse order."""
    rows = [
        f"{n},{arch},{cell_accuracy(n) / 2:.3f},{cell_accuracy(n):.3f},{n % 100}"
        for n, arch in enumerate(CELLS)
    ]
    return ["idx,arch,cifar10_val_ep12,cifar10_test_ep200,cifar10_test_ep200_nats", *rows[::-1]]


@pytest.fixture(scope="module")
def macro_lines() -> list[str]:
    """The lines of a table of NAS-Bench-Macro in reverse order."""
    rows = [
        f"{arch},{chain_accuracy(arch) - 1},{chain_accuracy(arch)},1.0,{1000 + n},{2000 + n},x"
        for n, arch in enumerate(CHAINS)
    ]
    return ["arch,test_acc_0,mean_acc,std,params,flops,note", *rows[::-1]]


@pytest.fixture(scope="module")
def table(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> nas201.Table:
    path = tmp_path_factory.mktemp("table") / "any.csv"
    path.write_text("\n".join(lines))
    return nas201.load(path)


@pytest.fixture(scope="module")
def macro_table(macro_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> macro.Table:
    path = tmp_path_factory.mktemp("table") / "any.csv"
    path.write_text("\n".join(macro_lines))
    return macro.load(path)


def test_accuracies_match_the_file(table: nas201.Table) -> None:
    for index in (0, 77, 15624):
        genotype = Genotype.from_index(index)
        assert table.accuracy(CELLS[index]) == pytest.approx(cell_accuracy(index), abs=6e-4)
        assert table.accuracy(genotype) == table.accuracy(genotype.to_json())
        half = table.accuracy(genotype, split="val", epochs=12)
        assert half == pytest.approx(cell_accuracy(index) / 2, abs=6e-4)
        assert table.accuracy(genotype, split="test_nats") == index % 100
    assert len(table.columns) == 3


def test_rank_and_regret(table: nas201.Table) -> None:
    values = [round(cell_accuracy(index), 3) for index in range(15625)]
    best = max(values)
    for index in (7, 9, 15624):
        mine, arch = values[index], CELLS[index]
        assert table.rank(arch) == 1 + sum(value > mine for value in values)
        assert table.regret(arch) == pytest.approx(best - mine)
    arch, value = table.optimum()
    assert (arch, value) == (CELLS[values.index(best)], best)
    assert table.rank(CELLS[values.index(best) + 1]) == 1  # a tie


def test_lookups_of_chains(macro_table: macro.Table) -> None:
    assert list(macro_table) == CHAINS
    assert macro_table.columns == ("cifar10_test_ep50", "cifar10_test_ep50_run0")
    for index in (0, 4000, 6560):
        arch = CHAINS[index]
        genotype = macro.genotype_of(arch)
        for given in (arch, genotype, str(genotype), genotype.to_json()):
            assert macro_table.accuracy(given) == chain_accuracy(arch)
        assert macro_table.accuracy(arch, split="test_run0") == chain_accuracy(arch) - 1
        assert macro_table.parameters(arch) == 1000 + index
        assert macro_table.macs(genotype) == 2000 + index
    assert macro_table.numbers["deviation"][0] == 1
    assert macro_table.optimum() == ("22222222", 90)


def test_genotypes_and_digits_are_inverse() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        genotype = macro.space().random(generator)
        assert macro.genotype_of(macro.arch_of(genotype)) == genotype
    stage = ("mb_k5_e6", "skip_connect", "mb_k3_e3")
    chain = MacroGenotype(("conv_1x1", "mb_k3_e3", *stage, *stage), (2, 3, 3))
    assert macro.genotype_of("01201201") == chain


@pytest.mark.parametrize("where", ["file.gz", "nasbench201.csv", "nasbench201.csv.gz"])
def test_compressed_files_and_directories_are_read(
    where: str, lines: list[str], table: nas201.Table, tmp_path: Path
) -> None:
    data = "\n".join(lines).encode("utf-8-sig")
    (tmp_path / where).write_bytes(gzip.compress(data, 1) if where.endswith("gz") else data)
    found = nas201.load(str(tmp_path / where) if where == "file.gz" else tmp_path)
    assert found.optimum() == table.optimum()


def test_columns_of_single_runs_are_optional(macro_lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    fields = [line.split(",") for line in macro_lines]
    path.write_text("\n".join(",".join((f[0], f[2], f[4], f[5])) for f in fields))
    table = macro.load(path)
    assert table.columns == ("cifar10_test_ep50",)
    assert set(table.numbers) == {"parameters", "macs"}


def test_a_missing_column_is_refused(table: nas201.Table) -> None:
    line = "no column 'cifar100_test_ep200'; choose from cifar10_val_ep12"
    with pytest.raises(ValueError, match=line):
        table.accuracy(CELLS[0], dataset="cifar100")
    with pytest.raises(ValueError, match="no column 'cifar10_test_ep100'"):
        table.optimum(epochs=100)


@pytest.mark.parametrize("arch", ["|none~0|", "DARTS_V2", CELLS[3].replace("none", "conv"), ""])
def test_an_unknown_cell_is_refused(arch: str, table: nas201.Table) -> None:
    with pytest.raises(ValueError, match=r"genotype|architecture|unknown operation") as caught:
        table.rank(arch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("0123", "'0123' is not an architecture of NAS-Bench-Macro; the notation is 8 digits"),
        ("٠٠٠٠٠٠٠٠", "the notation is 8 digits"),
        (MacroGenotype(("mb_k3_e3",) * 9), "is not an architecture of NAS-Bench-Macro"),
        (MacroGenotype(("mb_k7_e3",) * 8, (2, 3, 3)), "is not an architecture of NAS-Bench-Macro"),
        (Genotype.from_index(3), "is not an architecture of NAS-Bench-Macro"),
    ],
    ids=range(5),
)
def test_an_unknown_chain_is_refused(arch: Any, message: str, macro_table: macro.Table) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        macro_table.accuracy(arch)
    assert "\n" not in str(caught.value)


def replaced(lines: list[str], number: int, *swap: str) -> list[str]:
    return [*lines[:number], lines[number].replace(*swap), *lines[number + 1 :]]


def last_cell(lines: list[str], text: str) -> list[str]:
    """Replace the last cell of line 6."""
    return [*lines[:5], f"{lines[5].rpartition(',')[0]},{text}", *lines[6:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ls: [], "the header '' needs a column arch"),
        (lambda ls: ["arch,iso", f"{CELLS[0]},1"], "needs a column arch and a column such as"),
        (lambda ls: ls[:-1], rf"15624 of 15625 architectures; {'.none~0.'}.* is missing"),
        (lambda ls: [*ls, ls[3]], "line 15627: .* is a duplicate"),
        (lambda ls: replaced(ls, 2, "avg_pool_3x3", "max_pool"), "line 3: .* not an architecture"),
        (lambda ls: [*ls[:5], ls[5] + ",1", *ls[6:]], "line 6 has 6 fields, the header has 5"),
        (lambda ls: last_cell(ls, "high"), "could not convert string to float: 'high'"),
        (lambda ls: last_cell(ls, "nan"), "cifar10_test_ep200_nats must be between 0 and 100"),
        (lambda ls: last_cell(ls, "101"), "cifar10_test_ep200_nats must be between 0 and 100"),
    ],
    ids=range(9),
)
def test_an_invalid_table_is_refused(
    change: Callable[[list[str]], list[str]], message: str, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(change(lines)))
    with pytest.raises(ValueError, match=message) as caught:
        nas201.load(path)
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


HEADER = b"arch,cifar10_test_ep200\n"


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 4,
        b"\x1f\x8b nothing",
        gzip.compress(HEADER * 99)[:-20],
        HEADER + b"x" * 200_000,
        gzip.compress(HEADER + bytes(65 * 2**20)),
        b"arch,a_test_ep1," + b"a_" * 60_000 + b"\n",
        HEADER + CELLS[0].encode() + b"," + b"1" * 100_000,
    ],
    ids=["bytes", "gzip header", "half", "long field", "bomb", "long name", "long number"],
)
def test_hostile_files_are_refused_within_a_second(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=r"t\.csv") as caught:
        nas201.load(path)
    assert time.perf_counter() - begin < 1
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the benchmark table .* does not exist"):
        nas201.load(tmp_path / "no.csv")
    with pytest.raises(ValueError, match=r"contains neither nasbench201\.csv nor nasbench201\."):
        nas201.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"pipe\.csv is not a regular file"):
        nas201.load(tmp_path / "pipe.csv")


def test_official_files_are_refused_because_they_are_pickles(tmp_path: Path) -> None:
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    path.write_bytes(bz2.compress(b"cos\nsystem\n(S'true'\ntR."))
    with pytest.raises(ValueError, match=r"is a pickle, .* convert it to a CSV file"):
        nas201.load(path)


def test_latencies_match_the_file(lines: list[str], table: nas201.Table, tmp_path: Path) -> None:
    rows = [f"{arch},{index / 100},{index % 7 + 1}" for index, arch in enumerate(CELLS)]
    (tmp_path / "latency.csv").write_text("\n".join(["arch,raspi4,fpga", *reversed(rows)]))
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    found = nas201.load(path, latency=tmp_path)
    assert found.devices == ("raspi4", "fpga")
    for index in (0, 77, 15624):
        assert found.latency(CELLS[index], "raspi4") == index / 100
    assert found.latencies("fpga").shape == (15625,)
    with pytest.raises(ValueError, match="unknown device 'tpu'; choose from raspi4, fpga"):
        found.latency(CELLS[0], "tpu")
    with pytest.raises(ValueError, match="the table has no latencies; load it with latency=FILE"):
        table.latency(CELLS[0], "raspi4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raspi4,fpga\n", "needs a column arch and a column of milliseconds per device"),
        (f"arch,fpga\n{CELLS[0]},3\n", r"is not a latency table: it has 1 of 15625"),
    ],
    ids=range(2),
)
def test_an_invalid_latency_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        nas201.load(tmp_path / "none.csv", latency=path)


@pytest.mark.data("nasbench201/latency.csv")
def test_the_published_optima_and_latencies(real_data: Path) -> None:
    table = nas201.load(real_data.parent, latency=real_data.parent)
    names = ("cifar10", "cifar100", "imagenet16")
    best = [round(table.optimum(dataset=name)[1], 2) for name in names]
    assert best == [94.37, 73.51, 47.31]
    skips = Genotype.from_operations(*["skip_connect"] * 6)
    assert table.accuracy(skips) == pytest.approx(54.30, abs=0.005)
    assert table.rank(skips) > 10_000
    arch = (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert (table.latency(arch, "raspi4"), table.latency(arch, "fpga")) == (10.482, 2.573)


@pytest.mark.slow
@pytest.mark.data("nasbench_macro")
def test_all_networks_have_the_published_parameters_and_macs(real_data: Path) -> None:
    table, space = macro.load(real_data), macro.space()
    candidates = space.supernet(classes=10, in_channels=3).candidates
    parameters, flops = (
        ExpectedCost.measured(
            space, candidates, classes=10, sample_shape=(3, 32, 32), measure=MEASURES[name]
        )
        for name in ("parameters", "flops")
    )
    for arch in table:
        genotype = macro.genotype_of(arch)
        assert parameters.of_genotype(genotype) == table.parameters(arch)
        assert flops.of_genotype(genotype) == 2 * table.macs(arch)
        same = macro.arch_of(genotype.canonical())  # equal networks, equal rows
        assert table.accuracy(same) == table.accuracy(arch)
    # Published values, read without the package.
    with next(real_data.glob("*.csv")).open(encoding="utf-8") as file:
        published = {row["arch"]: float(row["mean_acc"]) for row in csv.DictReader(file)}
    assert {arch: table.accuracy(arch) for arch in table} == published
    assert table.rank("22212220") == 1
    assert round(table.accuracy("22212220"), 2) == 93.13
    assert round(float(table.column().mean()), 2) == 90.25
