"""Signals: the first is a request while work defers, and an order otherwise."""

import os
import signal
import threading

import pytest

from residua.errors import Stopped
from residua.interrupt import SIGNALS, Interrupt, stopped


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_ends_the_work(number: signal.Signals) -> None:
    interrupt = Interrupt()
    with interrupt.listening(), interrupt.deferred():
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        with pytest.raises(Stopped, match=number.name):
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_at_once_what_does_not_defer(number: signal.Signals) -> None:
    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(Stopped, match=number.name):
        os.kill(os.getpid(), number)
    assert interrupt.requested


def test_deferring_ends_with_its_block_even_on_an_error() -> None:
    interrupt = Interrupt()
    with interrupt.listening():
        with pytest.raises(KeyError), interrupt.deferred():
            raise KeyError
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyError), Interrupt().listening():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise KeyError
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert threading.current_thread() is threading.main_thread()


def test_being_stopped_is_resumable() -> None:
    assert stopped("SIGTERM").exit_code == 75
    assert "SIGTERM" in stopped("SIGTERM").what
