"""On a GPU: packs against a loop on it, and a sweep end to end against one config a task. Without one: "not measured".

    python benchmarks/gpu.py packs|sweeps [seeds, 64] [device, default cuda]

Writes gpu_packs.md or gpu_sweeps.md beside this file, line by line; with device cpu (to try the script) it prints only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from cyclopts import run
from cyclopts.types import PositiveInt
from peers import train_one

from infra.packing import pack, steps
from infra.planning import plan
from infra.store import records
from trainables import two_layer_relu as family

HERE = Path(__file__).parent
POINTS = [(128, 64, 32), (256, 256, 32), (512, 1024, 32), (512, 2048, 100)]  # n, m, d
DTYPES = ("float64", "float32")
STEPS = 256  # a training, at most
LOOP = 4  # trainings that the loop takes of each point
SHARES = ("0.5", "0")  # of the card, to a pack
GRID = {"n": (128, 256, 512), "m": (256, 512, 1024, 2048), "d": (32,)}
TASKS = 2  # seeds of each grid point that are trained one config a task

Line = Callable[[str], None]


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
    """The rows of ``cells``, in packs as the plan cuts them."""
    rows = []
    for part in plan.packs("two_layer_relu", cells, "cuda"):
        run = pack.start("two_layer_relu", plan.from_columns("two_layer_relu", part.columns, part.size), device)
        while not pack.finished(run):
            pack.advance(run)
        rows += pack.rows(run)
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


def sweep(share: str, seeds: int) -> tuple[float, float, int]:
    """The command with so much of the card to a pack: seconds in all, from the first pack to the last, and rows."""
    with TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(HERE.parent / "sweeps" / "width_vs_n.py"),
            "--out",
            folder,
            "--gpus",
            share,
            "--to-the-end",
        ]
        command += [f"--{name}={','.join(map(str, values))}" for name, values in GRID.items()]
        began = time.perf_counter()
        done = subprocess.run([*command, f"--seeds={seeds}"], capture_output=True, text=True, check=False)
        whole = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(
                f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
            )
        rows = records.read_rows(folder)[0].select(["started", "finished"]).to_pylist()
    times = [
        time.mktime(time.strptime(row[end][:19], "%Y-%m-%dT%H:%M:%S"))
        for row in rows
        for end in ("started", "finished")
    ]
    return whole, max(times) - min(times), len(rows)


def tasks(device: str) -> float:
    """Seconds a training of Ray tasks on the card, one config each, eight at a time."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    task = ray.remote(train_one).options(num_gpus=1 / 8 if device == "cuda" else 0)
    cells = axes_of_grid(TASKS)
    ray.get([task.remote(one, device) for one in cells[:8]])  # the workers start
    began = time.perf_counter()
    ray.get([task.remote(one, device) for one in cells])
    took = time.perf_counter() - began
    ray.shutdown()
    return took / len(cells)


def packs(device: str, seeds: int) -> Iterator[str]:
    yield f"`two_layer_relu`, at most {STEPS} steps, {seeds} seeds a grid point, one process. Trainings a second, draws"
    yield "and, in packs, final metrics included; microseconds of a step of the whole pack, asked for by Python and"
    yield "replayed as a CUDA graph; the share of the peak of a matrix product that the latter comes to.\n"
    yield "| n | m | d | precision | packs, 1/s | loop, 1/s | times | step asked, us | replayed, us | % of peak |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from (point(*sizes, dtype, device, seeds) for dtype in DTYPES for sizes in POINTS)
    yield "\nA training so short is drawing and last eigenvalues above all; at the largest point packs therefore gain"
    yield "nothing."


def sweeps(device: str, seeds: int) -> Iterator[str]:
    yield f"`sweeps/width_vs_n.py`, n {GRID['n']}, m {GRID['m']}, d = 32, {seeds} seeds: planning, Ray, rows,"
    yield "MLflow, law and report included. The others train a part of the same grid, without final metrics; their hour"
    yield "follows from it, the start not counted.\n"
    yield "| way | trainings | seconds | of them training | trainings an hour |\n|---|---|---|---|---|"
    loop = seconds(lambda: [train_one(one, device) for one in axes_of_grid(1)], device, 1) / len(axes_of_grid(1))
    for name, each, count in (
        ("a loop on the card", loop, len(axes_of_grid(1))),
        ("Ray tasks, one config each, eight on the card", tasks(device), len(axes_of_grid(TASKS))),
    ):
        yield f"| {name} | {count} | - | {each * count:,.0f} | {3600 / each:,.0f} |"
    for share in SHARES if device == "cuda" else SHARES[-1:]:
        whole, training, count = sweep(share, seeds)
        name = f"{share} of the card to a pack" if float(share) else f"{os.cpu_count()} cores, no card"
        yield f"| widthlaw, {name} | {count:,} | {whole:,.0f} | {training:,.0f} | {3600 * count / whole:,.0f} |"
    yield "\nWhat widthlaw does not spend training is start, fits, figures and catalogue, which the others do not have:"
    yield "a sweep this short is sooner done by tasks."


def main(
    part: Literal["packs", "sweeps"] = "packs", seeds: PositiveInt = 64, device: Literal["cuda", "cpu"] = "cuda"
) -> None:
    there = device != "cuda" or torch.cuda.is_available()
    where = (
        f"{torch.cuda.get_device_name() if device == 'cuda' else device}, torch {torch.__version__}" if there else ""
    )
    head = [
        f"# On a GPU: {part}\n",
        f"{where or 'Not measured: no GPU was at hand'}.\nWritten by `python benchmarks/gpu.py {part} {seeds}`.\n",
    ]
    lines = []
    body: Iterable[str] = (packs(device, seeds) if part == "packs" else sweeps(device, seeds)) if there else ()
    for line in chain(head, body):
        lines.append(line)
        print(line, flush=True)
        if device == "cuda" and there:  # else what was measured on one stays
            (HERE / f"gpu_{part}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main)
