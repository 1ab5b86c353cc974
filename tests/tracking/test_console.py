"""Console output on terminals, in logs and by mode, with a clock that the tests control."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from darts.log_mode import LOG_VARIABLE, take_log_mode
from darts.tracking import (
    Console,
    format_duration,
    format_genotype,
    format_value,
    print_lines,
    print_summary,
)
from darts.tracking import console as console_module
from darts.tracking import log as log_module


def fake_genotype(inputs: int, **cells: list[tuple[int, int, str]]) -> Any:
    """Return an object with the attributes of a genotype that ``format_genotype`` reads."""
    last = {cell: (edges[-1][1],) for cell, edges in cells.items()}
    return SimpleNamespace(cells=tuple(cells), inputs=inputs, edges=cells.get, concat=last.get)


GENOTYPE = fake_genotype(
    2,
    normal=[(0, 2, "sep_conv_3x3"), (1, 2, "skip_connect")],
    reduce=[(0, 2, "max_pool_3x3"), (2, 3, "dil_conv_5x5")],
)


class Clock:
    """Seconds and the time of day of the console."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def strftime(self, template: str) -> str:
        return datetime(2030, 1, 2, 12, 3, 4).strftime(template)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console_module, "time", clock)
    monkeypatch.setattr(log_module, "time", clock)
    return clock


class Output:
    """What has been written to standard output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().out
        return self._text


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Output:
    return Output(capsys)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Output:
    """Standard output that claims to be a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(console_module, "is_terminal", lambda _: True)
    return Output(capsys)


def test_log_has_one_line_per_epoch(stream: Output, clock: Clock) -> None:
    with Console(total_steps=4, name="search") as console:
        for epoch in (1, 2):
            for _ in range(2):
                clock.seconds += 10
                console.step(loss=0.5)
            console.epoch(epoch, 2, loss=0.25, valid_accuracy=0.9123)
    assert stream.getvalue().splitlines() == [
        "12:03:04 epoch 1/2 loss 0.25 valid_accuracy 91.23 %  50 % done, 0:00:20 left",
        "12:03:04 epoch 2/2 loss 0.25 valid_accuracy 91.23 %  100 % done, 0:00:00 left",
    ]


def test_lines_within_an_epoch_are_at_least_30_seconds_apart(stream: Output, clock: Clock) -> None:
    with Console(total_steps=200, name="search") as console:
        console.epoch(2, 4)
        for _ in range(100):
            clock.seconds += 1
            console.step(loss=1.5, genotype=GENOTYPE)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 3
    assert lines[0].startswith("12:03:04 epoch 2/4  0 % done, -:--:-- left")
    assert lines[1] == "12:03:04 epoch 3/4 loss 1.5  15 % done, 0:02:50 left"


def test_terminal_shows_bar_fields_time_and_genotype(terminal: Output, clock: Clock) -> None:
    with Console(total_steps=100, name="search", done=20) as console:
        clock.seconds += 40
        console.step(20, loss=0.5)
        console.epoch(2, 5, valid_accuracy=0.9, genotype=GENOTYPE)
        console.info("a message with [brackets]")
        console.warn("a warning")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = text[text.rindex("search") :]
    assert "40 %" in last
    assert "40/100" in last
    assert "left 0:02:00" in last
    assert "elapsed 0:00:40" in last
    assert "epoch 2/5 loss 0.5 valid_accuracy 90.00 %" in last
    assert "normal sep3:0 skip:1" in last
    assert "reduce max3:0 dil5:2" in last
    assert "a message with [brackets]\n" in text
    assert "warning: a warning\n" in text
    assert max(len(line) for line in text.replace("\r", "\n").split("\n")) <= 100


def test_terminal_shows_what_happens_between_steps(terminal: Output) -> None:
    with Console(total_steps=8, name="search") as console:
        console.status("collapse check")
        assert "now collapse check" in terminal.getvalue()
        seen = len(terminal.getvalue())
        console.status("")
        assert "collapse check" not in terminal.getvalue()[seen:]


def test_a_log_mentions_only_long_work_between_steps(stream: Output, clock: Clock) -> None:
    with Console(total_steps=8, name="search") as console:
        console.status("collapse check")
        assert stream.getvalue() == ""
        clock.seconds += 31
        console.status("collapse check, part 2")
        assert stream.getvalue().count("now collapse check, part 2") == 1


def test_long_message_is_not_wrapped(terminal: Output) -> None:
    command = "darts retrain " + "dataset.root=/a/b/c " * 20
    with Console(total_steps=100, name="search") as console:
        console.info(command)
    assert command in terminal.getvalue()


def test_cursor_is_restored_after_an_exception(terminal: Output) -> None:
    console = Console(total_steps=100, name="search")
    with pytest.raises(RuntimeError, match="nan"), console:  # noqa: PT012
        console.step()
        raise RuntimeError("nan")
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_bar_is_drawn_at_most_ten_times_per_second(terminal: Output, clock: Clock) -> None:
    with Console(total_steps=10_000, name="search") as console:
        before = len(terminal.getvalue())
        console.step()
        for _ in range(1000):
            clock.seconds += 0.00005
            console.step()
        assert len(terminal.getvalue()) == before
        clock.seconds += 0.1
        console.step()
        assert len(terminal.getvalue()) > before


def test_time_left_uses_only_the_steps_of_this_process(stream: Output, clock: Clock) -> None:
    with Console(total_steps=1000, name="search", done=900) as console:
        clock.seconds += 20
        console.step(10)
        console.epoch(91, 100)
    assert "91 % done, 0:03:00 left" in stream.getvalue()  # 90 steps of 2 seconds each


def test_steps_that_are_repeated_count_as_remaining(stream: Output, clock: Clock) -> None:
    with Console(total_steps=10, name="search") as console:
        for _ in range(4):
            clock.seconds += 1
            console.step()
        console.step(-3)
        console.epoch(1, 2)
    assert "10 % done, 0:00:09 left" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (360_000, "100:00:00")),
        *((-3, "0:00:00"), (None, "-:--:--")),
        *((float("nan"), "-:--:--"), (float("inf"), "-:--:--")),
    ],
)
def test_durations_are_in_hours_minutes_and_seconds(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("valid_accuracy", 0.97123, "97.12 %"),
        ("test_macro_f1", torch.tensor(0.5), "50.00 %"),
        ("top5_accuracy", np.float64(1.0), "100.00 %"),
        ("accuracy", 97.1, "97.1"),
        ("loss", 0.123456, "0.1235"),
        ("loss", float("nan"), "nan"),
        ("lr", 3e-7, "3e-07"),
        ("seconds", 3661.0, "1:01:01"),
        ("seconds_per_step", 0.0125, "0.0125"),
        ("parameters", 1930618, "1,930,618"),
        ("joules", 123456.7, "123,457"),
        ("seed", 20301, "20301"),
        ("joules_source", "rapl", "rapl"),
        ("resumed", True, "yes"),
        ("nothing", None, "-"),
        ("genotype", GENOTYPE, "normal sep3:0 skip:1 / reduce max3:0 dil5:2"),
    ],
)
def test_values_are_formatted_by_type_and_name(name: str, value: object, text: str) -> None:
    assert format_value(name, value) == text


def test_formatted_chain_omits_sources() -> None:
    chain = fake_genotype(1, blocks=[(0, 1, "mb_k3_e6"), (1, 2, "skip_connect")])
    assert format_genotype(chain) == "blocks mb-k3-e6 skip"
    double = fake_genotype(2, normal=[(1, 2, "sep_conv_3x3"), (1, 2, "sep_conv_3x3")])
    assert format_genotype(double) == "normal sep3:1 sep3:1"


def test_summary_in_a_log_is_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary("search", {"valid_accuracy": 0.9123, "parameters": 1930618, "seconds": 61.0})
    assert capsys.readouterr().out.splitlines() == [
        "search",
        "valid_accuracy  91.23 %",
        "parameters      1,930,618",
        "seconds         0:01:01",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def output(mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(LOG_VARIABLE, "auto")  # restored after the test
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
