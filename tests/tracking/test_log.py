"""The logger ``darts``: records, other handlers, and levels."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from darts.tracking import Console, print_lines, print_summary
from darts.tracking import console as console_module
from darts.tracking.log import LOGGER


class Kept(logging.Handler):
    """Keeps messages and levels."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelname, record.getMessage()))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Yield a handler next to the one of the package; restore handlers and level at the end."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    LOGGER.addHandler(handler := Kept())
    yield handler
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def write_some() -> None:
    with Console(total_steps=2, name="search") as console:
        console.info("50 %s of a message")
        console.warn("careful")
        console.epoch(1, 2, loss=0.5)
    print_summary("search", {"accuracy": 0.5})
    print_lines("two", "lines")


def test_another_handler_gets_what_is_printed(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    write_some()
    assert kept.records == [
        ("INFO", "50 %s of a message"),
        ("WARNING", "careful"),
        ("INFO", "epoch 1/2 loss 0.5  0 % done, -:--:-- left"),
        ("INFO", "search\naccuracy  50.00 %"),
        ("INFO", "two\nlines"),
    ]
    assert "warning: careful" in capsys.readouterr().out


def test_nothing_is_printed_without_the_handler(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "is_terminal", lambda _: True)
    LOGGER.handlers[:] = [kept]
    write_some()
    assert len(kept.records) == 5
    assert capsys.readouterr().out == ""


def test_the_level_of_the_logger_hides_progress(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "is_terminal", lambda _: True)
    LOGGER.setLevel(logging.WARNING)
    write_some()
    assert kept.records == [("WARNING", "careful")]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("warning: careful")


def test_a_record_of_a_plug_in_is_one_escaped_line(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("darts.my_plugin").info("read\n%s", "a\x1b[31mb")
    assert capsys.readouterr().out[9:] == "read\\na\\x1b[31mb\n"
