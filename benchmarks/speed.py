"""How fast is a sweep? The same cells through every way one would train them today, and through widthlaw end to end.

    python benchmarks/speed.py [rounds, default 3] [seeds, 64]

Writes speed.json, speed.md, speed.pdf and speed.png beside this file. Every round runs widthlaw's command from nothing
(imports, plan, Ray, rows, MLflow, fits and figures included) and each peer on a sample of the same cells: every k-th in
the order of their cost, so that the sample costs what the sweep costs on average. A peer's imports and Ray's start are
not counted, only its trainings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
import psutil
from cyclopts import run
from cyclopts.types import PositiveInt
from peak import of_cores
from speed_table import write

from infra.store import records

HERE = Path(__file__).parent
AXES = {"n": "16:512:octave", "m": "2:128:half-octave", "d": "16,32"}
PEERS = {  # name: cells a round
    "Ray Tune, one config a trial": 24,
    "Ray Tune, reused actors": 192,
    "Ray tasks": 192,
    "Optuna, n_jobs = 2": 192,
    "serial loop, one core": 192,
    "joblib, 2 processes": 192,
    "vmap(grad), 2 processes": 12,  # whole grid points: it is meant for ensembles
}
CELL = ("n", "m", "d", "seed")


def measured(command: Sequence[str]) -> dict[str, Any]:
    """Run a command to its end: seconds, CPU seconds and peak memory of it and all that it starts."""
    cpu: dict[int, float] = {}
    peak = 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.2):
            held = 0
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try:
                    times = each.cpu_times()
                    cpu[each.pid] = times.user + times.system
                    held += each.memory_info().rss
                except psutil.Error:
                    continue
            peak = max(peak, held)

    def watched() -> None:
        try:
            watch()
        except psutil.Error:  # it has just ended
            return

    watcher = threading.Thread(target=watched)
    began = time.perf_counter()
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output[-2000:]}")
    return {"seconds": seconds, "cpu_seconds": sum(cpu.values()), "peak_bytes": peak, "output": output}


def widthlaw(seeds: int, folder: Path, *options: str) -> tuple[dict[str, Any], Any]:
    """The whole command, and its rows. "starting": seconds before the first pack, "ending": those after the last."""
    command = [sys.executable, str(HERE.parent / "sweeps" / "width_vs_n.py"), "--out", str(folder), *options]
    command += [f"--{name}={text}" for name, text in AXES.items()]
    began = pd.Timestamp.now("UTC")
    found = measured([*command, f"--seeds={seeds}"])
    ended = pd.Timestamp.now("UTC")
    rows = records.read_rows(str(folder))[0].to_pandas()
    found["starting"] = (pd.Timestamp(rows.started.min()) - began).total_seconds()
    found["ending"] = (ended - pd.Timestamp(rows.finished.max())).total_seconds()
    found.pop("output")
    packs = rows.drop_duplicates(["finished", "pack_seconds"])
    rows["end"] = rows.steps.where(~rows.outcome.isin(["unfit", "stalled"]), rows.budget_steps)
    gram = rows.n <= 2 * rows.d
    per_step = (2 * rows.n * rows.n * rows.m).where(gram, 4 * rows.n * rows.d * rows.m)
    counts = {"flops": (per_step * rows.steps).sum(), "flops_to_the_end": (per_step * rows.end).sum()}
    counts |= {"cells": len(rows), "training_seconds": packs.pack_seconds.sum()}
    counts |= {"unfit": (rows.success == 0).sum(), "stalled": (rows.outcome == "stalled").sum()}
    return found | {name: float(value) for name, value in counts.items()}, rows


def sample(rows: Any, name: str, round_: int) -> Any:
    """The cells that a peer trains in a round: every k-th by cost, others each round; of vmap whole points."""
    flops = rows.n * rows.m * rows.d * (rows.end + 1)
    if name.startswith("vmap"):
        points = flops.groupby([rows.n, rows.m, rows.d]).sum().sort_values().index
        chosen = points[offsets(len(points), PEERS[name], round_)]
        return rows.set_index(["n", "m", "d"], drop=False).loc[list(chosen)]
    return rows.loc[flops.sort_values(kind="stable").index[offsets(len(rows), PEERS[name], round_)]]


def offsets(size: int, count: int, round_: int) -> list[int]:
    return [int((i + (round_ + 0.5) / 3 % 1) * size / count) for i in range(count)]


def peer(name: str, rows: Any, round_: int, folder: Path) -> dict[str, Any]:
    """One peer on its sample: seconds, what they make of the whole sweep, the share of equal outcomes; of the trainings
    that fit, how many do so at the same step."""
    chosen = sample(rows, name, round_)
    cells, result = folder / "cells.json", folder / "result.json"
    cells.write_text(json.dumps(chosen[list(CELL)].to_dict("records")))
    found = measured([sys.executable, str(HERE / "peers.py"), name, str(cells), str(result)])
    told = json.loads(result.read_text())
    ours = chosen.outcome.replace("stalled", "unfit")  # the peers go on to the end
    same = [outcome == one for (outcome, _), one in zip(told["results"], ours, strict=True)]
    fits = [
        (count, mine) for (outcome, count), mine in zip(told["results"], chosen.steps, strict=True) if outcome == "fit"
    ]
    found.pop("output")
    whole = told["seconds"] * len(rows) / len(chosen)
    flops = float((4 * chosen.n * chosen.d * chosen.m * chosen.end).sum())
    counts = {"cells": len(chosen), "training": told["seconds"], "flops": flops}
    counts |= {"fits": len(fits), "same_steps": sum(count == mine for count, mine in fits)}
    return found | counts | {"whole": whole, "same": sum(same) / len(same)}


def main(rounds: PositiveInt = 3, seeds: PositiveInt = 64) -> None:
    results: list[dict[str, Any]] = []
    for round_ in range(rounds):
        with TemporaryDirectory() as name:
            ours, rows = widthlaw(seeds, Path(name) / "results")
            whole, _ = widthlaw(seeds, Path(name) / "whole", "--to-the-end")
            one: dict[str, Any] = {"widthlaw": ours | {"peak": of_cores(2)}, "to the end": whole}
            print(
                f"round {round_ + 1} of {rounds}: widthlaw {ours['seconds']:.0f} s for {ours['cells']:.0f} cells",
                flush=True,
            )
            for each in PEERS:
                one[each] = peer(each, rows, round_, Path(name))
                ratio = one[each]["whole"] / ours["seconds"]
                print(f"  {each}: {ratio:,.0f} times as long; {one[each]['same']:.1%} same outcomes", flush=True)
        results.append(one)
        (HERE / "speed.json").write_text(json.dumps({"axes": AXES, "seeds": seeds, "rounds": results}, indent=1))
    write(HERE)


if __name__ == "__main__":
    run(main)
