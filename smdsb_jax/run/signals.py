"""Stop a run on request."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

AGAIN = "Once more: stop at once, without it."


class Stop(threading.Event):
    """An event, and the signal that set it."""

    number = 0  # 0: no signal of this process, as where another process of a job got one

    @property
    def exit_status(self) -> int:
        """As a shell tells of a process that the signal ended: 130 of SIGINT, 143 of SIGTERM."""
        return 128 + (self.number or signal.SIGTERM)


@contextlib.contextmanager
def stop_on_signal(answer: str) -> Iterator[Stop]:
    """An event that SIGTERM and SIGINT set; a second SIGINT interrupts as usual.

    Args:
      answer: what the first one is answered with at once, on the standard error.
    """
    stop = Stop()
    previous: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        del frame
        stop.number = number
        stop.set()
        signal.signal(number, previous[number])
        # not `print`, which the signal may have interrupted; after the terminal's ^C and its bar
        more = f" {AGAIN}" if number == signal.SIGINT else ""
        with contextlib.suppress(OSError):
            os.write(2, f"\n{answer}{more}\n".encode())

    if threading.current_thread() is threading.main_thread():
        previous |= {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
