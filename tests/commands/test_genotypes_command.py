"""The command ``darts.genotypes``, which lists, draws, validates and compares genotypes."""

from __future__ import annotations

from pathlib import Path

import command_calls as commands
import pytest

from darts.spaces import nas201, recurrent
from darts.spaces.cnn import PUBLISHED

GENOTYPE = PUBLISHED["SGAS"].genotype

pytestmark = pytest.mark.usefixtures("drawn_figures", "cwd")


def test_list_contains_paper_and_score_of_published_genotypes(tmp_path: Path) -> None:
    out = commands.run("genotypes", None).out
    lines = out.splitlines()
    first = len(PUBLISHED) + 1
    assert len(lines) == first + len(recurrent.PUBLISHED) + 1
    for entry, line in zip(PUBLISHED.values(), lines[1:first], strict=True):
        assert line.startswith(entry.name)
        assert f"arXiv:{entry.arxiv}" in line
        assert entry.result in line
    assert "DARTS_V2" in out
    assert "2.76 ± 0.09" in out
    assert "test perplexity" in lines[first]
    for cell, line in zip(recurrent.PUBLISHED.values(), lines[first + 1 :], strict=True):
        assert line.startswith(cell.name)
        assert cell.result in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_draw_writes_the_format_of_the_suffix(tmp_path: Path, suffix: str) -> None:
    out = commands.run("genotypes", None, "draw=SGAS", f"out=new/x.{suffix}").out
    file = tmp_path / "new" / f"x.{suffix}"
    start = {"svg": b"<", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert file.read_bytes().startswith(start)
    assert f"x.{suffix}" in out


def test_draw_defaults_to_the_working_directory(tmp_path: Path) -> None:
    commands.run("genotypes", None, "draw=SGAS")
    assert [file.name for file in tmp_path.iterdir()] == ["SGAS.svg"]


@pytest.mark.parametrize("reference", ["DARTS_V2", str(PUBLISHED["DARTS_V2"].genotype)])
def test_validate_prints_cells_and_parameters(reference: str) -> None:
    out = commands.run("genotypes", None, f"validate={reference}").out
    assert "is valid" in out
    assert str(PUBLISHED["DARTS_V2"].genotype) in out
    assert "3,349,342" in out  # as published, in the published network
    assert "4 nodes" in out


def test_compare_prints_and_draws_differences(tmp_path: Path) -> None:
    out = commands.run("genotypes", None, "compare=[DARTS_V1,DARTS_V2]", "out=two.png").out
    assert "DARTS_V1 and DARTS_V2" in out
    assert "differences" in out
    assert "normal cell" in out
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    out = commands.run("genotypes", None, "compare=[SGAS,sgas]").out
    assert "equal" in out


def test_compare_recognizes_equal_genotypes_in_different_formats(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(GENOTYPE.to_json(), encoding="utf-8")
    (tmp_path / "b.json").write_text(str(GENOTYPE), encoding="utf-8")
    assert "equal" in commands.run("genotypes", None, "compare=[a.json,b.json]").out


def test_compare_of_different_spaces_is_refused(tmp_path: Path) -> None:
    genotype = nas201.Genotype.from_operations(*["nor_conv_3x3"] * 5, "skip_connect")
    (tmp_path / "a.json").write_text(genotype.to_json(), encoding="utf-8")
    assert "nas201 and cnn" in commands.error_of("genotypes", "compare=[a.json,DARTS_V2]")


def test_unwritable_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "file" in commands.error_of("genotypes", "draw=SGAS", "out=file/x.svg")
