"""What Ray Tune tells of packs while they train, and what is made of it."""

import re
import time
from pathlib import Path
from threading import Event
from typing import Any

import ray
from ray import tune

from infra import nodes
from infra.planning import memory
from infra.progress import Progress
from infra.store import storage
from infra.trial import UNSEEN

SILENT = 60.0  # seconds without news after which it is asked whether Ray lives
STARVED = "out of memory issue"  # in what Ray says where it has killed a worker itself
FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)\n", re.M)  # Tune's line above an error
RAISED = re.compile(r"(?:\x1b\[\d+m)?ray::")  # how an error begins that was raised in a worker, which lives on


def last_failure(trial: Any) -> str:
    """The text of a trial's last failure, "" if it is not known. Tune keeps the exception too, pickled, in a folder in
    which others may write: that is read by nobody."""
    trial.run_metadata.pickled_error_filename = None
    try:
        return FAILURE.split(Path(trial.error_file).read_text(errors="replace"))[-1].strip()
    except (OSError, TypeError):
        return ""


class Stopped(BaseException):
    """A signal was heard. Not an Exception: Tune would wait for its trials to end."""


class Gone(BaseException):
    """The node of a Ray of this process's own has died, and none will come in its place."""

    def __str__(self) -> str:
        return "Ray's own node has died, killed by hand or for want of memory"


class Relay(tune.Callback):  # type: ignore[misc]
    """Hands the packs' reports to the progress display, and a signal to Tune's loop, which turns ten times a second.

    A pack whose worker has died is taken up again in halves: the kernel and Ray kill a worker that takes too much
    memory. ``largest``: of such packs, trainings at a time at most. ``alone``: Ray is this process's own.
    """

    def __init__(self, progress: Progress, stop: Event, *, alone: bool = False):
        self.progress, self.stop, self.alone = progress, stop, alone
        self.heard = time.monotonic()  # last news, or question whether there is a node
        self.largest: dict[int, int] = {}
        self.short: set[int] = set()  # packs of which it is known that memory was short
        self.unkept = ""  # why a checkpoint could not be written
        self.errors: list[str] = []  # of packs that were given up, in one line each

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore them, which we never do; the display stays here."""
        return {}

    def on_step_begin(self, **_: Any) -> None:
        if self.stop.is_set():
            raise Stopped
        if self.alone and time.monotonic() - self.heard > SILENT:
            self.heard = time.monotonic()
            if not any(node["Alive"] for node in ray.nodes()):
                raise Gone

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        self.heard = time.monotonic()
        number = trial.config["job"]["pack"]
        if result["short"] and number not in self.short:
            self.short.add(number)
            self.tell(number, f"too little memory ({result['short']})", result["largest"])
        if result["unkept"] and not self.unkept:
            self.unkept = result["unkept"]
            self.say(f"{self.unkept}: training goes on, an interrupted pack from its last checkpoint, if it has one")
        self.progress.update(number, result["outcomes"], result["seconds"])

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        """Tune keeps every trial to the end; what it has said goes, its rows are on disk."""
        told = trial.run_metadata
        told.last_result, told.metric_analysis, told.metric_n_steps = {}, {}, {}

    def on_trial_recover(self, *, trial: Any, **_: Any) -> None:
        self.halve(trial, last_failure(trial))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        told = last_failure(trial)
        self.errors.append("Ray killed a worker for want of memory" if STARVED in told else storage.last_line(told))
        self.halve(trial, told)

    def halve(self, trial: Any, told: str) -> None:
        """Where a worker is gone, its pack goes on in halves, from its last checkpoint if it has one. ``told``: the
        text of the error."""
        if UNSEEN in told:  # whatever that node trains would be lost
            raise nodes.UnsharedError(storage.last_line(told).partition(": ")[2])
        job = trial.config["job"]
        if RAISED.match(told) and not memory.lacking(told):
            if not storage.of_files(told):  # the error is in the code, and will be again
                trial.max_failures = 1
            return  # the worker lives
        before = job["largest"] or job["size"]
        job["largest"] = self.largest[job["pack"]] = -(-before // 2)
        if job["largest"] < before:
            self.tell(job["pack"], "its worker was lost, perhaps for want of memory", job["largest"])

    def limited(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job of a pack with what is known of its size."""
        return job | {"largest": self.largest.get(job["pack"], 0)}

    def tell(self, number: int, what: str, largest: int) -> None:
        """One line to the user, above the display."""
        self.say(f"pack {number}: {what}; it goes on with at most {largest} trainings at a time, and the same rows")

    def say(self, line: str) -> None:
        self.progress.console.print(line, soft_wrap=True, highlight=False, markup=False)
