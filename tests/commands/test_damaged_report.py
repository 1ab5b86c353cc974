"""``darts.report`` on damaged directories and hostile names: a page with notes, or one line."""

from __future__ import annotations

import csv
import html
import json
import random
import re
import shutil
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
from damage import damage, restore

from darts.config.overrides import quoted
from darts.reading import FileError
from darts.reporting import figures, read_run, render_page

REQUIRED = ("config.yaml", "overrides.json", "metrics.jsonl", "summary.json")
FILES = {
    "search": (*REQUIRED, "env.json", "energy.json", "genotype.json", "alphas.json", "split.npz"),
    "retrain": ("confusion_test.svg",),  # the other files are like the files of a search
    "evaluate": ("summary.json",),
    "tune": (*REQUIRED[:2], "summary.json", "trials.csv", "best.json", "jobs.jsonl"),
    "find": ("config.yaml", "overrides.json", "summary.json", "candidates.csv", "race.jsonl"),
}
STUDY = {  # a real study takes long
    "config.yaml": "name: study\nmetric: accuracy\nseed: 1\nbudget:\n  trials: 3\n  hours: null\n",
    "overrides.json": '{"command": "tune", "overrides": ["budget.trials=3", "space=mlp"]}',
    "summary.json": '{"command": "tune", "name": "study", "metric": "accuracy", "trials": 3, '
    '"complete": 2, "failed": 1, "valid_accuracy": 0.75, "joules": 3.5, "genotype": null}',
    "trials.csv": "trial,state,accuracy,optimizer.lr,failure\n0,complete,0.5,0.1,\n"
    '1,failed,,0.2,"a, b"\n2,complete,0.75,0.3,\n',
    "best.json": '{"trial": 2, "parameters": {"optimizer.lr": 0.3, "auxiliary": true}, '
    '"command": "darts retrain space=mlp optimizer.lr=0.3"}',
    "jobs.jsonl": '{"job": "0000", "command": "retrain", "place": "process 0", "seconds": 2.5, '
    '"end": "complete"}\n{"job": "0001", "command": "retrain", "place": "process 1", '
    '"seconds": 0.5, "end": "failed: out of memory"}\n',
}
FIND = {
    "config.yaml": "name: find\nmetric: null\nseed: 1\nbudget:\n  minutes: 5\n  hours: null\n",
    "overrides.json": '{"command": "find", "overrides": ["budget.minutes=5", "dataset=csv"]}',
    "summary.json": '{"command": "find", "name": "find", "metric": "accuracy", "candidates": 2, '
    '"test_accuracy": 0.75, "verdict": "The baseline won.", "outlook": "More would help.", '
    '"genotype": "y", "family": "mlp", "setting": "default", "final_epochs": 3, '
    '"seconds": 20.5, "winner_seconds": 6.5, "gain": null}',
    "candidates.csv": "candidate,origin,family,setting,epochs,valid_accuracy,seconds,genotype\n"
    "linear,baseline,mlp,default,3,0.5,4.0,y\nnew,found,mlp,default,9,,5.5,x\n",
    "race.jsonl": '{"time": 5.5, "candidate": "linear", "score": 0.5, "seconds": 4.0, "epochs": 3, '
    '"leader": "linear"}\n{"time": 9, "candidate": "new", "score": null, "seconds": 5.5, '
    '"epochs": 9, "leader": "linear"}\n',
}
CASES = [(command, name) for command, names in FILES.items() for name in names]


@pytest.fixture(scope="module")
def runs(
    search_run: Any, retrain_run: Any, evaluation_run: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Copies of complete runs of each command, without the files that a page does not read."""
    study, find = (tmp_path_factory.mktemp(name) / "run" for name in ("tune", "find"))
    for folder, files in ((study, STUDY), (find, FIND)):
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
    sources = {"search": search_run.directory, "retrain": retrain_run.directory}
    sources |= {"evaluate": evaluation_run.directory, "tune": study, "find": find}
    copies = {}
    for command, source in sources.items():
        copies[command] = tmp_path_factory.mktemp("copy") / command
        copies[command].mkdir()
        for name in {*REQUIRED, "env.json", "genotype.json", *FILES["search"], *FILES[command]}:
            if (source / name).is_file():
                shutil.copy(source / name, copies[command] / name)
    return copies


def check_page(run: Path, how: str) -> str | None:
    """Return the page of a run whose damage is tolerated, None if it is refused in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refusal, page = "", ""
        try:
            page = render_page([read_run(run)])
        except FileError as error:
            refusal = str(error)
    if refusal:
        assert len(refusal.splitlines()) == 1, how
        assert caught == [], how
        return None
    for warning in caught:
        assert warning.category is UserWarning, (how, warning.message)
        assert len(str(warning.message).splitlines()) == 1, how
    page.encode("utf-8")
    assert page.count("<script") == 1, how
    notes = r'<p class="warn">[^<]*This (page leaves|part is left out)'
    assert len(re.findall(notes, page)) == len(caught), how
    return page


@pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 525), marks=pytest.mark.slow)], ids=["3", "522"]
)
@pytest.mark.parametrize(
    ("command", "name"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] != "search")) for case in CASES],
)
def test_any_damage_is_left_out_or_refused(
    runs: dict[str, Path], command: str, name: str, seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a required file is refused."""
    if name != "alphas.json":  # the figures of the alphas take longest
        monkeypatch.setattr(figures, "probabilities", lambda *_: iter(()))
    file = runs[command] / name
    original = file.read_bytes()
    for seed in seeds:
        how = f"{name}: {damage(file, seed)}"
        try:
            page = check_page(runs[command], how)
        finally:
            restore(file, original)
        assert page is not None or name in REQUIRED, how
    assert check_page(runs[command], "restored") is not None


def test_command_says_what_it_leaves_out(runs: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["retrain"], tmp_path / "run"))
    file = run / "confusion_test.svg"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="confusion_test.svg is left out"):
        commands.call("report", [str(run)])
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "This page leaves confusion_test.svg out." in page
    assert "<h3>confusion matrix</h3>" not in page
    assert "<h3>cost</h3>" in page


def test_an_untrusted_figure_cannot_run_scripts(runs: dict[str, Path], tmp_path: Path) -> None:
    """It is an image without access to the page."""
    run = Path(shutil.copytree(runs["retrain"], tmp_path / "run"))
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(7)</script></svg>'
    (run / "confusion_test.svg").write_text(svg)
    page = check_page(run, "script")
    assert "alert(7)" not in page
    assert page.count('src="data:image/svg+xml;base64,') == 1


def test_commands_to_copy_only_set_keys(runs: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["tune"], tmp_path / "run"))
    harmful = ["hydra/launcher=x", "name=${oc.env:HOME}", "hydra.callbacks={}", "~optimizer"]
    overrides = ["name=a; rm -rf \x1b[2J", *harmful]
    (run / "overrides.json").write_text(json.dumps({"command": "tune", "overrides": overrides}))
    page = check_page(run, "overrides")
    text = html.unescape(page)
    assert "darts tune 'name=a; rm -rf \\x1b[2J'" in text
    assert "they do more than set a key: 4 overrides" in text
    for override in harmful[:3]:
        assert override not in text
    best = json.loads((run / "best.json").read_bytes())
    for command in ("rm -rf /", "darts retrain hydra/launcher=x", "python -m os x=1"):
        (run / "best.json").write_text(json.dumps({**best, "command": command}))
        with pytest.warns(UserWarning, match=r"best.json is left out"):
            record = read_run(run)
        assert record.best is None


CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")
NAME = "$\\frac$ \x1b[2J<script>alert(1)</script>|`=cmd()\u202e\udcff" + "x" * 150
COLUMNS = ("$\\frac$", "\x1b[31mred", "<script>", "a|b", "=cmd()", "y" * 200)
CLASSES = ("$\\frac$ \x1b[31m", "<b>|`", "=cmd()", "z" * 200)
NETWORK = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_8"]}', "epochs=2")


def test_run_with_hostile_names_finishes_with_all_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table, run, rng = tmp_path / "table.csv", tmp_path / "run\udcff$\\frac$", random.Random(0)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "label"])
        for row in range(80):
            number = row % len(CLASSES)
            writer.writerow([*(f"{rng.gauss(number, 1):.3f}" for _ in COLUMNS), CLASSES[number]])
    arguments = ["dataset=csv", f"dataset.root={table}", *NETWORK, "loader.batch_size=16"]
    arguments += [f"name={quoted(NAME)}", f"hydra.run.dir={quoted(str(run))}"]
    out = commands.call("retrain", arguments).out
    files = ("summary.json", "model_card.md", "confusion_test.svg", "genotype.svg")
    for name in (*files, "metrics.jsonl", "env.json", "energy.json"):
        assert (run / name).is_file(), name
    assert not CONTROL.search(out)
    for name in ("confusion_test.svg", "genotype.svg"):
        ElementTree.parse(run / name)
    card = (run / "model_card.md").read_text(encoding="utf-8")
    assert not CONTROL.search(card)
    assert "<script" not in card.replace("\\<script", "")
    page = tmp_path / "page.html"
    out = commands.call("report", [str(run), f"out={page}"]).out
    text = page.read_text(encoding="utf-8")
    assert not CONTROL.search(text)
    assert text.count("<script") == 1
    assert "\\x1b[2J" in text
    assert not CONTROL.search(out + "".join(capfd.readouterr()))
