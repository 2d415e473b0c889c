import os
import signal
import threading

import pytest

from smdsb_jax.run.signals import stop_on_signal

SAVING = "Saving."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_is_answered_at_once(number, capfd):
    before = signal.getsignal(number)
    with stop_on_signal(SAVING) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5) and stop.exit_status == 128 + number
        assert ("Once more" in (said := capfd.readouterr().err)) == (number == signal.SIGINT)
        assert said.startswith("\nSaving.")
    assert signal.getsignal(number) == before


def test_a_second_interrupt_interrupts():
    # a shell starts background jobs with SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with stop_on_signal(SAVING) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            stop.clear()
            stop.wait(5)
    assert signal.signal(signal.SIGINT, before) == signal.default_int_handler


def test_handlers_come_back_after_an_error():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(RuntimeError), stop_on_signal(SAVING):
        assert signal.getsignal(signal.SIGTERM) != before[0]
        raise RuntimeError
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_gets_an_event_and_leaves_the_handlers():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with stop_on_signal(SAVING) as stop:
            seen.append((stop.is_set(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
