"""Signals that ask a run to leave, sent by this process to itself."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from darts.training.interrupt import Interrupt, Interrupted


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.001)  # the handler runs between two instructions of the interpreter


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in Interrupt.SIGNALS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = handlers()
    with Interrupt() as interrupt:
        assert interrupt.received is None
        send(number)
        assert interrupt.received == number
    assert handlers() == before


def test_a_second_ctrl_c_ends_at_once() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), Interrupt():  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)
        raise AssertionError("still here")
    assert handlers() == before


def test_a_second_sigterm_is_patient() -> None:
    with Interrupt() as interrupt:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert interrupt.received == signal.SIGTERM


def test_handlers_come_back_after_an_error_and_can_be_nested() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError), Interrupt():
        raise ZeroDivisionError
    assert handlers() == before
    with Interrupt() as outer:
        between = handlers()
        with Interrupt() as inner:
            send(signal.SIGTERM)
        assert handlers() == between
        assert (outer.received, inner.received) == (signal.SIGTERM, signal.SIGTERM)
    assert handlers() == before


def test_outside_the_main_thread_it_does_nothing() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with Interrupt() as interrupt:
            seen.append((interrupt.received, handlers() == before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, True)]
    assert handlers() == before


def test_leaving_is_an_exit_with_the_code_shells_expect() -> None:
    with pytest.raises(SystemExit) as caught:
        raise Interrupted(128 + signal.SIGTERM)
    assert caught.value.code == 143


def test_of_two_within_each_other_both_know() -> None:
    """A study runs a training: the signal may come before the training begins, or amid it."""
    before = handlers()
    with Interrupt() as outer:
        send(signal.SIGTERM)
        with Interrupt() as inner:
            assert inner.received == signal.SIGTERM
    with Interrupt() as outer:
        with Interrupt() as inner:
            send(signal.SIGINT)
        assert outer.received == inner.received == signal.SIGINT
    with Interrupt() as alone:
        assert alone.received is None
    assert handlers() == before
