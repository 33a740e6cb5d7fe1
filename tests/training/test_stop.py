"""Signals: the first asks, the second ends, a worker's is its own."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from script_runs import in_a_process

from gluon_aff.training import Stop


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_asks(number, code, capfd):
    found = signal.signal(number, signal.default_int_handler)  # under nohup SIGHUP is ignored, and stays so
    try:
        with Stop() as stop:
            assert not stop.requested
            assert stop.exit_code == 0
            os.kill(os.getpid(), number)
            assert stop.requested == number
            assert stop.exit_code == code
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, found)
    assert "stopping" in capfd.readouterr().err


def test_in_another_thread_nothing_is_installed():
    def inside():
        with Stop():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor() as pool:
        assert pool.submit(inside).result() == signal.getsignal(signal.SIGTERM)


def test_under_nohup_the_end_of_the_terminal_asks_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


CHILD = """
import os, signal, sys, time
sys.argv[0] = "gluon-aff"  # MXNet is not needed here
from gluon_aff.training.stop import Stop
with Stop() as stop:
    if sys.argv[1] == "twice":
        os.kill(os.getpid(), signal.SIGINT)
        print("asked", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("not reached")
    elif sys.argv[1] == "fork":
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C reaches every process of the terminal
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        _, status = os.waitpid(pid, 0)
        print("asked" if stop.requested else "not asked", os.WEXITSTATUS(status))
    else:
        os.close(2)
        os.kill(os.getpid(), signal.SIGTERM)
        print(stop.exit_code)
"""


@pytest.mark.parametrize(
    ("how", "code", "output"),
    [("twice", 143, "asked"), ("fork", 0, "not asked 143"), ("without standard error", 0, "143")],
)
def test_the_second_signal_ends_a_forked_workers_is_its_own_and_none_needs_standard_error(how, code, output):
    done = in_a_process(CHILD, how)
    assert (done.returncode, done.stdout.strip()) == (code, output), done.stderr
