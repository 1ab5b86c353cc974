"""Signals are recorded, and handlers restored; the test process sends the signals to itself."""

from __future__ import annotations

import os
import signal
import time

import pytest

from darts.training.interrupt import Interrupt


def send(number: signal.Signals) -> None:
    """Send a signal to this process and wait for its handler."""
    os.kill(os.getpid(), number)
    time.sleep(0.001)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in Interrupt.SIGNALS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_recorded_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before = handlers()
    with Interrupt() as interrupt:
        assert interrupt.received is None
        send(number)
        assert interrupt.received == number
    assert handlers() == before


def test_a_second_ctrl_c_raises_at_once() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), Interrupt():  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)
        raise AssertionError("not interrupted")
    assert handlers() == before


def test_nested_interrupts_share_a_signal() -> None:
    """In a tuning run, a signal can arrive before the training of a trial or during it."""
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
