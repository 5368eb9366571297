"""The table and the figure of ``speed.py``, from its speed.json."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib.pyplot as plt

BARS = {"Ray Tune, one config a trial": 1000, "Ray Tune, reused actors": 100, "serial loop, one core": 25,
        "joblib, 2 processes": 25, "Optuna, n_jobs = 2": 25}  # fmt: skip

OURS = ("widthlaw", "to the end")


def spread(values: Sequence[float], digits: str = ",.0f") -> str:
    """Median and range: "12 (11 to 14)"."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{digits}} ({low:{digits}} to {high:{digits}})" if len(values) > 1 else f"{middle:{digits}}"


def write(folder: Path) -> None:
    told = json.loads((folder / "speed.json").read_text())
    rounds = told["rounds"]
    ours = [one["widthlaw"] for one in rounds]
    lines = [*head(told, ours, [one["to the end"] for one in rounds]), *table(rounds, ours), *limit(rounds, ours)]
    (folder / "speed.md").write_text("\n".join(lines) + "\n")
    draw(rounds, ours, folder)
    print("\n".join(lines))


def head(told: dict[str, Any], ours: list[dict[str, Any]], whole: list[dict[str, Any]]) -> list[str]:
    outside = outside_of(ours)
    axes = ", ".join(f"{name} {text}" for name, text in told["axes"].items())
    return [
        "# Speed: the same cells through every way one would train them today",
        "",
        f"{ours[0]['cells']:,.0f} trainings of `two_layer_relu` ({axes}; {told['seeds']} seeds),"
        f" {ours[0]['unfit']:,.0f} of which never fit ({ours[0]['stalled']:,.0f} stopped early),",
        f"on 2 cores, {plural(len(ours), 'interleaved round')}{': median (least to most)' * (len(ours) > 1)}.",
        f"Written by `python benchmarks/speed.py {len(ours)} {told['seeds']}`.",
        "",
        f"widthlaw from the command to the report: {spread([one['seconds'] for one in ours])} s,"
        f" {spread([one['cpu_seconds'] for one in ours])} CPU s, at most"
        f" {max(one['peak_bytes'] for one in ours) / 2**30:.1f} GiB;"
        f" {spread([100 * share for share in outside])}% of the two cores' time is not spent training"
        f" (wanted: at most 15%): the first pack begins after {spread([one['starting'] for one in ours])} s, the report"
        f" is there {spread([one['ending'] for one in ours])} s after the last.",
        f"With `--to-the-end`: {spread([one['seconds'] for one in whole])} s,"
        f" {spread([100 * share for share in outside_of(whole)])}% not spent training.",
        "Start and end are the same for any sweep of this many grid points: the share falls with the training. A pack's"
        " time is that of the clock, in which it may have waited for a core that the driver or MLflow took.",
        "",
        "A peer trains a sample of these cells, every k-th by cost, in each round, and all of them to the end; its",
        "imports and Ray's start are not in its time, but in its CPU s and GiB. *times*: its seconds per training over",
        "widthlaw's, everything included; *to the end*: over widthlaw's with `--to-the-end`. *peak*: operations of the",
        "steps' matrix products a second over those of a large matrix product on both cores. *same*: of its outcomes,",
        "and of the steps at which those that fit do so.",
        "",
    ]


def outside_of(ours: list[dict[str, Any]]) -> list[float]:
    """The share of the two cores' time that is not spent training, in each round."""
    return [1 - one["training_seconds"] / (2 * one["seconds"]) for one in ours]


def limit(rounds: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    """What the steps' operations would take at the peak, and how much faster than the others that is."""
    peak = statistics.median(one["peak"] for one in ours)
    seconds, whole = (statistics.median(one[name] for one in ours) / peak for name in ("flops", "flops_to_the_end"))
    wall, later = (statistics.median(one[way]["seconds"] for one in rounds) for way in OURS)
    lines = [
        "",
        f"The limit: the machine's peak is {peak / 1e9:.0f} GFLOP/s. At it the steps of these trainings take"
        f" {whole:.0f} s, with the hopeless stopped early {seconds:.0f} s",
        f"(widthlaw takes {later:.0f} and {wall:.0f} s for everything, eigenvalues, rows, catalogue and law included).",
        "So no program that takes these steps can be more than so many times as fast as the others, as they were timed"
        " here, without stops and with them:",
        "",
        "| | wanted | at the peak, to the end | widthlaw | at the peak, stopped | widthlaw |",
        "|---|---|---|---|---|---|",
    ]
    for name, bar in BARS.items():
        took = statistics.median(one[name]["whole"] for one in rounds)
        times = f"{took / whole:,.0f} | {took / later:,.1f} | {took / seconds:,.0f} | {took / wall:,.1f}"
        lines.append(f"| {name} | {bar} | {times} |")
    return lines


def plural(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def table(rounds: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    columns = (
        "",
        "cells a round",
        "trainings an hour",
        "times",
        "times, to the end",
        "wanted",
        "CPU s a training",
        "% of peak",
        "GiB",
        "same",
    )
    lines = [f"| {' | '.join(columns)} |", "|---|---|---|---|---|---|---|---|---|---|"]
    rate = [3600 * one["cells"] / one["seconds"] for one in ours]
    cpu = [one["cpu_seconds"] / one["cells"] for one in ours]
    peak = max(one["peak_bytes"] for one in ours) / 2**30
    share = [100 * one["flops"] / one["seconds"] / one["peak"] for one in ours]
    lines.append(
        f"| widthlaw | {ours[0]['cells']:,.0f} | {spread(rate)} | | | | {spread(cpu, ',.3f')} | {spread(share, '.1f')}"
        f" | {peak:.1f} | |"
    )
    for name in [name for name in rounds[0] if name not in OURS]:
        peers = [one[name] for one in rounds]
        ratios, whole = (spread([one[name]["whole"] / one[way]["seconds"] for one in rounds], ",.1f") for way in OURS)
        rate = [3600 * peer["cells"] / peer["training"] for peer in peers]
        cpu = [peer["cpu_seconds"] / peer["cells"] for peer in peers]
        peak = max(peer["peak_bytes"] for peer in peers) / 2**30
        share = [100 * one["flops"] / one["training"] / our["peak"] for one, our in zip(peers, ours, strict=True)]
        same = sum(peer["same"] * peer["cells"] for peer in peers) / sum(peer["cells"] for peer in peers)
        steps = sum(peer["same_steps"] for peer in peers) / max(1, sum(peer["fits"] for peer in peers))
        lines.append(
            f"| {name} | {peers[0]['cells']} | {spread(rate)} | {ratios} | {whole} | {BARS.get(name, '')}"
            f" | {spread(cpu, ',.2f')} | {spread(share, '.1f')} | {peak:.1f} | {same:.1%}, {steps:.1%} |"
        )
    return lines


def draw(rounds: list[dict[str, Any]], ours: list[dict[str, Any]], folder: Path) -> None:
    """Trainings an hour, one bar each, on a logarithmic axis; the range over the rounds as a whisker."""
    rates = {name: [3600 * one[name]["cells"] / one[name]["training"] for one in rounds]
             for name in rounds[0] if name not in OURS}  # fmt: skip
    rates["widthlaw, everything included"] = [3600 * one["cells"] / one["seconds"] for one in ours]
    order = sorted(rates, key=lambda name: statistics.median(rates[name]))
    figure, axes = plt.subplots(figsize=(6.4, 2.9), layout="constrained")
    for i, name in enumerate(order):
        middle = statistics.median(rates[name])
        axes.barh(i, middle, color="#D55E00" if "widthlaw" in name else "#0072B2", height=0.65)
        axes.plot([min(rates[name]), max(rates[name])], [i, i], color="black", linewidth=1.2)
        axes.annotate(f" {middle:,.0f}", (max(rates[name]), i), va="center", fontsize=8)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(100, axes.get_xlim()[1] * 4)
    axes.set_xlabel("trainings an hour on two cores" + " (range over rounds)" * (len(rounds) > 1))
    axes.spines[["top", "right"]].set_visible(False)
    for suffix in ("pdf", "png"):
        figure.savefig(folder / f"speed.{suffix}", dpi=200)


if __name__ == "__main__":
    write(Path(__file__).parent)
