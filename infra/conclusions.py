"""Conclusions beside the training: one other process fits, draws and catalogues a sweep while the next one trains.

What it says is printed when the sweep then training is done, so that it does not run into the live display.
"""

import contextlib
import io
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from analysis import report
from infra import driver
from infra.environment import EngineError, Trained
from infra.options import Request
from infra.progress import say
from infra.store.storage import ResultsError


class Aside:
    """The other process, by its pipe; it works in the order in which it is asked."""

    def __init__(self, pipe: Connection):
        self.pipe, self.open = pipe, 0

    def conclude(self, request: Request, recipe: dict[str, Any], trained: Trained, uri: str) -> int:
        """As ``driver.conclude``, later: the exit code is 0 unless the training itself did not end well."""
        self.pipe.send((request, recipe, trained, uri))
        self.open += 1
        return self.answered(wait=True) if trained.interrupted or trained.error else 0

    def answered(self, *, wait: bool) -> int:
        """Print the conclusions that are there, or all when ``wait``; the exit code of the first that went wrong."""
        code = 0
        while self.open and (wait or self.pipe.poll()):
            ended, out, err = self.take()
            self.open -= 1
            if err:
                say(err.rstrip())
            print(out, end="", flush=True)
            code = code or ended
        return code

    def board(self, outs: Sequence[str], target: str) -> str:
        """As ``report.write_board``, after all conclusions; they are not drawn a second time."""
        self.pipe.send((outs, target))
        found = self.take()
        if isinstance(found, ResultsError):
            raise found
        return str(found)

    def take(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            raise EngineError("the process that draws the reports has died; run the same command again") from None


@contextlib.contextmanager
def process() -> Iterator[Aside]:
    """Start the process, and end it. It ends by itself when this one dies."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=work, args=(there,), daemon=True)
    other.start()
    there.close()
    try:
        yield Aside(here)
    finally:
        here.close()
        other.join(1)
        other.terminate()


def work(pipe: Connection) -> None:
    """Conclude what comes through the pipe until it is closed. Ctrl-C is for the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            asked = pipe.recv()
            pipe.send(board(*asked) if len(asked) == 2 else concluded(*asked))


def concluded(request: Request, recipe: dict[str, Any], trained: Trained, uri: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``driver.conclude``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = driver.conclude(request, recipe, trained, uri)
    return code, out.getvalue(), err.getvalue()


def board(outs: Sequence[str], target: str) -> str | ResultsError:
    try:
        return report.write_board(outs, target)
    except ResultsError as error:
        return error
