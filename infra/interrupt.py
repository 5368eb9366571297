"""Ctrl-C and SIGTERM. Python's own KeyboardInterrupt may land in a finaliser or a fork hook, where it is printed and
forgotten; these handlers raise nothing."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 130  # what shells show for Ctrl-C
SLOW = b"interrupted; Ray did not let go in time: ended. What is recorded stays, go on with the same command\n"

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def at_once(line: str) -> Iterator[None]:
    """Meanwhile a signal prints ``line`` and ends the process. For work that leaves nothing half done: files are
    written whole or not at all, and an embedded Ray dies with its parent."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(Exception):  # the flush may be what was interrupted
            sys.stdout.flush()
        os.write(2, f"{line}\n".encode())
        os._exit(EXIT_CODE)

    with handled(leave):
        yield


@contextlib.contextmanager
def noted() -> Iterator[threading.Event]:
    """Meanwhile the first signal sets the event yielded; a second one is for the handler that stood before."""
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        if event.is_set() and callable(before):
            before(number, frame)
        event.set()

    with handled(note):
        yield event


@contextlib.contextmanager
def soon(folder: str, seconds: float = 15.0) -> Iterator[None]:
    """Meanwhile, where the block has not ended so long after a signal, delete ``folder`` and end the process with a
    line: a call of a Ray that is gone may wait a minute, and who has sent the signal kills before. The main thread, in
    such a call, runs no handler of Python's; a thread of its own reads the signals' numbers as they come in. Elsewhere
    than in the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, (numbers, told) = threading.Event(), socket.socketpair()
    numbers.settimeout(0.2)
    told.setblocking(False)

    def watch() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                if set(SIGNALS) & set(numbers.recv(16)) and not over.wait(seconds):
                    shutil.rmtree(folder, ignore_errors=True)
                    os.write(2, SLOW)
                    os._exit(EXIT_CODE)

    watcher = threading.Thread(target=watch, name="interrupt", daemon=True)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        watcher.join()
        numbers.close()
        told.close()


@contextlib.contextmanager
def handled(handler: Handler | None = None) -> Iterator[None]:
    """Install ``handler``, if any, for both signals, and the old ones afterwards, whatever was installed meanwhile.
    Elsewhere than in the main thread, where Python allows no handler, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    try:
        for number, _ in before:
            if handler:
                signal.signal(number, handler)
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
