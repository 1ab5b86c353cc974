"""The table of NAS-Bench-Macro: lookups, notations, and the errors of invalid files."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from darts.benchmarks import macro
from darts.spaces.macro import Genotype
from darts.spaces.nas201 import Genotype as Nas201Genotype
from darts.training.cost import count_macs, count_parameters

ARCHS = ["".join(digits) for digits in product("012", repeat=8)]
HEADER = "arch,test_acc_0,test_acc_1,mean_acc,std,params,flops,note"


def accuracy(arch: str) -> float:
    """Return an accuracy between 50 and 90; architectures with equal sums of digits are equal."""
    return 50 + 2.5 * sum(map(int, arch))


def rows() -> list[str]:
    """Return the lines of a table in reverse order."""
    lines = [
        f"{arch},{accuracy(arch) - 1},{accuracy(arch) + 1},{accuracy(arch)},1.0,"
        f"{1000 + index},{2000 + index},x"
        for index, arch in enumerate(ARCHS)
    ]
    return [HEADER, *reversed(lines)]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return rows()


@pytest.fixture(scope="module")
def table(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> macro.Table:
    path = tmp_path_factory.mktemp("table") / "any.csv"
    path.write_text("\n".join(lines))
    return macro.load(path)


def test_lookups(table: macro.Table) -> None:
    assert (len(table), list(table)) == (6561, ARCHS)
    assert table.columns == (
        *("cifar10_test_ep50", "cifar10_test_ep50_run0", "cifar10_test_ep50_run1"),
    )
    for index in (0, 5, 4000, 6560):
        arch = ARCHS[index]
        genotype = macro.genotype_of(arch)
        for given in (arch, genotype, str(genotype), genotype.to_json()):
            assert table.accuracy(given) == accuracy(arch)
        assert table.accuracy(arch, split="test_run1", epochs=50) == accuracy(arch) + 1
        assert (table.parameters(arch), table.macs(genotype)) == (1000 + index, 2000 + index)
        assert table.numbers["deviation"][index] == 1
    values = np.array([accuracy(arch) for arch in ARCHS])
    assert np.array_equal(table.column(), values)
    assert table.optimum() == ("22222222", 90)
    assert table.rank("22222221") == 2
    assert table.rank("22222211") == 1 + (values > 85).sum()
    assert table.regret("00000000") == 40
    assert table.percentile("22222222") == 100


def test_genotypes_and_digits_are_inverse() -> None:
    space = macro.space()
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        genotype = space.random(generator)
        assert macro.genotype_of(macro.arch_of(genotype)) == genotype
    assert macro.genotype_of("01201201") == Genotype(
        (
            *("conv_1x1", "mb_k3_e3"),
            *("mb_k5_e6", "skip_connect", "mb_k3_e3"),
            *("mb_k5_e6", "skip_connect", "mb_k3_e3"),
        ),
        (2, 3, 3),
    )


@pytest.mark.parametrize("where", ["file.gz", "nasbench_macro.csv", "nasbench_macro.csv.gz"])
def test_compressed_files_and_directories_are_read(
    where: str, lines: list[str], table: macro.Table, tmp_path: Path
) -> None:
    data = "\n".join(lines).encode("utf-8-sig")
    (tmp_path / where).write_bytes(gzip.compress(data, 1) if where.endswith("gz") else data)
    found = macro.load(tmp_path / where if where == "file.gz" else tmp_path)
    assert found.optimum() == table.optimum()


def test_columns_of_single_trainings_are_optional(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    fields = [line.split(",") for line in lines]
    path.write_text("\n".join(",".join((f[0], f[3], f[5], f[6])) for f in fields))
    table = macro.load(path)
    assert table.columns == ("cifar10_test_ep50",)
    assert set(table.numbers) == {"parameters", "macs"}


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("0123", "'0123' is not an architecture of NAS-Bench-Macro; the notation is 8 digits"),
        ("01234567", "the notation is 8 digits from 0 to 2"),
        ("٠٠٠٠٠٠٠٠", "the notation is 8 digits"),
        ("", "empty text"),
        ("DARTS_V2", "not a genotype"),
        (Genotype(("mb_k3_e3",) * 9), "is not an architecture of NAS-Bench-Macro"),
        (Genotype(("mb_k7_e3",) * 8, (2, 3, 3)), "is not an architecture of NAS-Bench-Macro"),
        (Nas201Genotype.from_index(3), "is not an architecture of NAS-Bench-Macro"),
    ],
    ids=range(8),
)
def test_an_unknown_architecture_is_refused(
    arch: str | Genotype, message: str, table: macro.Table
) -> None:
    for lookup in (table.accuracy, table.rank, table.regret, table.parameters, table.macs):
        with pytest.raises(ValueError, match=message) as caught:
            lookup(arch)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
    if isinstance(arch, str):
        with pytest.raises(ValueError, match="the notation is 8 digits"):
            macro.genotype_of(arch)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"dataset": "cifar100"}, "no column 'cifar100_test_ep50'; choose from cifar10_test_ep50"),
        ({"split": "val"}, "no column 'cifar10_val_ep50'"),
        ({"split": "test_run7"}, "no column 'cifar10_test_ep50_run7'"),
        ({"epochs": 200}, "no column 'cifar10_test_ep200'"),
    ],
)
def test_a_missing_column_is_refused(
    column: dict[str, str], message: str, table: macro.Table
) -> None:
    with pytest.raises(ValueError, match=message):
        table.accuracy(ARCHS[0], **column)  # type: ignore[arg-type]


def replaced(lines: list[str], number: int, *swap: str) -> list[str]:
    return [*lines[:number], lines[number].replace(*swap), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ls: [], "the header '' needs the columns arch, mean_acc, params, flops"),
        (lambda ls: replaced(ls, 0, "flops", "macs"), "needs the columns arch, mean_acc, params"),
        (lambda ls: replaced(ls, 0, "note", "std"), "two columns have the same name"),
        (lambda ls: ls[:-1], "6560 of 6561 architectures; 00000000 is missing"),
        (lambda ls: [*ls, ls[3]], "line 6563: 22222220 is a duplicate"),
        (lambda ls: replaced(ls, 1, "22222222", "22222223"), "line 2: '22222223' is not an arch"),
        (lambda ls: [*ls[:5], ls[5] + ",1", *ls[6:]], "line 6 has 9 fields, the header has 8"),
        (lambda ls: replaced(ls, 2, ",1.0,", ",high,"), "line 3: .*'high'"),
        (lambda ls: replaced(ls, 1, ",90.0,", ",190.0,"), "line 2: mean_acc must be between 0 and"),
        (lambda ls: replaced(ls, 1, ",7560,", ",-1,"), "line 2: params must be between 0 and"),
        (lambda ls: replaced(ls, 1, ",8560,", ",nan,"), "line 2: flops must be between 0 and"),
    ],
    ids=range(11),
)
def test_an_invalid_table_is_refused(
    change: Callable[[list[str]], list[str]], message: str, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(change(lines)))
    with pytest.raises(ValueError, match=message) as caught:
        macro.load(path)
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the benchmark table .* does not exist"):
        macro.load(tmp_path / "no.csv")
    with pytest.raises(ValueError, match=r"contains neither nasbench_macro\.csv nor nasbench_m"):
        macro.load(tmp_path)


@pytest.mark.data
@pytest.mark.skipif(
    not Path(os.environ.get("DARTS_DATA", ""), "nasbench_macro").is_dir(),
    reason="the directory DARTS_DATA contains no nasbench_macro/",
)
def test_all_networks_have_the_published_parameters_and_macs() -> None:
    """The cost of a network is the sum of its pieces, which are measured once."""
    folder = Path(os.environ["DARTS_DATA"], "nasbench_macro")
    table, space = macro.load(folder), macro.space()
    fixed = np.zeros(2, dtype=int)
    costs = {}
    for piece in space.pieces(classes=10, sample_shape=(3, 32, 32)):
        module = piece.make()
        macs = count_macs(module, torch.zeros(1, *piece.shape))
        cost = np.array([count_parameters(module.parameters()), macs])
        if piece.place is None:
            fixed += cost
        else:
            costs[piece.place] = cost
    candidates = space.supernet(classes=10, in_channels=3).candidates
    for arch in table:
        total = fixed.copy()
        for group, mask in space.mask(macro.genotype_of(arch), candidates).items():
            for row, column in mask.nonzero().tolist():
                total += costs[group, row, column]
        assert total.tolist() == [table.parameters(arch), table.macs(arch)]
    for arch in (ARCHS[0], ARCHS[1234], ARCHS[4321], ARCHS[-1]):  # whole networks
        net = space.network(macro.genotype_of(arch), classes=10, in_channels=3)
        assert count_parameters(net.parameters()) == table.parameters(arch)
        assert count_macs(net, torch.zeros(1, 3, 32, 32)) == table.macs(arch)
    # Published values, read without the package.
    with next(folder.glob("*.csv")).open(encoding="utf-8") as file:
        published = {row["arch"]: float(row["mean_acc"]) for row in csv.DictReader(file)}
    assert {arch: table.accuracy(arch) for arch in table} == published
    assert table.rank("22212220") == 1
    assert round(table.accuracy("22212220"), 2) == 93.13
    assert round(float(table.column().mean()), 2) == 90.25
    for arch in table:  # equal networks have equal rows
        same = macro.arch_of(macro.genotype_of(arch).canonical())
        assert table.accuracy(same) == table.accuracy(arch)
