"""A signal that nobody hears: the process ends all the same, and leaves nothing behind."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import ctypes, sys, time
from infra import interrupt
folder, seconds, block = sys.argv[1:]
mutex = ctypes.create_string_buffer(64)
with interrupt.noted(), interrupt.soon(folder, seconds=float(seconds)):
    print("in", flush=True)
    until = time.monotonic() + float(block or 0)
    while time.monotonic() < until:
        time.sleep(0.1)
    while not block:
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
print("out", flush=True)
"""


def ended(folder, seconds, block):
    """Exit code, output and errors of a block that gets a signal and then has ``seconds``. It takes ``block`` seconds,
    or, with "", never comes back from a call in C that no signal interrupts."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(seconds), str(block)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        time.sleep(0.5)  # for it to be in the call
        process.send_signal(signal.SIGTERM)
        rest, told = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, first + rest, told


@pytest.mark.parametrize("block", [50, ""])
def test_a_block_that_does_not_end_is_left_with_a_line(block, tmp_path):
    folder = tmp_path / "tune"
    folder.mkdir()
    code, said, told = ended(folder, 0.3, block)
    assert (code, said) == (130, "in\n") and not folder.exists()
    assert told.startswith("interrupted; Ray did not let go") and len(told.splitlines()) == 1


def test_a_block_that_ends_in_time_goes_its_way(tmp_path):
    code, said, told = ended(tmp_path, 30, 0.5)
    assert (code, said, told) == (0, "in\nout\n", "") and tmp_path.exists()
