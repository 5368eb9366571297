"""One process at a time works on a local results folder. The lock is the kernel's: it ends with its process."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from infra.store.storage import ResultsError, is_local, locate, within

NAME = ".lock"


class InUseError(Exception):
    """Another process works on the same results folder."""


@contextlib.contextmanager
def exclusive(out: str) -> Iterator[None]:
    """Refuse a second process on the same local folder. Object stores are safely shared: rows are idempotent."""
    filesystem, root = locate(out)
    if not is_local(filesystem):
        yield
        return
    path = Path(root) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "a+")
    except OSError as error:
        raise ResultsError(f"--out {out}: {error.strerror}; give a folder that can be written") from None
    with file:
        for left in reversed(range(5)):  # somebody who asks whether it is in use holds it for an instant
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    said = f"--out {out} is in use by another process; wait for it, or give another --out"
                    raise InUseError(said) from None
                time.sleep(0.05)
        rows = Path(within(out, "rows/x")[1]).parent
        for leftover in rows.glob(".*.tmp"):  # of a driver that was killed while writing
            leftover.unlink(missing_ok=True)
        yield


def in_use(out: str) -> bool | None:
    """Whether a process works on the folder; None where that cannot be told, as in an object store."""
    filesystem, root = locate(out)
    if not is_local(filesystem):
        return None
    try:
        with os.fdopen(os.open(Path(root) / NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
