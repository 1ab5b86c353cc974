"""The benchmark table: accuracies, ranks, and the errors of invalid files."""

from __future__ import annotations

import bz2
import gzip
import os
import time
from pathlib import Path
from typing import Any

import pytest

from darts.judging import nas201_table
from darts.spaces.nas201 import Genotype

COLUMNS = ("cifar10_val_ep12", "cifar10_test_ep200", "cifar10_test_ep200_nats")
ARCHS = [str(Genotype.from_index(index)) for index in range(15625)]


def accuracy(index: int) -> float:
    """Return an accuracy; groups of four are equal, and index 7 is in the best group."""
    return 10 + ((index // 4 - 2) % 3907) * 0.02


def rows() -> list[str]:
    """Return the lines of a table in reverse order."""
    lines = [
        f"{index},{arch},{accuracy(index) / 2:.3f},{accuracy(index):.3f},{index % 100},{index % 9}"
        for index, arch in enumerate(ARCHS)
    ]
    return [",".join(("idx", "arch", *COLUMNS, "iso")), *reversed(lines)]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return rows()


@pytest.fixture(scope="module")
def table(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> nas201_table.Table:
    path = tmp_path_factory.mktemp("table") / "any.csv"
    path.write_text("\n".join(lines))
    return nas201_table.load(path)


def test_accuracies_match_the_file(table: nas201_table.Table) -> None:
    for index in (0, 1, 77, 15624):
        genotype = Genotype.from_index(index)
        assert table.accuracy(ARCHS[index]) == pytest.approx(accuracy(index), abs=6e-4)
        assert table.accuracy(genotype) == table.accuracy(genotype.to_json())
        assert table.accuracy(genotype, split="val", epochs=12) == pytest.approx(
            accuracy(index) / 2, abs=6e-4
        )
        assert table.accuracy(genotype, split="test_nats") == index % 100
    assert table.columns == COLUMNS


def test_rank_regret_and_percentile(table: nas201_table.Table) -> None:
    values = [round(accuracy(index), 3) for index in range(15625)]
    best = max(values)
    for index in (4, 7, 9, 5000, 15624):
        mine, arch = values[index], ARCHS[index]
        assert table.rank(arch) == 1 + sum(value > mine for value in values)
        assert table.regret(arch) == pytest.approx(best - mine)
        assert table.percentile(arch) == pytest.approx(
            100 * sum(value <= mine for value in values) / 15625
        )
    arch, value = table.optimum()
    assert (arch, value) == (ARCHS[values.index(best)], best)
    assert table.rank(arch) == 1
    assert table.rank(ARCHS[values.index(best) + 1]) == 1  # a tie
    assert table.percentile(arch) == 100
    assert table.regret(arch) == 0


@pytest.mark.parametrize("where", ["file.gz", "nasbench201.csv", "nasbench201.csv.gz"])
def test_compressed_files_and_directories_are_read(
    where: str, lines: list[str], table: nas201_table.Table, tmp_path: Path
) -> None:
    data = "\n".join(lines).encode("utf-8-sig")
    (tmp_path / where).write_bytes(gzip.compress(data, 1) if where.endswith("gz") else data)
    found = nas201_table.load(str(tmp_path / where) if where == "file.gz" else tmp_path)
    assert found.optimum() == table.optimum()


def test_loading_takes_less_than_a_second(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        nas201_table.load(path)
        times.append(time.perf_counter() - begin)
    assert min(times) < 1


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"dataset": "cifar100"}, "no column 'cifar100_test_ep200'; choose from cifar10_val"),
        ({"split": "valid"}, "no column 'cifar10_valid_ep200'"),
        ({"epochs": 100}, "no column 'cifar10_test_ep100'"),
    ],
)
def test_a_missing_column_is_refused(
    which: dict[str, Any], message: str, table: nas201_table.Table
) -> None:
    for lookup in (table.accuracy, table.rank, table.regret, table.percentile):
        with pytest.raises(ValueError, match=message):
            lookup(ARCHS[0], **which)
    with pytest.raises(ValueError, match=message):
        table.optimum(**which)


@pytest.mark.parametrize("arch", ["|none~0|", "DARTS_V2", ARCHS[3].replace("none", "conv"), ""])
def test_an_unknown_architecture_is_refused(arch: str, table: nas201_table.Table) -> None:
    for lookup in (table.accuracy, table.rank, table.regret, table.percentile):
        with pytest.raises(ValueError, match=r"genotype|architecture|unknown operation") as caught:
            lookup(arch)
        assert "\n" not in str(caught.value)


def replaced(lines: list[str], number: int, *swap: str) -> list[str]:
    return [*lines[:number], lines[number].replace(*swap), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ls: [], "the header '' needs a column arch"),
        (lambda ls: ["{}"], "needs a column arch"),
        (lambda ls: replaced(ls, 0, "arch", "cell"), "needs a column arch"),
        (lambda ls: ["arch,iso", f"{ARCHS[0]},1"], "needs a column arch and a column such as"),
        (lambda ls: replaced(ls, 0, "idx", "iso"), "two columns have the same name"),
        (lambda ls: ls[:-1], rf"15624 of 15625 architectures; {'.none~0.'}.* is missing"),
        (lambda ls: ls[:1], "0 of 15625"),
        (lambda ls: [*ls, ls[3]], "line 15627: .* is a duplicate"),
        (lambda ls: replaced(ls, 2, "avg_pool_3x3", "max_pool"), "line 3: .* not an architecture"),
        (lambda ls: [*ls[:5], ls[5] + ",1", *ls[6:]], "line 6 has 7 fields, the header has 6"),
        (lambda ls: [*ls[:5], "a,b", *ls[6:]], "line 6 has 2 fields"),
        (lambda ls: [*ls[:5], ls[5].rsplit(",", 2)[0] + ",high,0", *ls[6:]], "line 6: .*'high'"),
        (lambda ls: [*ls[:5], ls[5].rsplit(",", 2)[0] + ",,0", *ls[6:]], "line 6: could not"),
        (lambda ls: [*ls[:5], ls[5].rsplit(",", 2)[0] + ",nan,0", *ls[6:]], "must be between 0"),
        (lambda ls: [*ls[:5], ls[5].rsplit(",", 2)[0] + ",101,0", *ls[6:]], "between 0 and 100"),
        (lambda ls: [*ls[:5], ls[5].rsplit(",", 2)[0] + ",-1,0", *ls[6:]], "between 0 and 100"),
    ],
)
def test_an_invalid_table_is_refused(
    change: Any, message: str, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(change(lines)))
    with pytest.raises(ValueError, match=message) as caught:
        nas201_table.load(path)
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 4,
        b"\x1f\x8b nothing",
        gzip.compress(b"arch,cifar10_test_ep200\n" * 99)[:-20],
        gzip.compress(b"arch,cifar10_test_ep200\n" * 99)[:14] + b"\xff" * 40,
        b"arch,cifar10_test_ep200\n" + b"x" * 200_000,
    ],
    ids=["bytes", "gzip header", "half a gzip", "a broken gzip", "a long field"],
)
def test_files_that_are_not_csv_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.csv") as caught:
        nas201_table.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the benchmark table .* does not exist"):
        nas201_table.load(tmp_path / "no.csv")
    with pytest.raises(
        ValueError, match=r"contains neither nasbench201\.csv nor nasbench201\.csv\.gz"
    ):
        nas201_table.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"cos\nsystem\n(S'true'\ntR."])
def test_official_files_are_refused_because_they_are_pickles(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    path.write_bytes(bz2.compress(content))
    with pytest.raises(ValueError, match=r"is a pickle, .* convert it to a CSV file") as caught:
        nas201_table.load(path)
    assert "\n" not in str(caught.value)


HEADER = b"arch,cifar10_test_ep200\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(HEADER + bytes(65 * 2**20)), "more than 67,108,864 bytes after"),
        (b"arch," + b",".join(b"a%d_test_ep1" % n for n in range(201)), "more than 200 columns of"),
        (b"arch,a_test_ep1," + b"a_" * 60_000 + b"\n", "0 of 15625 architectures"),
        (HEADER + ARCHS[0].encode() + b"," + b"1" * 100_000, "line 2: a number has more than 100"),
    ],
    ids=["gzip bomb", "columns", "long name", "long number"],
)
def test_a_hostile_table_is_refused_within_a_second(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        nas201_table.load(path)
    assert time.perf_counter() - begin < 1
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"pipe\.csv is not a regular file"):
        nas201_table.load(tmp_path / "pipe.csv")


@pytest.mark.data
@pytest.mark.skipif(
    not Path(os.environ.get("DARTS_DATA", ""), "nasbench201").is_dir(),
    reason="the directory DARTS_DATA contains no nasbench201/",
)
def test_the_published_optima() -> None:
    table = nas201_table.load(Path(os.environ["DARTS_DATA"], "nasbench201"))
    best = {name: table.optimum(dataset=name)[1] for name in ("cifar10", "cifar100", "imagenet16")}
    assert {name: round(value, 2) for name, value in best.items()} == {
        "cifar10": 94.37,
        "cifar100": 73.51,
        "imagenet16": 47.31,
    }
    skips = Genotype.from_operations(*["skip_connect"] * 6)
    assert table.accuracy(skips) == pytest.approx(54.30, abs=0.005)
    assert table.rank(table.optimum()[0]) == 1
    assert table.rank(skips) > 10_000


@pytest.fixture(scope="module")
def latencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latency") / "latency.csv"
    lines = [f"{arch},{index / 100},{index % 7 + 1}" for index, arch in enumerate(ARCHS)]
    path.write_text("\n".join(["arch,raspi4,fpga", *reversed(lines)]))
    return path


def test_latencies_match_the_file(lines: list[str], latencies: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    for place in (latencies, latencies.parent):
        table = nas201_table.load(path, latency=place)
        assert table.devices == ("raspi4", "fpga")
        for index in (0, 77, 15624):
            assert table.latency(ARCHS[index], "raspi4") == index / 100
            assert table.latency(Genotype.from_index(index), "fpga") == index % 7 + 1
        assert table.latencies("fpga").shape == (15625,)
    with pytest.raises(ValueError, match="device 'tpu' is unknown; choose from raspi4, fpga"):
        table.latency(ARCHS[0], "tpu")
    with pytest.raises(ValueError, match="not a NAS-Bench-201 architecture"):
        table.latency("|none~0|", "fpga")


def test_a_table_without_latencies_says_how_to_load_them(table: nas201_table.Table) -> None:
    assert table.devices == ()
    with pytest.raises(ValueError, match="the table has no latencies; load it with latency=FILE"):
        table.latency(ARCHS[0], "raspi4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch\n", "needs a column arch and a column of milliseconds per device"),
        ("raspi4,fpga\n", "needs a column arch and a column of milliseconds per device"),
        (f"arch,fpga\n{ARCHS[0]},3\n", r"is not a latency table: it has 1 of 15625"),
        (f"arch,fpga\n{ARCHS[0]},-3\n", "line 2: fpga must be between 0 and 1e"),
        (f"arch,fpga\n{ARCHS[0]},\n", "line 2: could not convert"),
        (f"arch,fpga\n{ARCHS[0]},inf\n", "line 2: fpga must be between 0"),
        ("arch,fpga\n|x|,3\n", "line 2: '.x.' is not an architecture of NAS-Bench-201"),
    ],
    ids=range(7),
)
def test_an_invalid_latency_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        nas201_table.load(tmp_path / "none.csv", latency=path)
    assert "\n" not in str(caught.value)
    assert "slow.csv" in str(caught.value)
    with pytest.raises(ValueError, match=r"the latency table .* does not exist"):
        nas201_table.load(tmp_path / "none.csv", latency=tmp_path / "no.csv")


@pytest.mark.data
@pytest.mark.skipif(
    not Path(os.environ.get("DARTS_DATA", ""), "nasbench201", "latency.csv").is_file(),
    reason="the directory DARTS_DATA contains no nasbench201/latency.csv",
)
def test_the_published_latencies() -> None:
    folder = Path(os.environ["DARTS_DATA"], "nasbench201")
    table = nas201_table.load(folder, latency=folder)
    assert {"raspi4", "pixel3", "fpga", "eyeriss", "1080ti_1"} <= set(table.devices)
    arch = (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert table.latency(arch, "raspi4") == 10.482
    assert table.latency(arch, "fpga") == 2.573
