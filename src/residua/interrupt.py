"""Stopping on a signal without losing a step.

While training defers, the first signal is a request that the loop honors after the current step;
everywhere else, and at the second signal, it ends the work at once. That is safe because every
file appears whole or not at all.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from residua.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Whether a signal has asked to stop, and whether the work prefers to be asked."""

    def __init__(self) -> None:
        self.requested = False
        self.deferring = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, or raise Stopped where nobody will look at the note."""
        again, self.requested = self.requested, True
        if again or not self.deferring:
            raise stopped(signal.Signals(number).name)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the first signal while the block runs."""
        self.deferring = True
        try:
            yield
        finally:
            self.deferring = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals until the block ends, in the main thread."""
        before = {number: signal.signal(number, self.handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def deaf() -> Iterator[None]:
    """Processes that begin in this block never hear the signals.

    A signal often goes to all processes at once; the parent decides when the others end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stopped(name: str = "a signal") -> Stopped:
    """The error that ends interrupted work."""
    return Stopped(f"stopped by {name}")
