"""What a sweep would cost, before it runs."""

import os
import time
from collections.abc import Sequence
from typing import Any

import trainables
from infra.packing import pack
from infra.planning import costs, plan
from infra.planning.packs import Pack

SAMPLE_SECONDS = 1.0  # how long the costliest pack is trained to learn the speed of this machine
START_SECONDS = 20  # until the first pack trains, and from the last to the report


def dry_run(
    family: str, cells: Sequence[Any], missing: Sequence[Any], *, gpus: bool = False, to_the_end: bool = True
) -> str:
    """Trainings, packs, FLOPs and memory from drawn examples, time from a trained sample; as text."""
    cpus = os.cpu_count() or 1
    packs = plan.packs(family, missing, at_least=cpus)
    lines = [
        f"trainings  {len(cells):,} asked for, {len(cells) - len(missing):,} recorded, {len(missing):,} to train",
        f"packs      {len(packs):,}",
    ]
    if packs:
        rate, each_step = speed(packs[0])[0], speed(packs[-1])[1]
        times = [pack.flops / rate + pack.steps * each_step for pack in packs]
        minutes = (max(sum(times) / min(cpus, len(packs)), max(times)) + START_SECONDS) / 60
        peak = max(pack.peak for pack in packs) / 2**20
        mebibytes = f"{peak:,.0f}" if peak >= 10 else f"{peak:.2g}"
        lines += [
            f"FLOPs      about {sum(pack.flops for pack in packs):.3g}, if every training ran to its budget",
            f"memory     at most about {mebibytes} MiB a pack at its peak, {cpus} packs at a time on these CPUs",
            f"time       at most about {minutes:.1f} min, {START_SECONDS} s of it to start and end; "
            f"measured {rate / 1e9:.2g} GFLOP/s a CPU, {each_step * 1e6:.0f} us a step of the smallest pack",
        ]
        if not to_the_end and hasattr(trainables.load(family), "reach"):
            lines.append("stops      trainings whose loss would end too high end sooner; --to-the-end stops none")
        lines += (
            ["GPUs       packs and time are for this machine's CPUs: what GPUs take is seen once they train"]
            if gpus
            else []
        )
    return "\n".join(lines)


def speed(sample: Pack) -> tuple[float, float]:
    """FLOP/s of one CPU on ``sample`` and seconds a step of it takes, by training it for a second."""
    cells = plan.from_columns(sample.family, sample.columns, sample.size)
    per_step = costs.cost(sample.family, cells[0]).flops_per_step
    run = pack.start(sample.family, cells)
    began, flops = time.perf_counter(), 0.0
    while not pack.finished(run) and time.perf_counter() - began < SAMPLE_SECONDS:
        before, live = run.k, len(run.live)
        pack.advance(run)
        flops += (run.k - before) * live * per_step
    seconds = time.perf_counter() - began
    return max(flops, 1.0) / seconds, seconds / max(run.k, 1)
