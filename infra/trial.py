"""One Ray Tune trial = one pack: train in blocks, checkpoint between reports, write the rows at the end.

Where memory is short, the pack goes on in halves (see ``halving``).
"""

import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from ray import tune

from infra import provenance
from infra.packing import halving, pack
from infra.planning import plan
from infra.store import records
from infra.store.storage import ResultsError

REPORT_SECONDS = 2.0  # a report costs the driver 5 ms; a killed worker loses at most this, or one block if it is longer

UNSEEN = "does not see it and would lose its rows: give a folder that all nodes share, or s3://bucket/folder"
STATE = "pack.pt"  # in the folder of a checkpoint


class PackTrial(tune.Trainable):  # type: ignore[misc]
    """Config ``job``: ``family``, ``columns`` and ``size`` of the pack (see packs.Pack), ``device``, ``out``, ``code``,
    ``commit``, ``data_dir``, ``to_the_end``, ``largest`` (trainings at a time, at most; 0: the whole pack), ``mark`` (a
    file that a node sees which sees the results folder; "": any does).

    A result carries ``outcomes``, one letter per cell (f, u, d, s, x; '.' while it trains), ``seconds`` so far and, at
    the end, ``results``, one per cell (see pack.result); in ``short`` why memory was short, if it was, and ``largest``.
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
        self.cells = plan.from_columns(job["family"], job["columns"], job["size"])
        self.progress: halving.Parts | None = None
        self.seconds = 0.0
        self.started = ""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let the actor serve the next pack: starting a process and importing torch costs seconds."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.look()
        began = time.perf_counter()
        self.started = self.started or now()
        if self.progress is None:
            self.progress = halving.start(
                self.job["family"],
                self.cells,
                self.device,
                to_the_end=self.job["to_the_end"],
                largest=self.job["largest"],
            )
        while not halving.finished(self.progress):
            halving.advance(self.progress)
            if time.perf_counter() - began > REPORT_SECONDS:
                break
        self.seconds += time.perf_counter() - began
        done = halving.finished(self.progress)
        if done:
            self.write(self.progress.whole)
        rows = self.progress.whole.rows
        outcomes = "".join(pack.LETTERS[rows[i]["outcome"]] if i in rows else "." for i in range(len(self.cells)))
        results = [pack.result(rows[i]) for i in range(len(self.cells))] if done else []
        told = {"largest": self.progress.largest, "short": self.progress.why}
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

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        if self.progress is not None:
            torch.save(halving.save(self.progress) | {"pack_seconds": self.seconds}, Path(checkpoint_dir) / STATE)

    def restore(self, checkpoint_path: Any) -> None:
        """As Tune's own, from what it kept of ``save``; but that would also open a pickle, were there one beside it."""
        self.look()
        self._iteration = checkpoint_path.metrics.get("training_iteration", 0)
        saved = checkpoint_path.checkpoint
        with saved.filesystem.open_input_file(f"{saved.path}/{STATE}") as file:
            self.take_up(file.read())

    def load_checkpoint(self, checkpoint: str) -> None:
        self.take_up((Path(checkpoint) / STATE).read_bytes())

    def take_up(self, content: bytes) -> None:
        """Go on from what ``save_checkpoint`` wrote: tensors and plain containers, nothing else is let in."""
        saved = torch.load(io.BytesIO(content), weights_only=True, map_location=self.device)
        self.seconds = saved.pop("pack_seconds")
        self.progress = halving.resume(saved, self.cells, self.device)
        if self.job["largest"]:
            halving.limit(self.progress, self.job["largest"])


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
