"""On a GPU: packs against a loop on it, and a sweep end to end against one config a task. Without one: "not measured".

    python benchmarks/gpu.py packs|sweeps [seeds, 64] [rounds of sweeps, 2] [device, default cuda]

Writes gpu_packs.md or gpu_sweeps.md beside this file, line by line; with device cpu (to try the script) it prints only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from cyclopts import run
from cyclopts.types import PositiveInt
from peers import train_one

from infra.packing import halving, pack, steps
from infra.planning import plan
from infra.store import records
from trainables import two_layer_relu as family

HERE = Path(__file__).parent
POINTS = [(128, 64, 32), (256, 256, 32), (512, 1024, 32), (512, 2048, 100)]  # n, m, d
DTYPES = ("float64", "float32")
STEPS = 256  # a training, at most
LOOP = 4  # trainings that the loop takes of each point
SHARE = "0.5"  # of the card, to a pack
GRID = {"n": (128, 256, 512), "m": (256, 512, 1024, 2048), "d": (32,)}
PEERS = {  # seeds of each grid point, at most
    "serial loop, one core": 2,
    "Ray tasks": 64,
    "Ray Tune, reused actors": 32,
    "Ray Tune, one config a trial": 2,
}

Answers = dict[tuple[int, ...], tuple[str, int]]  # outcome and steps, by n, m, d and seed


def seconds(work: Callable[[], Any], device: str, times: int = 2) -> float:
    """Of the last time; what is queued on the GPU is waited for."""
    for _ in range(times):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - began


def trained(cells: list[Any], device: str) -> list[Any]:
    """The rows of ``cells``, in packs as the plan cuts them and as a worker trains them."""
    rows = []
    for part in plan.packs("two_layer_relu", cells, "cuda"):
        packed = halving.start("two_layer_relu", plan.from_columns("two_layer_relu", part.columns, part.size), device)
        while not halving.finished(packed):
            halving.advance(packed)
        rows += pack.rows(packed.whole)
    return rows


def stepping(state: Any, device: str) -> tuple[float, float]:
    """Seconds of a step of a stacked state: asked for by Python each time, and replayed."""
    asked = seconds(lambda: steps.stepped("two_layer_relu", state, 64), device) / 64
    _, graph = steps.replayed("two_layer_relu", state, 8, 10**6, None)
    if graph is None:
        return asked, asked
    return asked, seconds(lambda: steps.replayed("two_layer_relu", graph.state, 64, 0, graph), device) / 64


def point(n: int, m: int, d: int, dtype: str, device: str, seeds: int) -> str:
    """The line of a grid point."""
    cells = [family.Cell(n=n, m=m, d=d, dtype=dtype, max_steps=STEPS, seed=seed) for seed in range(seeds)]
    packed = seconds(lambda: trained(cells, device), device) / seeds
    axes = [{"n": n, "m": m, "d": d, "dtype": dtype, "max_steps": STEPS, "seed": seed} for seed in range(LOOP)]
    alone = seconds(lambda: [train_one(one, device) for one in axes], device) / LOOP
    states = [family.draw(cell) for cell in cells[:4]] * -(-seeds // 4)
    state = family.State(*(torch.stack(tensors).to(device) for tensors in zip(*states, strict=True)))
    asked, replayed = stepping(state, device)
    flops = len(states) * (2.0 * n * n * m if state.C.shape[2] else 4.0 * n * m * d)
    left, right = torch.randn(2, 4096, 4096, dtype=getattr(torch, dtype), device=device)
    peak = 2 * 4096**3 / seconds(lambda: torch.mm(left, right), device, 4)
    share, us = 100 * flops / replayed / peak, 1e6
    return (
        f"| {n} | {m} | {d} | {dtype} | {1 / packed:,.1f} | {1 / alone:,.1f} | {alone / packed:.1f} "
        f"| {us * asked:,.0f} | {us * replayed:,.0f} | {share:.0f} |"
    )


def axes_of_grid(seeds: int) -> list[dict[str, Any]]:
    sizes = [(n, m, d) for n in GRID["n"] for m in GRID["m"] for d in GRID["d"]]
    return [{"n": n, "m": m, "d": d, "seed": seed} for n, m, d in sizes for seed in range(seeds)]


def finished(command: Sequence[Any]) -> float:
    """Seconds that a command took. SystemExit with what it said, where it failed."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[:3]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - began


def peer(name: str, seeds: int, device: str) -> tuple[float, Answers]:
    """Seconds, and the outcome and steps of each training, of the grid trained another way."""
    cells = axes_of_grid(seeds)
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "cells.json"), Path(folder, "result.json")
        source.write_text(json.dumps(cells))
        finished([sys.executable, HERE / "peers.py", name, source, target, device])
        result = json.loads(target.read_text())
    return result["seconds"], {
        tuple(cell.values()): tuple(found) for cell, found in zip(cells, result["results"], strict=True)
    }


def sweep(share: str, seeds: int) -> tuple[float, Answers, float]:
    """The same of the command with so much of the card to a pack; last, seconds from the first pack to the last."""
    with TemporaryDirectory() as folder:
        script = HERE.parent / "sweeps" / "width_vs_n.py"
        axes = [f"--{name}={','.join(map(str, values))}" for name, values in GRID.items()]
        command = [sys.executable, script, "--out", folder, "--gpus", share, "--to-the-end", *axes, f"--seeds={seeds}"]
        whole = finished(command)
        rows = records.read_rows(folder)[0].to_pylist()
    times = [datetime.fromisoformat(row[end]).timestamp() for row in rows for end in ("started", "finished")]
    found = {tuple(row[name] for name in ("n", "m", "d", "seed")): (row["outcome"], row["steps"]) for row in rows}
    return whole, found, max(times) - min(times)


def packs(device: str, seeds: int) -> Iterator[str]:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    yield f"`two_layer_relu`, at most {STEPS} steps, {seeds} seeds a grid point, one process; packs take one"
    yield f"core, the loop {torch.get_num_threads()}. Trainings a second, draws and, in packs, final metrics included;"
    yield "microseconds of a step of the whole pack, asked for by Python and replayed as a CUDA graph; the share of the"
    yield "peak of a matrix product that the latter comes to.\n"
    yield "| n | m | d | precision | packs, 1/s | loop, 1/s | times | step asked, us | replayed, us | % of peak |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from (point(*sizes, dtype, device, seeds) for dtype in DTYPES for sizes in POINTS)


def sweeps(device: str, seeds: int, rounds: int) -> Iterator[str]:
    yield f"`sweeps/width_vs_n.py`, n {GRID['n']}, m {GRID['m']}, d = 32, {seeds} seeds, from nothing: imports,"
    yield "plan, Ray, rows, MLflow, law and report included. The others train the first seeds of the same grid,"
    yield "without final metrics; those of Ray on an eighth of the card each; imports and the start of Ray not"
    yield f"counted. Median (least to most) of {rounds} interleaved rounds. Same: trainings with the outcome and the"
    yield "steps that widthlaw has; a step more or fewer is rounding, which on a GPU depends on the kernel.\n"
    yield "| way | trainings | seconds | trainings an hour | widthlaw, times | same |\n|---|---|---|---|---|---|"
    ways = {name: min(count, seeds) for name, count in PEERS.items()}
    taken: dict[str, list[float]] = {name: [] for name in ("widthlaw", *ways)}
    training, same = [], {}
    for _ in range(rounds):
        whole, rows, between = sweep(SHARE if device == "cuda" else "0", seeds)
        taken["widthlaw"].append(whole / len(rows))
        training.append(between)
        for name, count in ways.items():
            spent, found = peer(name, count, device)
            taken[name].append(spent / len(found))
            same[name] = f"{sum(rows[cell] == answer for cell, answer in found.items())} of {len(found)}"
    cells = len(axes_of_grid(1))
    for name, each in taken.items():
        count = cells * ways.get(name, seeds)
        hour = told([3600 / one for one in each], ",.0f")
        times = told([theirs / ours for theirs, ours in zip(each, taken["widthlaw"], strict=True)], ",.2f")
        seconds_told = told([one * count for one in each], ",.0f")
        yield f"| {name} | {count:,} | {seconds_told} | {hour} | {times} | {same.get(name, '')} |"
    yield f"\nwidthlaw trains from its first pack to its last {told(training, ',.0f')} s; the rest is start, fits,"
    yield "figures and catalogue, which the others do not have."


def told(values: Sequence[float], form: str) -> str:
    """Median (least to most)."""
    low, high = (format(end, form) for end in (min(values), max(values)))
    return f"{format(median(values), form)}" + (f" ({low} to {high})" if low != high else "")


def main(
    part: Literal["packs", "sweeps"] = "packs",
    seeds: PositiveInt = 64,
    rounds: PositiveInt = 2,
    device: Literal["cuda", "cpu"] = "cuda",
) -> None:
    there = device != "cuda" or torch.cuda.is_available()
    where = (
        f"{torch.cuda.get_device_name() if device == 'cuda' else device}, torch {torch.__version__}" if there else ""
    )
    again = f" {rounds}" if part == "sweeps" else ""
    by = f"Written by `python benchmarks/gpu.py {part} {seeds}{again}`."
    head = [f"# On a GPU: {part}\n", f"{where or 'Not measured: no GPU was at hand'}.\n{by}\n"]
    lines = []
    body: Iterable[str] = (packs(device, seeds) if part == "packs" else sweeps(device, seeds, rounds)) if there else ()
    for line in chain(head, body):
        lines.append(line)
        print(line, flush=True)
        if device == "cuda" and there:  # else what was measured on one stays
            (HERE / f"gpu_{part}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main)
