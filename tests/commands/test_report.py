"""``python -m darts.report`` on the directories that tiny runs have left."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darts.tracking import format_value

VOID = {"meta", "img", "line", "circle", "polyline", "path", "use", "br", "rect"}


class Reader(HTMLParser):
    """Holds that elements are closed in order, and gathers text and what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag == "script"
        self.ids += [given["id"] or ""] if "id" in given else []
        self.loads += [
            str(value)
            for key, value in attrs
            if key in ("src", "href", "xlink:href") and not str(value).startswith(("#", "data:"))
        ]
        assert not [key for key in given if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Path) -> tuple[str, Reader]:
    """The text of a page that is well formed, loads nothing and has the one script of its own."""
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    assert reader.loads == []
    assert reader.scripts == 1
    assert len(reader.ids) == len(set(reader.ids))
    return " ".join(" ".join(reader.text).split()), reader


def copied(run: Any, place: Path) -> Path:
    shutil.copytree(run.directory, place)
    return place


def test_the_page_of_a_search(commands: Any, searched: Any, tmp_path: Path) -> None:
    run = copied(searched, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.iterdir()}
    done = commands.exactly("report", [str(run)])
    page = run / "report.html"
    assert str(page) in done.out
    assert {file: file.read_bytes() for file in run.iterdir() if file != page} == before
    text, _ = read(page)
    summary = searched.json("summary.json")
    for name in ("valid_accuracy", "parameters", "macs"):
        assert format_value(name, summary[name]) in text
    assert summary["genotype"] in text
    assert summary["joules_source"] in text
    assert "search: finished" in text
    # Each edge of each cell has a panel with a line for each of the operations.
    drawn = page.read_text(encoding="utf-8")
    alphas = searched.json("alphas.json")
    for cell, told in alphas.items():
        for edge in told["edges"]:
            assert f'aria-label="{cell} {edge}"' in drawn
    kept = sum(len(searched.checkpoint["history"][-1][cell]) for cell in alphas)
    assert kept == sum(len(told["edges"]) for told in alphas.values())
    overrides = json.loads((run / "overrides.json").read_text())["overrides"]
    assert f"python -m darts.search {' '.join(overrides)}" in text
    assert searched.json("env.json")["versions"]["torch"] in text
    assert (run / "config.yaml").read_text().splitlines()[-1] in drawn


def test_the_page_of_a_retraining(commands: Any, retrained: Any, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    commands.exactly("report", [str(retrained.directory), f"out={out}"])
    assert not (retrained.directory / "report.html").exists()
    text, _ = read(out)
    summary = retrained.json("summary.json")
    for name in ("test_accuracy", "valid_accuracy"):
        assert format_value(name, summary[name]) in text
    assert "data:image/svg+xml;base64," in out.read_text()  # the confusions
    for phase in retrained.json("energy.json")["phases"]:
        assert phase["phase"] in text


@pytest.fixture(scope="module")
def evaluated(retrained: Any, commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An evaluation of the retraining that asked for importances."""
    folder = tmp_path_factory.mktemp("evaluate") / "of it"
    given = [f"checkpoint={retrained.directory}", "part=valid", "importance=true"]
    return commands.exactly("evaluate", [*given, f"hydra.run.dir='{folder}'"], folder)


def test_an_evaluation_becomes_a_part_of_its_retraining(
    commands: Any, searched: Any, retrained: Any, evaluated: Any, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    runs = [str(run.directory) for run in (searched, evaluated, retrained)]
    commands.exactly("report", [*runs, f"out={out}"])
    text, reader = read(out)
    page = out.read_text()
    assert "3 runs" in text
    assert {"run-1", "run-2", "run-2-evaluations"} <= set(reader.ids)
    assert "run-3" not in reader.ids
    assert 'href="#run-2-evaluations"' in page
    assert page.count("what the network relies on") == 1
    article = page.split('id="run-2"')[1]
    relied = article.split("what the network relies on")[1].split("</section>")[0]
    found = evaluated.json("importance.json")
    assert f"Scored on {found['samples']} samples" in relied
    rows = re.findall(r"<tr><td>(\w+ \d→\d)</td><td>(\w+)</td><td[^>]*>([^<]+)</td>", relied)
    told = {
        (
            f"{cell} {e['source']}→{e['target']}",
            e["operation"],
            f"{round(100 * e['lost'], 2) + 0.0:+.2f}",
        )
        for cell, edges in found["edges"].items()
        for e in edges
    }
    assert set(rows) == told
    lost = [float(row[-1]) for row in rows]
    assert lost == sorted(lost, reverse=True)
    # Drawn as well, apart from the drawing of the architecture.
    for cell, edges in found["edges"].items():
        for number in range(len(edges)):
            assert len([i for i in reader.ids if i.endswith(f"{cell}-0-edge-{number}-box")]) == 3
    listed = article.split('id="run-2-evaluations"')[1].split("</section>")[0]
    assert format_value("valid_accuracy", evaluated.result["valid_accuracy"]) in listed
    assert "python -m darts.evaluate" in html.unescape(listed)


def test_an_evaluation_alone(commands: Any, evaluated: Any, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    commands.exactly("report", [str(evaluated.directory), f"out={out}"])
    text, _ = read(out)
    assert "evaluate: finished" in text
    assert f"The network of {evaluated.result['checkpoint']}" in text
    assert "what the network relies on" in text
    assert "not which architecture would be better" in text
    assert "part=valid importance=true" in text
    assert "data:image/svg+xml;base64," in out.read_text()  # the confusions


def test_an_evaluation_of_another_network_stands_on_its_own(
    commands: Any, retrained: Any, evaluated: Any, tmp_path: Path
) -> None:
    """Whatever it is given beside, a copy of its retraining too; and importances are optional."""
    other = copied(retrained, tmp_path / "other")
    plain = copied(evaluated, tmp_path / "plain")
    (plain / "importance.json").unlink()
    (plain / "overrides.json").unlink()
    out = tmp_path / "page.html"
    commands.exactly("report", [str(other), str(plain), f"out={out}"])
    text, reader = read(out)
    assert {"run-1", "run-2"} <= set(reader.ids)
    assert "run-1-evaluations" not in reader.ids
    assert "what the network relies on" not in text
    assert "python -m darts.evaluate" not in text  # which is not known


def test_a_film_of_the_alphas(commands: Any, searched: Any, tmp_path: Path) -> None:
    """Made from the alphas themselves, so that a run under way has one as well."""
    run = copied(searched, tmp_path / "run")
    for name in ("alphas.gif", "summary.json"):
        (run / name).unlink()
    commands.exactly("report", [str(run)])
    (encoded,) = re.findall(r"data:image/gif;base64,([^\"]+)", (run / "report.html").read_text())
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as film:
        assert getattr(film, "n_frames", 1) == len(searched.rows)


def test_several_runs_side_by_side(
    commands: Any, searched: Any, retrained: Any, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    a, b = copied(searched, tmp_path / "a"), copied(retrained, tmp_path / "b")
    commands.exactly("report", [str(a), str(b), f"out={out}"])
    text, reader = read(out)
    assert {"compared", "run-1", "run-2"} <= set(reader.ids)
    assert "search: finished" in text
    assert "retrain: finished" in text
    row = re.search(r"<tr><td>epochs</td><td>(\d+)</td><td>(\d+)</td></tr>", out.read_text())
    assert row is not None
    assert row.groups() == (str(searched.json("summary.json")["epochs"]), "3")
    assert "Source of the joules" in text


def test_joules_of_different_sources_are_not_put_side_by_side(
    commands: Any, searched: Any, tmp_path: Path
) -> None:
    a, b = copied(searched, tmp_path / "a"), copied(searched, tmp_path / "b")
    summary = json.loads((b / "summary.json").read_text())
    (b / "summary.json").write_text(
        json.dumps({**summary, "joules_source": "nvml", "joules": 98765})
    )
    out = tmp_path / "page.html"
    commands.exactly("report", [str(a), str(b), f"out={out}"])
    compared = out.read_text().split('id="run-1"')[0]
    assert "not compared" in compared
    assert "98,765" not in compared
    assert "98,765" in out.read_text()


def test_an_account_of_two_sources_is_not_added_up(
    commands: Any, searched: Any, tmp_path: Path
) -> None:
    run = copied(searched, tmp_path / "a")
    phases = [
        {"phase": "training", "source": source, "seconds": 1.0, "joules": joules, "gco2e": 0.1}
        for source, joules in (("nvml", 111.0), ("rapl", 222.0))
    ]
    account = {"gco2_per_kwh": 480, "phases": phases}
    (run / "energy.json").write_text(json.dumps(account))
    commands.exactly("report", [str(run)])
    section = (run / "report.html").read_text().split("<h3>cost</h3>")[1].split("</section>")[0]
    assert "111" in section
    assert "222" in section
    assert "333" not in section
    assert "not compared or added up" in section


def test_what_a_run_says_is_never_markup(commands: Any, searched: Any, tmp_path: Path) -> None:
    run = copied(searched, tmp_path / "<b>run")
    evil = "<script>alert(1)</script>\"'&"
    for name, change in (
        ("summary.json", {"collapse_verdict": evil, evil: evil, "joules_source": evil}),
        ("env.json", {"platform": evil, "cpu": {"model": evil}}),
        ("overrides.json", {"overrides": [f"name={evil}"]}),
    ):
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**content, **change}))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        re.sub(r"(?m)^name: .*$", lambda _: f"name: {json.dumps(evil)}", config)
    )
    alphas = json.loads((run / "alphas.json").read_text())
    for told in alphas.values():
        told["edges"][0] = evil
    (run / "alphas.json").write_text(json.dumps(alphas))
    commands.exactly("report", [str(run), f"out={tmp_path / 'page.html'}"])
    text, _ = read(tmp_path / "page.html")  # with one script, as it should
    assert evil in text
    assert "<b>run" in text


def test_a_run_that_has_not_ended(commands: Any, searched: Any, tmp_path: Path) -> None:
    run = copied(searched, tmp_path / "run")
    for name in ("summary.json", "energy.json"):
        (run / name).unlink()
    whole = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(whole + b'{"epoch": 99, "tor')  # torn by a kill
    commands.exactly("report", [str(run)])
    text, _ = read(run / "report.html")
    epochs = searched.json("summary.json")["epochs"]
    assert f"search: not finished: epoch {epochs} of {epochs}" in text
    (run / "metrics.jsonl").unlink()
    for name in ("alphas.json", "genotype.json", "checkpoint.pt", "split.npz"):
        (run / name).unlink()
    commands.exactly("report", [str(run)])
    text, _ = read(run / "report.html")
    assert "No epoch has ended yet." in text


def test_what_the_doctor_found(commands: Any, searched: Any, tmp_path: Path) -> None:
    run = copied(searched, tmp_path / "run")
    (row,) = searched.rows[-1:]
    looks = [
        {**row, "epoch": epoch, "collapse_verdict": verdict, "collapse_healthy_epoch": 1, **numbers}
        for epoch, verdict, numbers in (
            (1, "healthy", {"collapse/normal/skips": 2, "collapse/eigenvalue": 0.125}),
            (2, "6 of 8 edges are skips", {"collapse/normal/skips": 6, "collapse/eigenvalue": None}),
        )
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    found = {"collapse_verdict": looks[-1]["collapse_verdict"], "collapse_healthy_epoch": 1}
    summary = {**json.loads((run / "summary.json").read_text()), **found}
    (run / "summary.json").write_text(json.dumps(summary))
    commands.exactly("report", [str(run)])
    page = (run / "report.html").read_text()
    section = page.split("<h3>the doctor</h3>")[1].split("</section>")[0]
    assert "6 of 8 edges are skips" in section
    assert "Last healthy look: epoch 1." in section
    assert "edges that are skips" in section
    assert "0.125" in section


def test_a_study(commands: Any, tmp_path: Path) -> None:
    """A directory as a study leaves it; those that really run are slow."""
    run = tmp_path / "study"
    run.mkdir()
    (run / "config.yaml").write_text("name: tune\nmetric: accuracy\nseed: 1\n")
    (run / "overrides.json").write_text('{"command": "tune", "overrides": ["budget.trials=2"]}')
    (run / "trials.csv").write_text(
        "trial,state,accuracy,optimizer.lr,failure\n0,complete,0.5,0.1,\n1,failed,,0.2,no\n"
    )
    best = {"trial": 0, "parameters": {"optimizer.lr": 0.1}, "command": "python -m darts.retrain x"}
    (run / "best.json").write_text(json.dumps(best))
    commands.exactly("report", [str(run)])
    text, _ = read(run / "report.html")
    assert "tune: not finished: 2 trials" in text
    assert "python -m darts.retrain x" in text
    assert "50.00 %" in text
    assert "failed" in text


def test_directories_that_are_no_runs(commands: Any, searched: Any, tmp_path: Path) -> None:
    assert "name a run directory" in commands.refused("report")
    assert "'nowhere' is no directory" in commands.refused("report", "nowhere")
    assert "no config.yaml" in commands.refused("report", str(tmp_path))
    assert "must end in .html" in commands.refused("report", str(tmp_path), "out=x.pdf")
    line = commands.refused("report", str(tmp_path), f"runs=[{tmp_path}]")
    assert "exclude each other" in line
    (tmp_path / "config.yaml").write_text("name: x\n")
    (tmp_path / "summary.json").write_text('{"command": "export"}')
    line = commands.refused("report", str(tmp_path))
    assert "export" in line
    assert "search, retrain, evaluate, tune" in line
    (tmp_path / "summary.json").write_text("[]")
    assert "summary.json is damaged" in commands.refused("report", str(tmp_path))
    run = copied(searched, tmp_path / "run")
    (run / "genotype.json").write_text("{")
    assert "genotype.json" in commands.refused("report", str(run))


def test_directories_whose_names_look_like_overrides(
    commands: Any, searched: Any, tmp_path: Path
) -> None:
    """Sweeps name the directories of their runs like this."""
    run = copied(searched, tmp_path / "seed=3, it's [1]")
    commands.exactly("report", [str(run)])
    assert (run / "report.html").is_file()


CHROME = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.mark.slow
@pytest.mark.skipif(not CHROME, reason="needs chromium")
def test_a_browser_shows_it_without_complaint(
    commands: Any, searched: Any, retrained: Any, evaluated: Any, tmp_path: Path
) -> None:
    """In a frame as wide as a phone nothing sticks out, and the tables' script is let run."""
    page = tmp_path / "page.html"
    runs = [str(run.directory) for run in (searched, retrained, evaluated)]
    commands.exactly("report", [*runs, f"out={page}"])
    probe = """
      <script>
      const frame = document.querySelector("iframe");
      frame.onload = () => {
        const inner = frame.contentDocument, table = inner.querySelector("table.sortable");
        const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
        const column = [...table.tHead.rows[0].cells].find(c => c.textContent === "parameters");
        const head = column.firstChild;
        head.click(); const up = names(); head.click(); const down = names();
        const images = [...inner.images].map(image => image.complete && image.naturalWidth);
        inner.querySelectorAll("details").forEach(part => { part.open = true; });
        document.title = JSON.stringify({
          wide: inner.documentElement.scrollWidth, up, down, images,
          drawings: inner.querySelectorAll(".paper svg").length,
          sorted: column.getAttribute("aria-sort")});
      };
      </script>"""
    frame = f'<iframe src="{page.name}" width="390" height="800" style="border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><title>-</title>{frame}{probe}")
    done = subprocess.run(
        [
            *(CHROME, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--allow-file-access-from-files", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"),
            *("--dump-dom", (tmp_path / "frame.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(html.unescape(title.group(1)))
    assert found["wide"] <= 390
    assert len(found["images"]) == 3  # the film, and the confusions on both parts
    assert all(width > 100 for width in found["images"])
    assert found["drawings"] == 3
    assert found["sorted"] == "descending"
    assert found["up"] == found["down"][::-1]
    assert len(set(found["up"])) == 2
