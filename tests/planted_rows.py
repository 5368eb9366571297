"""A results folder with rows whose laws are known, written without training anything.

Family two_layer_relu (for its claims), m* = n: of S seeds the share expit(4 log(m / n)) fits. flips = 0.4 m^-1/2 and
gram_init_gap = 2 m^-1/2 up to a scatter of 2%, other metrics flat; dist_max is half its bound; the loss falls at half
the factor that `rate_bound` allows.
"""

import json
import math
from itertools import product
from pathlib import Path

import numpy as np

import trainables
from analysis import report
from analysis.figures.style import encoded
from infra.store import records, schema
from infra.store.schema import Column

FAMILY, AXES = "two_layer_relu", {"m": [4, 6, 8, 11, 16, 23, 32, 45, 64, 128, 256], "n": [8, 16, 32], "d": [8]}
CLAIMS = [dict(told) for told in trainables.load(FAMILY).CLAIMS]
METRICS = (
    "flips", "dist_max", "dist_rms", "gram_init_gap", "gram_drift", "lambda0", "rate_bound", "dist_bound",
    "width_scale", "gram_width", "loss",
)  # fmt: skip
SEEDS = 10


def plan(out, axes=AXES, plan_id="a" * 20, **more):
    recipe = {
        "claims": CLAIMS, "paper": ["A planted law", "Du et al. 2018, arXiv 1810.02054."],
        "by": None, "metrics": [], "curves": [],
        "sweep": "planted", "family": FAMILY, "numerics": "1", "axes": axes, "seeds": SEEDS, "level": 0.5,
        "plan_id": plan_id, "claim": "How wide?", "critical": "m", "over": "n", "criterion": "it fits",
        "meanings": {"m": "width", "n": "samples", "d": "dimension"}, "command": "python sweeps/planted.py",
        "created": "2026-01-01T00:00:00+00:00",
    } | more  # fmt: skip
    records.write_plan(str(out), recipe)
    return recipe


def row(m, n, d, seed, **more):
    rng = np.random.default_rng([m, n, d, seed])
    scatter = math.exp(0.02 * rng.standard_normal())
    fits = (seed + 0.5) / SEEDS < 1 / (1 + (n / m) ** 4)
    fields = {"m": m, "n": n, "d": d, "seed": seed}
    return {
        "cell_id": schema.cell_id(FAMILY, "1", fields), "point_id": schema.point_id(FAMILY, "1", fields),
        "family": FAMILY, "numerics": "1", **fields, "outcome": "fit" if fits else "unfit", "success": int(fits),
        "reason": None, "steps": 10, "flips": 0.4 * m**-0.5 * scatter, "dist_max": 1.0, "dist_bound": 2.0,
        "dist_rms": 0.5, "gram_drift": 0.1 * scatter, "gram_init_gap": 2 * m**-0.5 * scatter, "lambda0": 1.0,
        "rate_bound": 0.8, "width_scale": 1.0, "gram_width": n**2 * math.log(n), "loss": 1e-3,
        "curve_step": [0.0, 1.0, 3.0],
        "curve_loss": [1.0, 0.4, 0.4**3], "compute_seconds": 0.5, "finished": "2026-01-02T00:00:00+00:00",
        "host": "planted", "device": "cpu", "threads": 1, "code": "c0de", "commit": "c0ffee", "packages": "none",
    } | more  # fmt: skip


def rows(axes=AXES, **more):
    cells = product(axes["m"], axes["n"], axes["d"], range(SEEDS))
    return [row(*cell, **more) for cell in cells]


def write(out, planted):
    columns = [Column(name, "int", name, "1") for name in ("m", "n", "d", "seed")]
    numbers = [Column(name, "float", f"the {name}", "1") for name in METRICS]
    numbers += [Column(name, "curve", name, "1") for name in ("curve_step", "curve_loss")]
    if planted:
        records.write_shard(str(out), planted, schema.of_rows(columns, numbers))


def drawn_as(monkeypatch, *kinds):
    """Figures are made as ever, and of their files only these kinds are drawn ("svg" is what a page holds)."""
    monkeypatch.setattr(report, "encoded", lambda figure, kind: encoded(figure, kind) if kind in kinds else b"")


def laws(out):
    return json.loads(Path(out, "laws.json").read_text())["plans"]
