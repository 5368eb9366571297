"""A signal that nobody hears: the process ends all the same, and leaves nothing behind."""

import signal
import subprocess
import sys

SCRIPT = """
import sys, time
from infra import interrupt
with interrupt.noted() as heard, interrupt.soon(heard, sys.argv[1], seconds=float(sys.argv[2])):
    print("in", flush=True)
    until = time.monotonic() + float(sys.argv[3])
    while time.monotonic() < until:
        time.sleep(0.1)
print("out", flush=True)
"""


def ended(folder, seconds, block):
    """Exit code, output and errors of a block of so long that gets a signal and then has ``seconds``."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(seconds), str(block)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, told = process.communicate(timeout=60)
    return process.returncode, first + rest, told


def test_a_block_that_does_not_end_is_left_with_a_line(tmp_path):
    folder = tmp_path / "tune"
    folder.mkdir()
    code, said, told = ended(folder, 0.3, 50)
    assert (code, said) == (130, "in\n") and not folder.exists()
    assert told.startswith("interrupted; Ray does not answer") and len(told.splitlines()) == 1


def test_a_block_that_ends_in_time_goes_its_way(tmp_path):
    code, said, told = ended(tmp_path, 30, 0.5)
    assert (code, said, told) == (0, "in\nout\n", "") and tmp_path.exists()
