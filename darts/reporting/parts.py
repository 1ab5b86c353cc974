"""The parts of a page that tell of one run; each is empty where a run has nothing of the kind."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from darts.analysis.draw import draw_genotype
from darts.analysis.figures import rendered
from darts.reporting.charts import Line, chart, charts, legend
from darts.reporting.markup import (
    Cell,
    cell,
    code,
    element,
    escaped,
    folded,
    paragraph,
    picture,
    section,
    table,
    tiles,
)
from darts.reporting.record import Record
from darts.tracking import display, short_genotype

SOURCES = (
    "Joules of different sources are not compared or added up: a counter reads a whole device, "
    "an estimate is as good as its power."
)


def words(name: str) -> str:
    """A name as it is read: ``valid_accuracy`` is valid accuracy."""
    return name.replace("_", " ").replace("/", ", ")


def is_share(name: str) -> bool:
    """Whether numbers between 0 and 1 of this name are told in percent."""
    return display(name, 0.5).endswith("%")


def headline(record: Record) -> list[str]:
    """The names of the numbers to be seen first, those that the run has."""
    metric, numbers = record.metric, record.numbers
    asked = (
        *(f"test_{metric}", f"valid_{metric}", metric, "true_accuracy", "true_rank"),
        *("parameters", "macs", "seconds", "epoch", "genotype_epoch", "trials", "trial"),
    )
    return [name for name in dict.fromkeys(asked) if numbers.get(name) is not None]


def result(record: Record) -> str:
    """Scores and sizes, then the genotype."""
    numbers = record.numbers
    if not numbers and not record.trials:
        return paragraph("No epoch has ended yet.", "warn")
    shown = tiles((words(name), display(name, numbers[name])) for name in headline(record))
    if not record.finished and record.rows:
        shown = paragraph(f"As of epoch {record.rows[-1]['epoch']}:", "warn") + shown
    whole = [
        (name, cell(name, value)) for name, value in numbers.items() if name not in ("genotype",)
    ]
    return shown + folded("All numbers", table(("name", "value"), whole))


def architecture(record: Record, anchor: str) -> str:
    """The genotype, drawn and written; ``anchor`` makes the drawing's ids its own."""
    if record.genotype is None:
        return ""
    drawing = inlined(rendered(draw_genotype(record.genotype), "svg"), f"{anchor}-")
    text = paragraph(short_genotype(record.genotype), "quiet")
    return drawing + text + folded("Genotype to copy", code(str(record.genotype)))


def inlined(svg: bytes, prefix: str) -> str:
    """A drawing of our own as part of a page, with ids that are no other drawing's."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}", text)
    # What the style said of all elements, they now inherit.
    text = text.replace("<svg", '<svg stroke-linejoin="round" stroke-linecap="butt"', 1)
    return element("div", text, class_="paper", tabindex="0")


def alphas(record: Record) -> str:
    """The mixing weights over time, a panel an edge, and how undecided they are."""
    parts = []
    entropies = []
    for number, (name, told) in enumerate(record.alphas.items()):
        epochs, kept = told["epochs"], _kept(record, name)
        top = max((p for matrix in epochs for row in matrix for p in row), default=1.0)
        panels = []
        for edge, (where, operations) in enumerate(
            zip(told["edges"], told["operations"], strict=True)
        ):
            lines = [
                Line(
                    operation,
                    [(t, matrix[edge][o]) for t, matrix in enumerate(epochs, start=1)],
                    None if operation == "none" else o,
                    strong=(where, operation) in kept,
                )
                for o, operation in enumerate(operations)
            ]
            chosen = ", ".join(line.label for line in lines if line.strong)
            text = escaped(f"{where} {chosen}")
            caption = element("span", text, class_="kept") if chosen else text
            panels.append(chart(lines, f"{name} {where}", small=True, top=top, caption=caption))
        operations = told["operations"][0]
        if all(other == operations for other in told["operations"]):
            lines = [Line(o, [], None if o == "none" else i) for i, o in enumerate(operations)]
            panels_legend = legend(lines)
        else:
            panels_legend = ""
        parts.append(element("h4", escaped(name)) + panels_legend + charts(panels, small=True))
        entropies.append(Line(name, list(enumerate(map(_entropy, epochs), start=1)), number))
    if not parts:
        return ""
    note = "Mixing weights at the end of each epoch. Thick: what the genotype keeps."
    panel = chart(entropies, "how undecided: mean entropy of the edges, nats")
    return paragraph(note, "quiet") + "".join(parts) + charts([panel])


def _kept(record: Record, name: str) -> set[tuple[str, str]]:
    """Edges with the operations that the genotype has on them, where alphas and cells agree."""
    if record.genotype is None or name not in record.genotype.cells:
        return set()
    return {(f"{s}→{t}", operation) for s, t, operation in record.genotype.edges(name)}


def _entropy(matrix: list[list[float]]) -> float:
    """Mean entropy of edges in nats."""
    terms = [-p * math.log(p) for row in matrix for p in row if p and p > 0]
    return math.fsum(terms) / len(matrix)


def curves(record: Record) -> str:
    """Losses and scores over the epochs, training and validation in one panel."""
    rows = record.rows
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if _is_curve(rows, n)]
    kinds = dict.fromkeys(n.partition("_")[2] for n in names if n.startswith(("train_", "valid_")))
    first = [kind for kind in ("loss", record.metric) if kind in kinds]
    panels = {
        kind: chart(
            [
                Line(part, over_epochs(rows, f"{part}_{kind}"), number)
                for number, part in enumerate(("train", "valid"))
                if f"{part}_{kind}" in names
            ],
            words(kind),
            percent=is_share(kind),
        )
        for kind in kinds
    }
    others = [panel for kind, panel in panels.items() if kind not in first]
    norms = [name for name in ("grad_norm", "arch_grad_norm") if name in names]
    lines = [Line(words(name), over_epochs(rows, name), i) for i, name in enumerate(norms)]
    others.append(chart(lines, "norm of the gradient"))
    others.append(chart([Line("lr", over_epochs(rows, "lr"))], "learning rate of the weights"))
    more = charts(others)
    return charts(panels[kind] for kind in dict.fromkeys(first)) + (
        folded("Other curves", more) if more else ""
    )


def over_epochs(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float | None]]:
    """A column of the metrics."""
    return [(row["epoch"], row.get(name)) for row in rows]


def _is_curve(rows: list[dict[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), (int, float)) for row in rows)


def doctor(record: Record) -> str:
    """What was found when the search was looked at."""
    looks = [row for row in record.rows if "doctor" in row]
    if not looks:
        return ""
    verdict = str(record.numbers.get("doctor", looks[-1]["doctor"]))
    last = record.numbers.get("doctor_healthy_epoch", looks[-1].get("doctor_healthy_epoch"))
    healthy = "No look was healthy." if last is None else f"Last healthy look: epoch {last}."
    parts = [paragraph(verdict, "" if verdict == "healthy" else "warn"), paragraph(healthy)]
    names = [n for n in dict.fromkeys(n for row in looks for n in row) if n.startswith("doctor/")]
    scores = [n for n in names if n.startswith(("doctor/supernet_", "doctor/path_"))]
    panels = [
        chart(
            [
                Line(words(n.removeprefix("doctor/")), over_epochs(looks, n), i)
                for i, n in enumerate(scores)
            ],
            "supernet and the genotype's path alone",
            percent=all(map(is_share, scores)),
        )
    ]
    skips = [n for n in names if n.endswith("/skips")]
    lines = [Line(n.split("/")[1], over_epochs(looks, n), i) for i, n in enumerate(skips)]
    panels.append(chart(lines, "edges that are skips"))
    for name, title in (
        ("doctor/eigenvalue", "largest eigenvalue of the alphas' Hessian"),
        ("doctor/gap", "share of the score lost by the path alone"),
    ):
        panels.append(chart([Line(title, over_epochs(looks, name))], title))
    head = ("epoch", "verdict", *(words(n.removeprefix("doctor/")) for n in names))
    body: list[list[Cell | str]] = [
        [cell("epoch", row["epoch"]), str(row["doctor"]), *(cell(n, row.get(n)) for n in names)]
        for row in looks
    ]
    return "".join(parts) + charts(panels) + folded("All looks", table(head, body))


def cost(record: Record) -> str:
    """Seconds and joules by phase and source."""
    numbers = record.numbers
    if not record.phases:
        if numbers.get("joules") is None:
            return ""
        told = (
            f"{display('seconds', numbers.get('seconds'))}, {display('joules', numbers['joules'])}"
            f" J ({numbers.get('joules_source', 'source unknown')})"
        )
        return paragraph(told if record.finished else f"So far: {told}")
    columns = ("seconds", "joules", "gco2e")
    rows: list[list[Cell | str]] = []
    sources = dict.fromkeys(str(entry.get("source")) for entry in record.phases)
    for entry in record.phases:
        numbers_of = [cell(column, entry.get(column)) for column in columns]
        rows.append([str(entry.get("phase")), str(entry.get("source")), *numbers_of])
    for source in sources:
        own = [entry for entry in record.phases if str(entry.get("source")) == source]
        sums = {column: math.fsum(entry.get(column) or 0.0 for entry in own) for column in columns}
        rows.append(["all phases", source, *(cell(column, sums[column]) for column in columns)])
    found = table(("phase", "source of the joules", "time", "joules", "g CO2e"), rows)
    notes = [SOURCES] if len(sources) > 1 else []
    if record.gco2_per_kwh is not None:
        notes.append(f"CO2-equivalent at {record.gco2_per_kwh:g} g a kilowatt-hour.")
    return found + "".join(paragraph(note, "quiet") for note in notes)


def confusion(record: Record) -> str:
    """Which classes were taken for which, on the test split."""
    if record.confusion is None:
        return ""
    return picture(record.confusion, "true classes against those said, on the test split")


def study(record: Record) -> str:
    """The trials of a study."""
    if not record.trials:
        return ""
    parts = []
    if record.best:
        settings = record.best.get("parameters")
        pairs = settings.items() if isinstance(settings, Mapping) else ()
        parts.append(element("h4", "the best point"))
        parts.append(table(("parameter", "value"), [(str(k), cell(str(k), v)) for k, v in pairs]))
        parts.append(code(str(record.best.get("command", ""))))
    names = list(dict.fromkeys(name for row in record.trials for name in row))
    score = next((n for n in (record.metric, f"valid_{record.metric}") if n in names), None)
    if score is not None:
        known = [
            (_number(row.get("trial", "")), _number(row.get(score, ""))) for row in record.trials
        ]
        dots = [(trial, value) for trial, value in known if trial is not None]
        panel = chart(
            [Line(score, dots, 0, dots=True)],
            words(score),
            percent=is_share(score),
            across_is="trial",
        )
        parts.append(charts([panel]))
    body = [[_of_csv(name, row.get(name, "")) for name in names] for row in record.trials]
    parts.append(folded("All trials", table(names, body)))
    return "".join(parts)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _of_csv(name: str, text: str) -> Cell:
    value = _number(text)
    if value is None:
        return Cell(text)
    return cell(name, int(value) if value.is_integer() and "." not in text else value)


def configuration(record: Record) -> str:
    """The whole YAML."""
    return folded("config.yaml", code(record.config_text))


def reproduction(record: Record) -> str:
    """The command, and what it ran on."""
    env = record.env
    given = " ".join(shlex.quote(override) for override in record.overrides)
    parts = [code(f"python -m darts.{record.command} {given}".rstrip())]
    revision = env.get("git_revision") or record.summary.get("git_revision")
    known: dict[str, Any] = {"seed": record.config.get("seed"), "git revision": revision}
    if env.get("git_dirty"):
        known["git revision"] = f"{revision} with changes that were not committed"
    known["started"] = env.get("started")
    known |= environment(record)
    rows = [(name, str(value)) for name, value in known.items() if value is not None]
    parts.append(table(("what", "with"), rows))
    return "".join(parts)


def environment(record: Record) -> dict[str, str]:
    """Software and hardware, by name."""
    env = record.env
    found = {"python": env.get("python"), "platform": env.get("platform")}
    versions = env.get("versions")
    found |= dict(versions) if isinstance(versions, Mapping) else {}
    processor, cuda = env.get("cpu"), env.get("cuda")
    if isinstance(processor, Mapping):
        found["processor"] = (
            f"{processor.get('model')}, {processor.get('cores')} cores, "
            f"{processor.get('threads')} threads"
        )
    if isinstance(cuda, Mapping):
        found["CUDA"] = f"{cuda.get('version')}, {', '.join(map(str, cuda.get('devices') or ()))}"
    return {name: str(value) for name, value in found.items() if value is not None}


def whole(record: Record, title: str, anchor: str) -> str:
    """All of one run."""
    state = "state" if record.finished else "state warn"
    head = element("h2", escaped(title))
    head += element("span", escaped(f"{record.command}: {record.progress}"), class_=state)
    found = "architecture" if record.command == "retrain" else "what was found"
    body = (
        head
        + result(record)
        + section(found, architecture(record, anchor))
        + section("trials", study(record))
        + section("alphas over time", alphas(record))
        + section("curves", curves(record))
        + section("the doctor", doctor(record))
        + section("confusions", confusion(record))
        + section("cost", cost(record))
        + section("configuration", configuration(record))
        + section("how to reproduce it", reproduction(record))
    )
    return element("article", body, id=anchor)
