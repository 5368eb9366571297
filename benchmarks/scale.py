"""Large sweeps: what planning, going on, the catalogue and the report cost as cells and rows grow.

    python benchmarks/scale.py [largest, default 1000000]

Writes scale.md beside this file. Each entry is measured in a process of its own, from its start, imports included. The
rows are made, not trained: real rows of one training with other axes and planted outcomes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from cyclopts import Parameter, run
from cyclopts.validators import Number

GRID = {"n": "8:64:quarter-octave", "m": "8:128:quarter-octave"}  # 13 by 17 grid points, times d
DEPTHS = {"random_features": "3,5", "two_layer_relu": "8,16"}
ASKED = {
    "planning": (1_000_000, 60),
    "going on": (100_000, 20),
    "command": (100_000, None),
    "catalogue": (20_000, 60),
    "report": (1_000_000, 60),
}
TRAINED = (40_000, 120_000)  # really: what the driver holds while it trains so many
SEEDS_OF = {
    "catalogue": 10,
    "bare runs": 10,
    "training": 20,
}  # trainings a grid point there: 2,000 grid points and more
MEMORY = 2.0  # GiB that planning may take


def request(family: str, trainings: int, out: str, seeds: int | None = None) -> Any:
    """A request for about so many trainings on the grid above."""
    from infra import options
    from sweeps.width_vs_n import SWEEP

    axes = [f"--{name}={text}" for name, text in (GRID | {"d": DEPTHS[family]}).items()]
    if seeds and family == "random_features":  # as many grid points as it takes, each a pack
        depths = range(3, 3 + max(1, round(trainings / seeds / (13 * 17))))
        axes[-1] = f"--d={','.join(map(str, depths))}"
    elif seeds:
        points = trainings // seeds // (13 * 17 * 2) + 1
        axes += [f"--init_scale={','.join(str(round(0.5 + 0.1 * i, 1)) for i in range(points))}"]
    return options.parse(
        SWEEP, [f"--family={family}", *axes, f"--seeds={seeds or trainings // (13 * 17 * 2)}", f"--out={out}"]
    )


def write_rows(asked: Any) -> None:
    """Rows and plan of a request, every training recorded."""
    import trainables
    from infra import plan_file
    from infra.packing import pack
    from infra.planning import plan
    from infra.store import records, schema

    family, out = asked.family, asked.options.out
    module, rng = trainables.load(family), np.random.default_rng(0)
    cells = plan.grid(family, asked.axes, asked.options.seeds)
    run = pack.start(family, cells[:2])
    while not pack.finished(run):
        pack.advance(run)
    origin = {
        "pack_seconds": 1.0,
        "finished": "2026-01-01T00:00:00+00:00",
        "host": "here",
        "device": "cpu",
        "threads": 1,
    }
    row = pack.rows(run)[0] | origin | {"code": "c", "commit": "c", "packages": "p"}
    for part in plan.packs(family, cells):
        rows = []
        for cell in plan.from_columns(family, part.columns, part.size):
            axes, fits = asdict(cell), rng.random() < 1 / (1 + (0.5 * cell.n**1.2 / cell.m) ** 4)
            names = ((schema.cell_id, "cell_id"), (schema.point_id, "point_id"))
            of: dict[str, object] = {name: address(family, module.VERSION, axes) for address, name in names}
            of |= {"success": int(fits), "outcome": "fit" if fits else "unfit"}
            rows.append(row | axes | of)
        records.write_shard(out, rows, plan.row_schema(family))
    records.write_plan(out, plan_file.manifest(asked))


def planning(asked: Any) -> None:
    """A tenth of the trainings is recorded."""
    from infra.planning import plan
    from infra.store import records

    cells = plan.grid(asked.family, asked.axes, asked.options.seeds)
    plan.check(asked.family, cells)
    known, _ = records.recorded(asked.options.out, (asked.family, plan.row_schema(asked.family)))
    missing = plan.unrecorded(asked.family, cells, known)
    assert 0.85 < len(missing) / len(cells) < 0.95
    plan.packs(asked.family, missing)


def going_on(asked: Any) -> None:
    from infra import plan_file, training
    from infra.planning import plan
    from infra.store import records

    out, family = asked.options.out, asked.family
    known, _ = records.recorded(out, (family, plan.row_schema(family)))
    cells = plan.grid(family, asked.axes, asked.options.seeds)
    assert not plan.unrecorded(family, cells, known)
    training.recorded_counts(out, plan_file.manifest(asked))


def command(asked: Any) -> None:
    """The real command, to its end: nothing is to be trained, report and catalogue are made."""
    from infra import driver

    run_command(asked, driver.conclude)


def run_command(asked: Any, end: Any) -> None:
    from infra import driver
    from sweeps.width_vs_n import SWEEP

    argv = [f"--{name}={','.join(map(str, values))}" for name, values in asked.axes.items()]
    options = [f"--seeds={asked.options.seeds}", f"--out={asked.options.out}", f"--family={asked.family}"]
    assert driver.answer(SWEEP, [*argv, *options], end=end) == 0


def catalogue(asked: Any) -> None:
    from infra.catalogue import tracking

    tracking.sync(asked.options.out, tracking.default_uri(asked.options.out))


def bare_runs(asked: Any) -> None:
    """A run of one number for each grid point, by MLflow's own calls: what no catalogue that uses them can pass."""
    from mlflow.entities import Metric, Param

    from infra.catalogue import tracking
    from infra.catalogue.mlflow_calls import client

    tracking.check(uri := tracking.default_uri(asked.options.out))
    mlflow = client(uri)
    number = mlflow.create_experiment("bare")
    for i in range(int(np.prod([len(values) for values in asked.axes.values()]))):
        made = mlflow.create_run(number, run_name=str(i))
        mlflow.log_batch(made.info.run_id, [Metric("success rate", 0.5, 0, 0)], [Param("m", str(i))])
        mlflow.set_terminated(made.info.run_id)


def report(asked: Any) -> None:
    from analysis import report

    report.write_report(asked.options.out)


def training(asked: Any) -> None:
    """The real command, from its start to the end of the training, on an MLflow store of its own."""
    run_command(asked, lambda *_: 0)


def measure(what: str, family: str, trainings: int, out: str) -> tuple[float, float, int]:
    """Seconds, GiB at most, and trainings, of one entry in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, __file__, "only", what, family, str(trainings), out]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return time.perf_counter() - began, float(told[-2]) / 2**20, int(told[-1])


def only(what: str, family: str, trainings: str, out: str) -> None:
    """One entry: prints KiB at most and the number of trainings."""
    asked = request(family, int(trainings), out, SEEDS_OF.get(what.removeprefix("write ")))
    entries = {"planning": planning, "going on": going_on, "catalogue": catalogue, "report": report, "command": command,
               "training": training, "bare runs": bare_runs}  # fmt: skip
    (write_rows if what.startswith("write") else entries[what])(asked)
    count = asked.options.seeds * int(np.prod([len(values) for values in asked.axes.values()]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, count)


def driver_memory(largest: int) -> list[str]:
    """How the driver's memory grows with the trainings it plans and has trained."""
    held = []
    for size in (min(size, largest) for size in TRAINED):
        with TemporaryDirectory() as out:
            took, memory, count = measure("training", "random_features", size, out)
        held.append((count, memory))
        print(f"training {count:,}: {took:.0f} s, {memory:.3f} GiB", flush=True)
    (few, low), (many, high) = held
    state = 1024 * (high - low) / (many - few) * 10_000 if many > few else float("nan")
    return [
        "",
        f"The driver, while it really trains `random_features`, {SEEDS_OF['training']} trainings a pack, holds at most "
        f"{low:.2f} GiB with {few:,} trainings and {high:.2f} GiB with {many:,}, Ray, MLflow and torch included: "
        f"{state:.1f} MiB of state per 10,000 trainings in packs this small. Wanted: flat.",
    ]


def main(largest: Annotated[int, Parameter(validator=Number(gte=10_000))] = 1_000_000) -> None:
    lines = [
        "# Large sweeps",
        "",
        f"Written by `python benchmarks/scale.py {largest}`; seconds from a process's start, with imports. Planning",
        "finds a tenth of the trainings recorded; going on finds all of them, and is the way to the training alone;",
        "command is the whole command then, to its end: report, and a catalogue that is empty before.",
        "",
        "| what | family | trainings | s | GiB | asked for |",
        "|---|---|---|---|---|---|",
    ]
    short = []
    for what, family in [*((what, "two_layer_relu") for what in ASKED), ("report", "random_features")]:
        trainings, seconds = ASKED[what]
        for size in sorted({min(largest, trainings) // 10, min(largest, trainings)}):
            with TemporaryDirectory() as out:
                measure(f"write {what}", family, size // 10 if what == "planning" else size, out)
                took, memory, count = measure(what, family, size, out)
            bar = f"at most {seconds} s" + (f", {MEMORY:g} GiB" if what == "planning" else "") if seconds else ""
            short += [f"{what}, {family}"] if seconds and size == trainings and took > seconds else []
            lines.append(
                f"| {what} | {family} | {count:,} | {took:.1f} | {memory:.2f} | {bar if size == trainings else ''} |"
            )
            print(lines[-1], flush=True)
    with TemporaryDirectory() as out:
        floor, _, _ = measure("bare runs", "two_layer_relu", min(largest, ASKED["catalogue"][0]), out)
    lines += ["", f"Longer than asked for: {'; '.join(short) or 'none'}. As many runs in MLflow of one number and one"]
    lines += [f"parameter each, by its own calls and nothing else, take {floor:.0f} s."]
    lines += driver_memory(largest)
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["only"]:
        only(*sys.argv[2:])
    else:
        run(main)
