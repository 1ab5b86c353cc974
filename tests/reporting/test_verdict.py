"""Articles of runs on the page, pages of ``darts.find``, and model cards."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from darts.api import FindRun
from darts.reporting import RunRecord, read_run, render_model_card, render_page
from darts.reporting.display import draw_run
from darts.reporting.verdict import next_command
from darts.spaces.cnn import PUBLISHED
from darts.spaces.macro.genotype import PRIMITIVES


def record(command: str, **values: Any) -> RunRecord:
    """Return the record of a run whose other files are missing."""
    names = {"space": {"name": "mlp"}, "task": {"name": "classification"}}
    config = {"metric": "accuracy", "epochs": 20, **names, "dataset": {"name": "csv"}}
    given = {"directory": Path("runs/my run"), "command": command, "config": config}
    return RunRecord(**{**given, **values})


def verdict(run: RunRecord) -> tuple[str, bool]:
    """Return the first paragraph of the article of a run, and whether it is a warning."""
    page = html.unescape(render_page([run]))
    found = re.search(r'</span>\s*<p( class="warn")?>(.*?)</p>', page, re.DOTALL)
    return found[2], found[1] is not None


SEARCH = {"valid_accuracy": 0.853}


def test_a_search_has_the_score_of_its_supernet_which_a_collapse_makes_doubtful() -> None:
    text, doubtful = verdict(record("search", summary=SEARCH))
    assert "The supernet has a valid accuracy of 85.30 %" in text
    assert "was not checked for collapse" in text
    assert not doubtful
    healthy = record("search", summary=SEARCH, rows=[{"epoch": 1, "collapse_verdict": "healthy"}])
    assert "no sign of collapse. The supernet has" in verdict(healthy)[0]
    summary = {**SEARCH, "collapse_verdict": "too many skip connections"}
    text, doubtful = verdict(record("search", summary=summary))
    assert "the last collapse check says too many skip connections" in text
    assert doubtful


def test_a_search_shows_its_collapse_checks() -> None:
    rows = [
        {"epoch": epoch, "collapse_verdict": text, "collapse_healthy_epoch": 1, **numbers}
        for epoch, text, numbers in (
            (1, "healthy", {"collapse/normal/skips": 2, "collapse/eigenvalue": 0.125}),
            (2, "6 of 8 edges skip", {"collapse/normal/skips": 6, "collapse/eigenvalue": None}),
        )
    ]
    summary = {**SEARCH, "collapse_verdict": "6 of 8 edges skip", "collapse_healthy_epoch": 1}
    page = render_page([record("search", summary=summary, rows=rows)])
    section = page.split("<h3>collapse checks</h3>")[1].split("</section>")[0]
    for text in ("6 of 8 edges skip", "Last healthy check: epoch 1.", ">skips</text>", "0.125"):
        assert text in section


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_worthless_result_is_called_so_and_has_no_next_command(command: str) -> None:
    run = record(command, summary={**SEARCH, "worthless": "the loss is nan"})
    assert verdict(run) == ("The result is worthless: the loss is nan.", True)
    assert next_command(run) == ""


@pytest.mark.parametrize(
    ("command", "summary", "expected"),
    [
        (
            "retrain",
            {"test_accuracy": 0.9, "valid_accuracy": 0.8, "epoch": 7},
            "The trained network has a test accuracy of 90.00 %, with the weights of epoch 7 of "
            "20.",
        ),
        (
            "evaluate",
            {"valid_accuracy": 0.8, "samples": 1500},
            "The evaluated network has a valid accuracy of 80.00 %, measured on 1,500 samples.",
        ),
        ("tune", {"valid_accuracy": 0.7}, "The best trial has a valid accuracy of 70.00 %."),
        ("find", {"verdict": "The baseline won."}, "The baseline won."),
        ("retrain", {"parameters": 3}, "The trained network has no score."),
    ],
)
def test_complete_runs_say_the_result(command: str, summary: dict[str, Any], expected: str) -> None:
    assert verdict(record(command, summary=summary)) == (expected, False)


@pytest.mark.parametrize(
    ("overrides", "printed"),
    [
        (["space=mlp", "dataset.root=a b.csv"], "space=mlp 'dataset.root=a b.csv'"),
        (["hydra.run.dir=x", "seed=3", "dataset.root=${x}", "--multirun"], "seed=3"),
        (["space=$(reboot)"], "'space=$(reboot)'"),  # a shell does not run it
    ],
)
def test_the_next_command_of_a_search_has_its_plain_overrides(
    overrides: list[str], printed: str
) -> None:
    run = record("search", summary=SEARCH, retraining=overrides)
    assert next_command(run) == f"darts retrain genotype='runs/my run' {printed}"


WIDTHS = ["relu_8", "relu_16", "tanh_8"]
# By space and group, the names of the edges and the candidates of each edge.
SPACES: dict[str, Any] = {
    "macro": {
        "first": (["0→1", "2→3", "4→5"], list(PRIMITIVES[:-1])),
        "rest": (["1→2", "3→4", "5→6"], list(PRIMITIVES)),
    },
    "mlp": {"first": (["0→1"], WIDTHS), "rest": (["1→2", "2→3"], [*WIDTHS, "skip_connect"])},
}


def write_run(directory: Path, genotype: dict[str, Any]) -> Path:
    """Write the files of a search that a page reads to show the alphas; return the directory."""
    alphas = {
        group: {
            "edges": edges,
            "operations": [names] * len(edges),
            "epochs": [[[1 / len(names)] * len(names)] * len(edges)] * 2,
        }
        for group, (edges, names) in SPACES[genotype["space"]].items()
    }
    for name, content in (
        ("config.yaml", {"name": "run"}),
        ("summary.json", {"command": "search"}),
        ("genotype.json", genotype),
        ("alphas.json", alphas),
    ):
        (directory / name).write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize(
    ("genotype", "chosen"),
    [
        (
            {"space": "macro", "blocks": ["mb_k3_e3", "skip_connect", *["mb_k5_e6"] * 4]},
            {"0→1 mb_k3_e3", "1→2 skip_connect"}
            | {f"{number}→{number + 1} mb_k5_e6" for number in range(2, 6)},
        ),
        # The genotype has two of three layers; the other one is skipped.
        (
            {"space": "mlp", "layers": ["tanh_8", "relu_16"]},
            {"0→1 tanh_8", "1→2 relu_16", "2→3 skip_connect"},
        ),
    ],
)
def test_chosen_operations_are_marked_in_groups_that_are_not_cells(
    genotype: dict[str, Any], chosen: set[str], tmp_path: Path
) -> None:
    text = render_page([read_run(write_run(tmp_path, genotype))])
    marked = set()
    for group, (edges, operations) in SPACES[genotype["space"]].items():
        part = text.split(f"<h4>{group}</h4>")[1].split("<h4>")[0]
        for row, column in re.findall(r'id="figure-\d+-chosen-(\d+)-(\d+)"', part):
            marked.add(f"{edges[int(row)]} {operations[int(column)]}")
    assert marked == chosen


def test_genotype_that_does_not_match_the_alphas_marks_nothing(tmp_path: Path) -> None:
    """The two files may come from different epochs of an unfinished search."""
    genotype = {"space": "macro", "blocks": ["mb_k3_e3"] * 3}
    text = render_page([read_run(write_run(tmp_path, genotype))])
    assert ">0→1</text>" in text
    assert "chosen-" not in text


@pytest.mark.parametrize("operations", [2, 41])
def test_candidates_that_differ_are_listed_and_large_groups_are_not_drawn(
    tmp_path: Path, operations: int
) -> None:
    directory = write_run(tmp_path, {"space": "mlp", "layers": ["tanh_8"]})
    history = {
        "edges": ["1→2", "2→3"],
        "operations": [[f"relu_{edge}_{n}" for n in range(operations)] for edge in range(2)],
        "epochs": [[[1 / operations] * operations] * 2],
    }
    (directory / "alphas.json").write_text(json.dumps({"some": history}))
    text = render_page([read_run(directory)])
    assert "<td>2→3</td><td>relu_1_0</td><td>relu_1_1</td>" in text
    assert ("too many edges or operations" in text) == (operations == 41)
    assert (">candidate 1</text>" in text) == (operations == 2)


GENOTYPE = '{"space": "mlp", "layers": ["relu_128"]}'
CANDIDATES = [
    {"candidate": "linear", "origin": "baseline", "genotype": "x", "valid_perplexity": 9.5},
    {"candidate": "wide", "origin": "found", "genotype": GENOTYPE, "valid_perplexity": 7.25},
]
SUMMARY: dict[str, Any] = {"command": "find", "metric": "perplexity", "test_perplexity": 7.5}
SUMMARY |= {"genotype": GENOTYPE, "family": "mlp", "setting": "lr_high", "final_epochs": 3}
SUMMARY |= {"winner_seconds": 100.0, "verdict": "The found network is better."}
SUMMARY |= {"outlook": "More training would help.", "pretrained_note": "The weights had 70 %."}


def write_race(directory: Path, *, complete: bool = True, table: bool = True) -> Path:
    """Write the files that a page about a race reads; return the directory."""
    files: dict[str, Any] = {
        "config.yaml": {"name": "run", "metric": None},
        "overrides.json": {"command": "find", "overrides": ["dataset=csv"]},
    }
    if complete:
        files["summary.json"] = SUMMARY
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    slices = [
        {"time": 30.0, "candidate": "linear", "score": 9.5, "seconds": 25.0},
        {"time": 60.0, "candidate": "wide", "score": 8.0, "seconds": 30.0},
        {"time": 99.0, "candidate": "wide", "score": 7.25, "seconds": 75.0},
    ]
    rows = [{**row, "epochs": 4, "leader": row["candidate"]} for row in slices]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "race.jsonl").write_text(text + '{"time": ')
    if table:
        names = ("candidate", "origin", "family", "setting", "valid_perplexity", "valid_loss",
                 "seconds", "runs", "genotype")  # fmt: skip
        common = {"family": "mlp", "setting": "lr_high", "runs": 1, "valid_loss": 2.0}
        with (directory / "candidates.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row, seconds in zip(CANDIDATES, (25.0, 75.0), strict=True):
                writer.writerow({**common, **row, "seconds": seconds})
    return directory


def page_of(directory: Path) -> str:
    return html.unescape(render_page([read_run(directory)]))


def times_of(page: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of the first table of the section about the race."""
    first = page.split("<h3>race</h3>")[1].split("</table>")[0]
    rows = (re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in first.split("<tr>"))
    return {row[0]: tuple(row[1:]) for row in rows if row}


def test_a_found_network_shows_score_verdict_race_and_leaderboard(tmp_path: Path) -> None:
    run = FindRun(write_race(tmp_path))
    title = f"FindRun('{tmp_path}'): test perplexity of 7.5"
    assert repr(run).splitlines() == [title, "The found network is better. The weights had 70 %."]
    board = run.leaderboard
    assert [*board][:2] == ["name", "score"]
    assert board["name"].tolist() == ["wide", "linear"]  # a lower perplexity is better
    figure = run.plot()
    assert figure.axes[0].get_xlabel() == "time of the run, minutes"
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    shown = run._repr_html_() or ""
    assert "<td>wide</td><td>7.25</td>" in shown
    assert shown.count("data:image/svg+xml") == 1
    (tmp_path / "config.yaml").unlink()
    assert repr(run) == f"FindRun('{tmp_path}')"
    assert run._repr_html_() is None
    with pytest.raises(ValueError, match="the run has no epochs to draw"):
        draw_run(record("retrain"))


def test_verdict_and_outlook_come_before_the_race_and_its_picture(tmp_path: Path) -> None:
    page = page_of(write_race(tmp_path))
    parts = (
        "The found network is better.",
        "More training would help.",
        "<h3>race</h3>",
        "winner: 7.25",
        "All candidates",
    )
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert "best baseline: 9.5" in page
    assert "valid perplexity (lower is better)" in page
    assert "<p>The weights had 70 %.</p>" in page


def test_the_times_are_of_the_winner_the_others_and_the_final_run(tmp_path: Path) -> None:
    assert times_of(page_of(write_race(tmp_path))) == {
        "winner wide": ("0:01:15", "60 %"),
        "1 other candidate": ("0:00:25", "20 %"),
        "final run of the winner": ("0:00:25", "20 %"),
    }


@pytest.mark.parametrize("table", [True, False])
def test_an_interrupted_run_shows_its_race_and_its_command(tmp_path: Path, table: bool) -> None:
    page = page_of(write_race(tmp_path, complete=False, table=table))
    assert "This run is not finished: 2 candidates" in page
    assert f"darts find resume={tmp_path}" in page
    assert "leader: 7.25" in page
    assert f"valid {'perplexity' if table else 'score'} (lower is better)" in page
    expected = {"leader wide": ("0:01:15", "75 %"), "1 other candidate": ("0:00:25", "25 %")}
    assert times_of(page) == expected
    candidates = page.split("All candidates")[1].split("</table>")[0]
    assert ">linear<" in candidates
    assert ">7.25<" in candidates


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    write_race(tmp_path, complete=False, table=False)
    (tmp_path / "race.jsonl").unlink()
    page = page_of(tmp_path)
    assert "This run is not finished: 0 candidates" in page
    assert "<h3>race</h3>" not in page


def finished(**changes: Any) -> RunRecord:
    """Return the record of a finished retraining with some attributes changed."""
    summary: dict[str, Any] = {"epoch": 3, "epochs": 5, "seed": 7, "device": "cpu"}
    summary |= {"parameters": 1234, "macs": 56789, "valid_accuracy": 0.75, "test_accuracy": 0.625}
    summary |= {"valid_loss": 1.5, "git_revision": "abc123", "metric": "accuracy"}
    config: dict[str, Any] = {"name": "pipes | and *stars*", "selection": "best", "epochs": 5}
    config |= {"metric": "accuracy", "task": {"name": "classification"}}
    config |= {"dataset": {"name": "digits"}, "space": {"name": "cnn", "channels": 12}}
    config |= {"optimizer": {"lr": 0.025}}
    costs = (("training", "nvml", 1000.0), ("training", "rapl", 20.0), ("test", "nvml", 500.0))
    phases = [
        {"phase": phase, "source": source, "seconds": 60.0, "joules": joules, "gco2e": 1.0}
        for phase, source, joules in costs
    ]
    run = RunRecord(
        directory=Path("run"),
        command="retrain",
        config=config,
        summary=summary,
        phases=phases,
        gco2_per_kwh=480.0,
        genotype=PUBLISHED["DARTS_V2"].genotype,
        samples={"train": 1200, "valid": 100},
    )
    return dataclasses.replace(run, **changes)


def test_card_shows_scores_genotype_data_settings_and_commands() -> None:
    card = render_model_card(finished())
    for text in (
        "# pipes \\| and \\*stars\\*",
        "classification",
        "digits",
        "epoch 3 of 5",
        "| accuracy | 75.00 % | 62.50 % |",
        "| loss | 1.5 |  |",
        "1,234",
        "56,789",
        str(PUBLISHED["DARTS_V2"].genotype),
        "| train | 1,200 |",
        "| valid | 100 |",
        "| optimizer.lr | 0.025 |",
        "480 g",
        "seed 7",
        "`abc123`",
        "darts evaluate checkpoint=RUN",
        "darts export checkpoint=RUN",
    ):
        assert text in card
    assert "darts export" not in render_model_card(finished(), exports=False)


def test_costs_are_summed_over_phases_but_not_over_sources() -> None:
    card = render_model_card(finished())
    assert "| nvml | 0:02:00 | 1,500 | 2 |" in card
    assert "| rapl | 0:01:00 | 20 | 1 |" in card
    assert "1,520" not in card
    section = render_page([finished()]).split("<h3>cost</h3>")[1].split("</section>")[0]
    assert "1,000" in section
    assert "1,020" not in section
    assert "neither compared nor added up" in section


def test_limitations_name_missing_scores_and_a_selected_epoch() -> None:
    both = render_model_card(finished())  # validation and test scores
    assert "selected on the validation data" in both
    assert "scored once" in both
    summary = {k: v for k, v in finished().summary.items() if not k.startswith(("test_", "valid_"))}
    last = {**finished().config, "selection": "last"}
    neither = render_model_card(finished(summary=summary, config=last))
    assert "There is no test score." in neither
    assert "No data was held out" in neither
    assert "selected on the validation data" not in neither
    assert "scored once" not in neither
