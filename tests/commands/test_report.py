"""The command ``darts.report`` on the directories of tiny runs."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import command_calls as commands
import pytest
from test_damaged_report import STUDY

from darts.reporting import page as page_module
from darts.tracking import format_value

VOID = {"meta", "img", "line", "circle", "polyline", "path", "use", "br", "rect"}
drawn = pytest.mark.usefixtures("drawn_figures")


class PageParser(HTMLParser):
    """Parser that checks that elements are closed in order.

    It collects texts, ids and addresses outside the page, and counts scripts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.scripts += tag == "script"
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.addresses += [
            str(value)
            for key, value in attrs
            if key in ("src", "href", "xlink:href") and not str(value).startswith(("#", "data:"))
        ]
        assert not [key for key in attributes if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Path) -> tuple[str, PageParser]:
    """Return the text of a page and its parser.

    Check that the page is well formed, loads nothing and contains one script.
    """
    reader = PageParser()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    assert reader.addresses == []
    assert reader.scripts == 1
    assert len(reader.ids) == len(set(reader.ids))
    return " ".join(" ".join(reader.text).split()), reader


def report(folder: Path, *runs: Path) -> tuple[str, PageParser, str]:
    """Write the page of some runs; return what ``read`` returns, and its HTML."""
    page = folder / "page.html"
    commands.call("report", [*map(str, runs), f"out={page}"])
    return *read(page), page.read_text(encoding="utf-8")


def copy_run(run: Any, target: Path) -> Path:
    shutil.copytree(run.directory, target)
    return target


@drawn
def test_page_of_a_search_shows_results_edges_and_command(search_run: Any, tmp_path: Path) -> None:
    """The directory is named after the overrides of the run, as Hydra names runs of a sweep."""
    run = copy_run(search_run, tmp_path / "seed=3, it's [1]")
    before = {file: file.read_bytes() for file in run.iterdir()}
    done = commands.call("report", [str(run)])
    page = run / "report.html"
    assert str(page) in done.out
    assert {file: file.read_bytes() for file in run.iterdir() if file != page} == before
    text, _ = read(page)
    summary = search_run.json("summary.json")
    for name in ("valid_accuracy", "parameters", "macs"):
        assert format_value(name, summary[name]) in text
    assert summary["genotype"] in text
    assert summary["joules_source"] in text
    assert "search: finished" in text
    # Each edge has a row in a matrix and a panel.
    content = page.read_text(encoding="utf-8")
    section = content.split("<h3>probabilities of the operations</h3>")[1].split("</section>")[0]
    alphas = search_run.json("alphas.json")
    for cell, history in alphas.items():
        part = section.split(f"<h4>{cell}</h4>")[1].split("<h4>")[0]
        for edge in history["edges"]:
            assert part.count(f">{edge}</text>") == 2
    edges = sum(len(search_run.checkpoint["history"][-1][cell]) for cell in alphas)
    assert edges == sum(len(history["edges"]) for history in alphas.values())
    overrides = json.loads((run / "overrides.json").read_text())["overrides"]
    assert f"darts search {' '.join(overrides)}" in text
    assert search_run.json("env.json")["versions"]["torch"] in text
    assert (run / "config.yaml").read_text().splitlines()[-1] in content


@drawn
def test_evaluation_is_shown_in_the_article_of_its_retraining(
    search_run: Any, retrain_run: Any, evaluation_run: Any, tmp_path: Path
) -> None:
    search = copy_run(search_run, tmp_path / "search")
    (search / "alphas.json").unlink()  # it takes seconds to draw the probabilities
    runs = (search, evaluation_run.directory, retrain_run.directory)
    text, reader, page = report(tmp_path, *runs)
    assert "3 runs" in text
    assert {"run-1", "run-2", "run-2-evaluations"} <= set(reader.ids)
    assert "run-3" not in reader.ids
    assert 'href="#run-2-evaluations"' in page
    article = page.split('id="run-2"')[1]
    listed = article.split('id="run-2-evaluations"')[1].split("</section>")[0]
    assert format_value("valid_accuracy", evaluation_run.result["valid_accuracy"]) in listed
    assert "darts evaluate" in html.unescape(listed)


def test_evaluation_of_another_network_has_its_own_article(
    retrain_run: Any, evaluation_run: Any, tmp_path: Path
) -> None:
    """A copy of the retraining counts as another network."""
    other = copy_run(retrain_run, tmp_path / "other")
    plain = copy_run(evaluation_run, tmp_path / "plain")
    (plain / "overrides.json").unlink()
    text, reader, _ = report(tmp_path, other, plain)
    assert {"run-1", "run-2"} <= set(reader.ids)
    assert "run-1-evaluations" not in reader.ids
    assert "darts evaluate" not in text  # because the overrides are unknown


def test_a_part_that_cannot_be_made_is_left_out_with_a_note(
    search_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "draw_genotype", Mock(side_effect=ValueError("<b>no ink")))
    with pytest.warns(UserWarning, match="the part 'architecture' of the page was not made: <b>no"):
        text, *_ = report(tmp_path, search_run.directory)
    assert "architecture This part is left out: <b>no ink." in text
    assert "learning curves" in text


def test_page_of_two_runs_compares_them(search_run: Any, retrain_run: Any, tmp_path: Path) -> None:
    """It also shows the scores and costs of the retraining."""
    text, reader, page = report(tmp_path, search_run.directory, retrain_run.directory)
    assert not (search_run.directory / "report.html").exists()
    summary = retrain_run.json("summary.json")
    for name in ("test_accuracy", "valid_accuracy"):
        assert format_value(name, summary[name]) in text
    assert "data:image/svg+xml;base64," in page  # the confusion matrix
    for phase in retrain_run.json("energy.json")["phases"]:
        assert phase["phase"] in text
    assert {"comparison", "run-1", "run-2"} <= set(reader.ids)
    assert "search: finished" in text
    assert "retrain: finished" in text
    row = re.search(r"<tr><td>epochs</td><td>(\d+)</td><td>(\d+)</td></tr>", page)
    assert row.groups() == (str(search_run.json("summary.json")["epochs"]), "3")
    assert "Source of the joules" in text
    heads = re.findall(r"<button[^>]*>([^<]*)</button>", page)
    assert {"valid accuracy", "supernet valid accuracy"} <= {*heads}  # in columns of their own


@drawn
def test_text_of_run_files_is_escaped(search_run: Any, tmp_path: Path) -> None:
    run = copy_run(search_run, tmp_path / "<b>run")
    markup = "<script>alert(1)</script>\"'&"
    for name, change in (
        ("summary.json", {"collapse_verdict": markup, markup: markup, "joules_source": markup}),
        ("env.json", {"platform": markup, "cpu": {"model": markup}}),
        ("overrides.json", {"overrides": [f"name={markup}"]}),
    ):
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**content, **change}))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        re.sub(r"(?m)^name: .*$", lambda _: f"name: {json.dumps(markup)}", config)
    )
    history = json.loads((run / "alphas.json").read_text())["normal"]
    history["edges"][0] = markup
    (run / "alphas.json").write_text(json.dumps({"normal": history}))
    text, *_ = report(tmp_path, run)  # checks that it has one script
    assert markup in text
    assert "<b>run" in text


def test_page_of_an_unfinished_run_says_how_far_it_is(search_run: Any, tmp_path: Path) -> None:
    run = copy_run(search_run, tmp_path / "run")
    for name in ("summary.json", "energy.json"):
        (run / name).unlink()
    rows = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(rows + b'{"epoch": 99, "tor')  # interrupted by a kill
    text, *_ = report(tmp_path, run)
    assert "probabilities of the operations" in text
    epochs = search_run.json("summary.json")["epochs"]
    assert f"search: not finished: epoch {epochs} of {epochs}" in text
    (run / "metrics.jsonl").unlink()
    for name in ("alphas.json", "genotype.json", "checkpoint.safetensors", "split.npz"):
        (run / name).unlink()
    text, *_ = report(tmp_path, run)
    assert "No epoch has finished yet." in text


def test_page_of_a_study_shows_trials_and_best_point(tmp_path: Path) -> None:
    for name in STUDY.keys() - {"summary.json"}:
        (tmp_path / name).write_text(STUDY[name])
    text, *_ = report(tmp_path, tmp_path)
    assert "darts retrain space=mlp optimizer.lr=0.3" in text
    for shown in ("tune: not finished: 3 trials", "50.00 %", "75.00 %", "failed"):
        assert shown in text


def test_directories_without_a_supported_run_are_refused(tmp_path: Path) -> None:
    assert "name a run directory" in commands.error_of("report")
    assert "'nowhere' is not a directory" in commands.error_of("report", "nowhere")
    assert "no config.yaml" in commands.error_of("report", str(tmp_path))
    assert "must end in .html" in commands.error_of("report", str(tmp_path), "out=x.pdf")
    line = commands.error_of("report", str(tmp_path), f"runs=[{tmp_path}]")
    assert "are mutually exclusive" in line
    (tmp_path / "config.yaml").write_text("name: x\n")
    (tmp_path / "summary.json").write_text('{"command": "export"}')
    line = commands.error_of("report", str(tmp_path))
    assert "export" in line
    assert "search, retrain, evaluate, tune" in line
