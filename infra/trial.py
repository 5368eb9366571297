"""One Ray Tune trial = one pack: train in blocks, keep a checkpoint between reports, write the rows at the end.

The checkpoint is a file of the trial's own: after each of Tune's, Tune writes down its view of all trials, which in a
sweep of 300 packs took a twentieth of a core. Where memory is short, the pack goes on in halves (see ``halving``).
"""

import contextlib
import io
import json
import os
import pickle
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from ray import tune

from infra import provenance
from infra.packing import halving, pack
from infra.planning import plan
from infra.store import records, storage
from infra.store.storage import ResultsError

REPORT_SECONDS = 2.0  # a report costs the driver 5 ms; a killed worker loses at most this, or one block if it is longer

UNSEEN = "does not see it and would lose its rows: give a folder that all nodes share, or s3://bucket/folder"


class PackTrial(tune.Trainable):  # type: ignore[misc]
    """Config ``job``: ``pack``, its number; ``family``, ``columns`` (as JSON: Tune walks through what is none) and
    ``size`` (see packs.Pack), ``device``, ``out``, ``states`` (the folder of the run's checkpoints), ``code``,
    ``commit``, ``data_dir``, ``to_the_end``, ``largest`` (trainings at a time, at most; 0: the whole pack), ``mark`` (a
    file that a node sees which sees the results folder; "": any does).

    A result carries ``outcomes``, one letter per cell (f, u, d, s, x; '.' while it trains), ``seconds`` so far and, at
    the end, ``results``, one per cell (see pack.result); in ``short`` why memory was short, if it was, and ``largest``;
    in ``unkept`` why the last checkpoint could not be written, if so.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.job = job = config["job"]
        if job["code"] != provenance.code():
            raise RuntimeError(
                f"host {provenance.host()} runs other code ({provenance.code()}) than the driver ({job['code']}): "
                "install the same version of widthlaw on every node"
            )
        if job["data_dir"]:
            os.environ["WIDTHLAW_DATA"] = job["data_dir"]
        torch.set_num_threads(1)
        self.device = job["device"]
        self.cells = plan.from_columns(job["family"], json.loads(job["columns"]), job["size"])
        self.progress: halving.Parts | None = None
        self.seconds = 0.0
        self.started = ""
        self.unkept = ""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let the actor serve the next pack: starting a process and importing torch costs seconds."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.look()
        began = time.perf_counter()
        self.started = self.started or now()
        progress = self.progress = self.progress or self.take_up()
        while not halving.finished(progress):
            halving.advance(progress)
            if time.perf_counter() - began > REPORT_SECONDS:
                break
        self.seconds += time.perf_counter() - began
        done = halving.finished(progress)
        if done:
            self.write(progress.whole)
            self.forget()
        else:
            self.unkept = self.keep(progress)
        rows = progress.whole.rows
        outcomes = "".join(pack.LETTERS[rows[i]["outcome"]] if i in rows else "." for i in range(len(self.cells)))
        results = [pack.result(rows[i]) for i in range(len(self.cells))] if done else []
        told = {"largest": progress.largest, "short": progress.why, "unkept": self.unkept}
        return {"done": done, "outcomes": outcomes, "seconds": self.seconds, "results": results} | told

    def look(self) -> None:
        """ResultsError where this node does not see the results folder, or sees it no more."""
        if self.job["mark"] and not Path(self.job["mark"]).is_file():
            raise ResultsError(f"host {provenance.host()} {UNSEEN}")

    def write(self, run: pack.Run) -> None:
        """One atomic shard with the pack's rows and where they come from."""
        origin = {
            "pack_seconds": self.seconds,
            "started": self.started,
            "finished": now(),
            "host": provenance.host(),
            "worker": os.getpid(),
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu",
            "threads": 1,
            "code": self.job["code"],
            "commit": self.job["commit"],
            "packages": provenance.packages(),
        }
        schema = plan.row_schema(self.job["family"])
        records.write_shard(self.job["out"], [row | origin for row in pack.rows(run)], schema)

    @property
    def state(self) -> str:
        """The name of the pack's checkpoint."""
        return f"pack-{self.job['pack']}.pt"

    def keep(self, progress: halving.Parts) -> str:
        """Write the checkpoint. Where that fails, as on a full disk, training goes on: the rows are what counts. Why it
        failed, or ""."""
        content = io.BytesIO()
        torch.save(halving.save(progress) | {"of": self.of, "pack_seconds": self.seconds}, content)
        try:
            storage.write_bytes(self.job["states"], self.state, content.getvalue())
        except ResultsError as error:
            return str(error)
        return ""

    @property
    def of(self) -> list[Any]:
        """What a checkpoint is of: code, family and cells."""
        return [self.job[name] for name in ("code", "family", "columns", "size")]

    def take_up(self) -> halving.Parts:
        """The pack as its checkpoint has it, else new: also where the checkpoint cannot be read, or is another's."""
        job, saved = self.job, self.saved()
        if saved.pop("of", None) != self.of:
            how = {"to_the_end": job["to_the_end"], "largest": job["largest"]}
            return halving.start(job["family"], self.cells, self.device, **how)
        self.seconds = saved.pop("pack_seconds")
        progress = halving.resume(saved, self.cells, self.device)
        if job["largest"]:
            halving.limit(progress, job["largest"])
        return progress

    def saved(self) -> dict[str, Any]:
        """What the checkpoint holds: tensors and plain containers, nothing else is let in. {} if it cannot be read."""
        filesystem, path = storage.within(self.job["states"], self.state)
        try:
            with filesystem.open_input_file(path) as file:
                found = torch.load(io.BytesIO(file.read()), weights_only=True, map_location=self.device)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
            return {}
        return found if isinstance(found, dict) else {}

    def forget(self) -> None:
        """Delete the checkpoint, if there is one: the rows are written."""
        filesystem, path = storage.within(self.job["states"], self.state)
        with contextlib.suppress(OSError):
            filesystem.delete_file(path)


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
