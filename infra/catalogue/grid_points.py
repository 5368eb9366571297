"""What the rows of a plan say about its grid points: the parameters and numbers of the MLflow catalogue."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import pyarrow as pa

from analysis.series import along, share
from analysis.titles import fixed, naming_axes, short
from infra.store import records
from infra.store.schema import HEAD, OUTCOMES

COUNTS = ("trainings", *OUTCOMES)
CURVE = 24  # steps of a loss curve
NOT_MEASURED = {"success", "pack_seconds", "threads", "worker"}  # numbers that are not a median over seeds


@dataclass(frozen=True)
class Point:
    """A grid point: its address, readable name, axes (without the seed), outcome counts and its rows."""

    point_id: str
    name: str
    axes: dict[str, Any]
    counts: dict[str, float]
    rows: pa.Table


def points(plan: Mapping[str, Any], rows: pa.Table) -> Iterator[Point]:
    """The recorded grid points of a plan, from its rows, in the order of the axes that name them."""
    if not len(rows):
        return
    where: dict[str, list[int]] = {}
    for i, identity in enumerate(rows["point_id"].to_pylist()):
        where.setdefault(identity, []).append(i)
    axes, naming, outcomes = axis_names(rows), naming_axes(plan), rows["outcome"].to_pylist()
    firsts = rows.select(axes).take([indices[0] for indices in where.values()]).to_pylist()
    order = sorted(
        zip(where.items(), firsts, strict=True),
        key=lambda one: tuple(one[1][name] for name in naming if name in one[1]),
    )
    for (identity, indices), values in order:
        counts = outcome_counts([outcomes[i] for i in indices])
        yield Point(identity, label(values, naming), values, counts, rows.take(indices))


def axis_names(rows: pa.Table) -> list[str]:
    """The axes of rows, without the seed: the schema's columns between the head and the outcome."""
    names = rows.column_names[len(HEAD) : rows.column_names.index("outcome")]
    return [name for name in names if name != "seed"]


def label(axes: Mapping[str, Any], names: Sequence[str]) -> str:
    """A readable name such as "n=64 m=45 init_scale=0.5"."""
    return " ".join(f"{name}={short(axes[name])}" for name in names if name in axes)


def outcome_counts(outcomes: Sequence[str]) -> dict[str, float]:
    """``trainings`` and the number of each outcome."""
    counts = Counter(outcomes)
    return {"trainings": float(len(outcomes))} | {name: float(counts[name]) for name in OUTCOMES}


def numbers(point: Point) -> dict[str, float]:
    """``success rate`` with its interval (failed trainings left out), counts, and each column's ``median`` over seeds.

    A seed without a value is left out of a median, NaN counts as infinite, a median that is not finite is left out.
    The success rate comes first: MLflow's page that compares runs draws the first metric.
    """
    result: dict[str, float] = {}
    trials = point.counts["trainings"] - point.counts["failed"]
    if trials:
        rate, low, high = share(int(point.counts["fit"]), int(trials))
        result |= {"success rate": rate, "success rate low": low, "success rate high": high}
    result |= point.counts
    measured = point.rows.column_names[point.rows.column_names.index("outcome") :]
    for name in measured:
        type_ = point.rows.schema.field(name).type
        if name not in NOT_MEASURED and (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
            values = [value for value in point.rows[name].to_pylist() if value is not None]
            middle = median(math.inf if math.isnan(value) else value for value in values) if values else math.inf
            if math.isfinite(middle):
                result[f"median {name}"] = digits(middle)
    return result


def digits(value: float) -> float:
    """To 4 digits: MLflow's table cuts what is longer, and with it the exponent. The rows have all of them."""
    return float(f"{value:.4g}")


def loss_curve(rows: pa.Table) -> list[tuple[int, float]]:
    """(step, median loss over seeds), at every step at which some seed was looked at.

    A training counts with its latest value at or before the step, a finished one keeps its last; NaN counts as
    infinite; steps where the median is not finite are left out. The last value is then ``median loss``. Of more than
    CURVE steps as many are kept, evenly spread over those taken, with the first and the last: MLflow writes each with a
    row of its database. The rows have all of them.
    """
    if "curve_loss" not in rows.column_names:
        return []
    steps, middle, *_ = along(rows.select(["curve_step", "curve_loss"]).to_pandas(), "loss")
    curve = [(int(step), digits(value)) for step, value in zip(steps, middle, strict=True) if math.isfinite(value)]
    kept = min(CURVE, len(curve))
    return [curve[round(i * (len(curve) - 1) / max(1, kept - 1))] for i in range(kept)]


def time_span(rows: pa.Table) -> tuple[int, int]:
    """When the point's last pack began and ended, in ms since 1970; now where the rows do not say."""
    ended = [
        (datetime.fromisoformat(finished).timestamp(), seconds or 0.0)
        for finished, seconds in zip(rows["finished"].to_pylist(), rows["pack_seconds"].to_pylist(), strict=True)
        if finished
    ]
    end, seconds = max(ended, default=(datetime.now(UTC).timestamp(), 0.0))
    return int(1000 * (end - seconds)), int(1000 * end)


def totals(plan: Mapping[str, Any], rows: pa.Table) -> dict[str, float]:
    """``trainings`` recorded and ``planned``, and the number of each outcome, over all points of a plan."""
    counts = outcome_counts(rows["outcome"].to_pylist() if len(rows) else [])
    return counts | {"planned": float(records.asked(plan, len(rows)))}


def settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What all trainings of a plan share: family, seeds, level and the axes that do not vary. The seeds of an adaptive
    plan and the values of its critical axis are chosen on the way."""
    told = {name: plan[name] for name in ("family", "numerics", "seeds", "level") if name in plan}
    return told | ({"seeds": "chosen"} if plan.get("adaptive") else {}) | fixed(plan)


def laws(law: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The fitted laws by title ("" when there is one), from {"exponent", ...}, {title: {"law": {...}}}, or an entry of
    laws.json, which has them under "groups"."""
    law = law.get("groups", law)
    if "exponent" in law:
        return {"": law}
    parts = {title: part["law"] for title, part in law.items() if isinstance(part, Mapping) and "law" in part}
    return {"" if len(parts) == 1 else title: part for title, part in parts.items()}


def law_numbers(law: Mapping[str, Any]) -> dict[str, float]:
    """``exponent`` and its interval of each law, followed by its title (MLflow allows no "="); only finite ones."""
    found = {}
    for title, part in laws(law).items():
        suffix = " ".join(re.sub(r"[^\w\-. /]", " ", f" {title}").split())
        low, high = part.get("interval") or (None, None)
        for name, value in {"exponent": part["exponent"], "exponent low": low, "exponent high": high}.items():
            if value is not None and math.isfinite(value):
                found[f"{name} {suffix}".strip()] = float(value)
    return found
