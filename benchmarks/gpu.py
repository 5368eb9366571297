"""Packs on a GPU against a loop on it, and the share of its matrix-product peak. Without a GPU: says "not measured".

    python benchmarks/gpu.py [device, default cuda] [seeds, 64]

Writes gpu.md beside this file; with device cpu (to try the script) it prints only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from peers import train_one

from infra.packing import pack
from infra.planning import plan
from trainables import two_layer_relu as family

POINTS = [(128, 64, 32), (256, 256, 32), (512, 1024, 32), (512, 2048, 100)]  # n, m, d
DTYPES = ("float64", "float32")
STEPS = 256  # a training, at most
LOOP = 4  # trainings that the loop takes of each point


def seconds(work: Callable[[], Any], device: str) -> float:
    """Of the second run; what is queued on the GPU is waited for."""
    for _ in range(2):
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


def line(point: tuple[int, int, int], dtype: str, device: str, seeds: int) -> str:
    n, m, d = point
    cells = [family.Cell(n=n, m=m, d=d, dtype=dtype, max_steps=STEPS, seed=seed) for seed in range(seeds)]
    packed = seconds(lambda: trained(cells, device), device) / seeds
    axes = [{"n": n, "m": m, "d": d, "dtype": dtype, "max_steps": STEPS, "seed": seed} for seed in range(LOOP)]
    alone = seconds(lambda: [train_one(one, device) for one in axes], device) / LOOP
    states = [family.draw(cell) for cell in cells[:8]]
    state = family.State(*(torch.stack(tensors).to(device) for tensors in zip(*states, strict=True)))
    stepping = seconds(lambda: steps.stepped("two_layer_relu", state, 64), device)
    flops = 64 * len(states) * (2.0 * n * n * m if state.C.shape[2] else 4.0 * n * m * d)
    left, right = torch.randn(2, 4096, 4096, dtype=getattr(torch, dtype), device=device)
    peak = 2 * 4096**3 / seconds(lambda: torch.mm(left, right), device)
    share = 100 * flops / stepping / peak
    return f"| {n} | {m} | {d} | {dtype} | {1 / packed:,.1f} | {1 / alone:,.1f} | {alone / packed:.1f} | {share:.0f} |"


def main(device: str = "cuda", seeds: int = 64) -> None:
    there = device != "cuda" or torch.cuda.is_available()
    where = torch.cuda.get_device_name() if device == "cuda" and there else device
    lines = [
        "# On a GPU",
        "",
        f"{where if there else 'Not measured: no GPU was at hand'}. `two_layer_relu`, at most {STEPS} steps,",
        f"{seeds} seeds a grid point; trainings a second, draws and final metrics included, and the share of the peak",
        "of a matrix product that a step of 8 trainings comes to.",
        f"Written by `python benchmarks/gpu.py {device} {seeds}`.",
        "",
        "| n | m | d | precision | in packs | in a loop | times | step, % of peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dtype in DTYPES:
        for n, m, d in POINTS:
            told = (
                line((n, m, d), dtype, device, seeds) if there else f"| {n} | {m} | {d} | {dtype}" + 4 * " | -" + " |"
            )
            lines.append(told)
            print(told, flush=True)
    if device == "cuda":
        Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
