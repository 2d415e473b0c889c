"""Stop a run on request."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second SIGINT interrupts as usual."""
    stop = threading.Event()
    previous: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        del frame
        stop.set()
        signal.signal(number, previous[number])

    if threading.current_thread() is threading.main_thread():
        previous |= {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
