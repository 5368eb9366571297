"""What a pack takes at its peak: counted (infra/planning/memory.py) against measured, for every family.

    OMP_NUM_THREADS=1 python benchmarks/memory.py

Writes memory.md beside this file. Each entry is a process of its own (Linux): a small pack is trained first, so that
libraries have taken theirs, then the kernel's record of the peak (VmHWM) is reset and a pack is trained to its end.
Twice: with an allocator that gives back what is freed at once, which shows what is needed, and as it is.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cyclopts import run

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

MEBI = 2**20
ABOUT, LARGE = 200 * MEBI, 1500 * MEBI  # counted, of an entry's pack
RECORDS = 16 * MEBI  # what a pack keeps beside tensors, curves and rows; part of memory.WORKER
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc: larger blocks are mapped, and unmapped when they are freed
POINTS: dict[str, tuple[dict[str, Any], ...]] = {
    "adam_vs_gd": ({"m": 40, "n": 64, "d": 200, "budget": 3.0}, {"m": 8, "n": 512, "d": 64, "budget": 3.0}),
    "identity_mapping": ({"d": 32, "budget": 5}, {"d": 100, "budget": 5},
                         {"d": 64, "budget": 5, "gradient": "sampled", "batch": 1024}),
    "linear_teacher": ({"n": 64, "d": 256, "k": 64, "budget": 5}, {"n": 1024, "d": 8, "k": 64, "budget": 5}),
    "ntk_resnet": ({"n": 32, "m": 128, "max_steps": 5}, {"n": 128, "m": 64, "max_steps": 5}),
    "perturbed_dcnn": ({"n": 100, "m": 8}, {"n": 40, "m": 24}, {"n": 40, "m": 8, "jacobian_images": 8}),
    "random_features": ({"n": 64, "m": 256}, {"n": 256, "m": 64, "d": 64}),
    "resnet_vs_linear": ({"n": 256, "m": 64, "budget": 5}, {"n": 64, "m": 256, "d": 64, "budget": 5}),
    "shortcut_cnn": ({"k": 64, "p": 64, "max_steps": 5}, {"k": 16, "p": 256, "max_steps": 5}),
    "straight_through": ({"m": 64, "d": 128, "max_steps": 5},
                         {"m": 64, "d": 64, "gradient": "sampled", "batch": 512, "max_steps": 5}),
    "two_layer_relu": (
        {"n": 128, "m": 256, "d": 32, "max_steps": 5},
        {"n": 256, "m": 512, "d": 256, "max_steps": 5},
        {"n": 256, "m": 32, "d": 8, "max_steps": 5},
    ),
    "unit_capacity": ({"m": 256, "n": 512, "test": 200, "batch": 64, "budget": 1},
                      {"m": 2048, "n": 64, "test": 64, "budget": 2}),
}  # fmt: skip


LARGER: dict[str, dict[str, Any]] = {
    "two_layer_relu": {"n": 256, "m": 256, "d": 64, "max_steps": 5},
    "random_features": {"n": 128, "m": 512},
    "ntk_resnet": {"n": 64, "m": 128, "max_steps": 5},
    "linear_teacher": {"n": 256, "d": 256, "k": 64, "budget": 5},
}


def told(name: str) -> int:
    """Bytes that the kernel tells of this process, "VmRSS" or "VmHWM"."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def train(family: str, cells: list[Any]) -> None:
    from infra.packing import pack

    run = pack.start(family, cells)
    while not pack.finished(run):
        pack.advance(run)
    pack.rows(run)


def only(family: str, axes: dict[str, Any], about: int) -> None:
    """One entry: prints the pack's size, bytes of its states, counted and measured."""
    import torch

    import trainables
    from infra.planning import memory, plan

    torch.set_num_threads(1)
    module = trainables.load(family)
    cell = replace(module.SMALL, **axes)
    peak, state = memory.peak(module, cell), memory.held(module.draw(cell))
    size = max(2, min(plan.LARGEST_PACK, about // peak))
    train(family, [replace(module.SMALL, seed=seed) for seed in range(2)])
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = told("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    train(family, [replace(cell, seed=seed) for seed in range(size)])
    print(size, size * state, size * peak, told("VmHWM") - before)


def measured(family: str, axes: dict[str, Any], about: int, environment: dict[str, str]) -> list[int]:
    command = [sys.executable, __file__, "only", family, json.dumps(axes), str(about)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment).stdout
    return list(map(int, out.split()[-4:]))


def main() -> None:
    lines, ratios, kept = [], [], []
    entries = [(family, axes, ABOUT) for family, points in POINTS.items() for axes in points]
    for family, axes, about in [*entries, *((family, axes, LARGE) for family, axes in LARGER.items())]:
        size, states, counted, needed = measured(family, axes, about, AT_ONCE)
        held = measured(family, axes, about, {})[-1]
        ratios.append((counted + RECORDS) / needed)
        kept.append((counted + RECORDS) / held)
        point = ", ".join(f"{name} {value}" for name, value in axes.items() if name not in ("budget", "max_steps"))
        sizes = " | ".join(f"{number / MEBI:.0f}" for number in (states, counted, needed, held))
        lines.append(f"| {family} | {point} | {size} | {sizes} | {ratios[-1]:.2f} | {kept[-1]:.2f} |")
        print(lines[-1], flush=True)
    head = [
        "# Memory of a pack",
        "",
        "Written by `OMP_NUM_THREADS=1 python benchmarks/memory.py`; MiB. Counted: `memory.peak` times the pack.",
        "Needed: the most that the process held while the pack was trained, where blocks from 64 KiB on go back when",
        "they are freed. Held: as the allocator is, which keeps blocks up to 32 MiB. Ratios: counted and",
        f"{RECORDS // MEBI} MiB over needed, {min(ratios):.2f} to {max(ratios):.2f};",
        f"over held, {min(kept):.2f} to {max(kept):.2f}. A worker holds more than its pack needs, by what its",
        "allocator keeps; the budget leaves 512 MiB a worker for that. Where a pack is too large all the same, it goes",
        "on in halves. GPUs were not measured.",
        "",
        "| family | grid point | pack | states | counted | needed | held | over needed | over held |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    Path(__file__).with_name("memory.md").write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["only"]:
        only(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))
    else:
        run(main)
