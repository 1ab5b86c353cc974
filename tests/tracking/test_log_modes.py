"""What commands print: a bar, lines, nothing but warnings, or JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest
from test_console import GENOTYPE

from darts.log_mode import VARIABLE, take_log_mode
from darts.tracking import Console, print_lines, print_summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def output(mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, "auto")  # restored after the test
    assert take_log_mode(["epochs=1", f"log={mode}", "name=log=x"]) == ["epochs=1", "name=log=x"]
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    with Console(total_steps=4, name="search") as console:
        console.info("starting in \x1b[31m r\u00e4d")
        console.step(2, loss=float("nan"))
        console.epoch(1, 2, accuracy=0.5, genotype=GENOTYPE)
        console.warn("careful")
    print_summary("search", {"accuracy": 0.5, "epochs": 2})
    print_lines("", "Train it:", "  python")
    return stream.getvalue()


def test_plain_lines_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = output("plain", monkeypatch)
    assert "\x1b" not in text
    assert "epoch 1/2 accuracy 50.00 %" in text
    assert text.splitlines()[-1] == "  python"


def test_quiet_prints_only_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = output("quiet", monkeypatch).splitlines()
    assert line.endswith("warning: careful")


def test_json_prints_an_object_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = output("json", monkeypatch)
    assert text.isascii()
    first, epoch, warning, summary, lines = map(json.loads, text.splitlines())
    assert first["message"] == "starting in \x1b[31m r\u00e4d"
    assert (epoch["epoch"], epoch["accuracy"], epoch["percent"]) == ("1/2", 0.5, 50)
    assert "loss" not in epoch
    assert warning["message"] == "warning: careful"
    assert {first["command"], epoch["command"]} == {"search"}
    assert summary == {"summary": "search", "accuracy": 0.5, "epochs": 2}
    assert lines["message"] == "Train it:\n  python"


def test_an_unknown_mode_raises() -> None:
    with pytest.raises(ValueError, match="log=loud: choose from auto, plain, quiet, json"):
        take_log_mode(["log=loud"])
