"""The documentation site, which ``make docs`` builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import darts

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr  # a warning is an error
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in start, page.name


def test_tutorials_show_their_outputs(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for notebook in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        assert f'href="tutorials/{notebook.stem}.html"' in start, notebook.stem
        assert (site / "tutorials" / notebook.name).exists()
    page = (site / "tutorials" / "collapse.html").read_text(encoding="utf-8")
    (image,) = re.findall(r'src="(collapse_files/[^"]*\.svg)"', page)
    assert "<svg" in (site / "tutorials" / image).read_text(encoding="utf-8")
    assert "skip connections or none" in page
    assert "experiments/README.md" not in (site / "tutorials" / "compare_methods.html").read_text(
        encoding="utf-8"
    )


def test_the_reference_contains_the_public_names(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    names = {f"darts.api.{name}" for name in ("find", "search", "retrain", "create_model")}
    names |= {f"darts.recipes.model.{name}" for name in ("load", "predict")}
    names |= {f"darts.spaces.module.{name}" for name in ("Choice", "InputChoice", "Repeat")}
    assert all(f'id="{name}"' in text or f'id="{name}.' in text for name in names), names
    known = {name.rpartition(".")[2] for name in names} | {"__version__"}
    assert known == set(darts.__all__)


def test_the_pages_load_nothing_from_other_servers(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?://[^"]*)"', text)
        assert loaded == [], page.name
