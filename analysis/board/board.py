"""The verdict board: every claim of a family held against the recorded rows, or the reason why they cannot answer it.

What is compared with what:
  * A claim about a critical axis (m*(n)) is held against the threshold law of each group.
  * A rate (a metric falls as m^-1/2) is fitted at each value of the other axes by itself, never pooled: the claims are
    made at fixed n, and a common slope would hide corrections in m/n. Only grid points at which EVERY training fits
    enter, since near m* those that fit are a selection; a metric taken before the training needs no such care. The
    verdict is the one where x spans the widest range (then the smallest n), a choice that no metric can sway; at how
    many settings it is the same is said with it, and the verdicts at all others are listed.
  * An inequality is held training by training. Where the hypotheses ask for a width beyond those trained it is vacuous,
    by the factor shown (unstated constants and delta count as 1); what happens there regardless is counted.
  * A critical axis with its constant known (random features, m* = n) is also held grid point by grid point.
  * A probability is held against the share of successes of each grid point; an order (this start beats that one) is
    tested at each value of the other axes. Where the two values lie on the axis of the claim, the metric's law along it
    is fitted too, and an order that the law's end contradicts is inconclusive.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.board import comparison
from analysis.board.held import Board, Cells, Held, Part
from analysis.claims.theory import Array, Claim, claims
from analysis.claims.verdict import against_bound, against_exponent, against_probability
from analysis.powerlaws.fitting import fit_power_law
from analysis.powerlaws.law import PowerLaw
from analysis.study import Study, answers
from analysis.titles import titled

NAN = float("nan")


def board(found: Study) -> Board:
    """Hold every claim of the study's family against its rows."""
    held: list[Held] = []
    unanswered = []
    for claim in claims(found.plan):
        frame = spoken_of(claim, found.frame)
        why = unanswerable(claim, found.plan, frame)
        if why:
            unanswered.append((claim, why))
            continue
        if claim.direction == "probability":
            held.append(comparison.probability(claim, frame))
            continue
        if claim.direction == "order":
            compared = comparison.order(claim, frame, varying(found.plan))
            along = claim.metric is not None and claim.order is not None and claim.order[0] == claim.over
            held.append(with_slopes(compared, found.plan, frame) if along else compared)
            continue
        held += thresholds(claim, found)
        if claim.metric is None and isinstance(claim.bound, str) and claim.constant is not None:
            held.append(step(claim, frame))
        if claim.metric and claim.bound is not None:
            held.append(inequality(claim, frame))
        elif claim.metric:
            held.append(rate(claim, found.plan, frame))
    return Board(tuple(held), tuple(unanswered))


def spoken_of(claim: Claim, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows under which the claim speaks; the axis of its ``where`` may be missing, then none do."""
    for name, value in claim.where.items():
        frame = frame[frame[name] == value] if name in frame else frame[:0]
    return frame


def varying(plan: Mapping[str, Any]) -> list[str]:
    """The axes with more than one value."""
    return [name for name, values in plan["axes"].items() if len(values) > 1]


def unanswerable(claim: Claim, plan: Mapping[str, Any], frame: pd.DataFrame) -> str:
    """Why these rows say nothing about the claim; "" if they do."""
    if frame.empty:
        return f"no rows with {titled(claim.where)}" if claim.where else "no rows"
    if claim.critical and not answers(claim, plan):
        return f"it needs a sweep of {claim.critical} over {claim.over}"
    along = [f"curve_{claim.metric}", "curve_step"] if claim.per_step else []
    missing = [name for name in (*claim.columns, *along) if name not in frame]
    if missing:
        return f"the rows have no column {', '.join(missing)}"
    if claim.order:
        absent = [value for value in claim.order[1:] if value not in plan["axes"].get(claim.order[0], ())]
        return f"no rows with {titled({claim.order[0]: absent[0]})}" if absent else ""
    if claim.metric and claim.bound is None and len(plan["axes"].get(claim.over, ())) < 2:
        return f"{claim.over} does not vary"
    return ""


def thresholds(claim: Claim, found: Study) -> Iterator[Held]:
    """The threshold law of each group against the claim's exponent."""
    for group in found.groups:
        for verdict in group.verdicts:
            if verdict.claim == claim:
                predicted = f"{claim.critical}* ~ {claim.over}^{claim.exponent:g}"
                yield Held(claim, verdict, group.title, predicted, group.law)


def step(claim: Claim, frame: pd.DataFrame) -> Held:
    """A critical axis whose constant is stated: all trainings on its side of the bound that meet the hypotheses fit, or
    none does."""
    necessary, scale = claim.direction == "necessary", (claim.constant or 1.0) * frame[claim.bound]
    side = frame[(frame[claim.critical] < scale) == necessary].dropna(subset=["success"])
    short = shortfall(claim, side)
    if short is not None:
        beyond, side = side[short > 1], side[short <= 1]
    points = side.groupby("point_id")["success"].agg(["sum", "count"])
    share = np.full(len(points), 0.0 if necessary else 1.0)
    verdict = against_probability(claim, points["sum"], points["count"], share, list(points.index))
    sign = "<" if necessary else "≥"
    factor = "" if claim.constant == 1 else f"{claim.constant:g} "
    predicted = f"{'none' if necessary else 'all'} fit at {claim.critical} {sign} {factor}{claim.bound}"
    remark = ""
    if short is not None and len(beyond):
        remark = f"{len(beyond):,} of {len(beyond) + len(side):,} trainings there do not meet its hypotheses: "
        remark += f"{int(beyond['success'].sum()):,} of them fit"
    return Held(claim, verdict, "each grid point", predicted, remark=remark)


def rate(claim: Claim, plan: Mapping[str, Any], frame: pd.DataFrame) -> Held:
    """A metric over x, fitted at each value of the other axes; the verdict is that of the widest range of x."""
    axes = [name for name in varying(plan) if name != claim.over]
    parts = [part(claim, title, rows) for title, rows in fittable(claim, axes, frame)]
    first = max(parts, key=widest)
    others = [one.verdict.kind if math.isfinite(one.law.exponent) else "no law" for one in parts]
    kinds = ", ".join(f"{others.count(kind)} {kind}" for kind in sorted(set(others), key=others.index))
    remark = "before the training" if claim.at_start else "grid points where every training fits"
    remark += f"; at {len(parts)} values of {', '.join(axes)}: {kinds}" if len(parts) > 1 else ""
    predicted = f"{claim.metric} ~ {claim.over}^{claim.exponent:g}"
    return Held(claim, first.verdict, first.title, predicted, first.law, tuple(parts), remark=remark)


def with_slopes(held: Held, plan: Mapping[str, Any], frame: pd.DataFrame) -> Held:
    """What is compared at two values of the axis has a law along it as well, at each value of the other axes, where
    that has no floor and the exponent is known to within 1/2."""
    parts = []
    for title, rows in fittable(held.claim, [name for name in varying(plan) if name != held.claim.over], frame):
        x, y = (rows[name].to_numpy(dtype=float) for name in (held.claim.over, held.claim.metric))
        parts.append(Part(title, x, y, rows.index.to_numpy(dtype=float), fit_power_law(x, y), held.verdict))
    first = max(parts, key=widest)
    low, high = first.law.envelope
    if first.law.offset or not high - low < 1:
        return held
    remark = held.verdict.law if len(parts) > 1 else ""
    found = replace(held, where=first.title, law=first.law, parts=tuple(parts), remark=remark)
    return replace(found, verdict=comparison.turned(held.claim, first.law, held.verdict))


def fittable(claim: Claim, axes: list[str], frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows at each value of ``axes`` with their title: those of grid points where every training fits, unless the
    metric is taken before the training."""
    keep = frame[str(claim.metric)].notna() & (frame[claim.over] > 0)
    if not claim.at_start:
        keep &= frame.groupby("point_id")["success"].transform("min") == 1
    for key, rows in frame.groupby(axes or (lambda _: 0)):
        yield titled(dict(zip(axes, key, strict=True))) if axes else "", rows[keep[rows.index]]


def widest(one: Part) -> tuple[bool, float]:
    """For the part that a verdict is taken from: that with a law over the widest range, then the first."""
    return one.law.status == "ok", span(one.law)


def part(claim: Claim, title: str, rows: pd.DataFrame) -> Part:
    """One power law and its verdict; the shortfall is that of the best training in it."""
    x, y = (rows[name].to_numpy(dtype=float) for name in (claim.over, claim.metric))
    law = fit_power_law(x, y)
    short = shortfall(claim, rows)
    least = float(short.min()) if short is not None and len(short) else 1.0
    return Part(title, x, y, rows.index.to_numpy(dtype=float), law, against_exponent(law, claim, shortfall=least))


def span(law: PowerLaw) -> float:
    """Octaves of x, -1 without a range."""
    low, high = law.over_range
    return round(math.log2(high / low), 6) if high > 0 and low > 0 else -1.0


def shortfall(claim: Claim, rows: pd.DataFrame) -> Array | None:
    """By what factor each row's `over` misses what the hypotheses ask for, infinite where a hypothesis without a
    factor is not met; None where they ask for nothing."""
    if claim.met is not None:
        return np.where(rows[claim.met].to_numpy(dtype=float) == 1, 1.0, np.inf)
    if claim.needed is None:
        return None
    return np.asarray(rows[claim.needed].to_numpy(dtype=float) / rows[claim.over].to_numpy(dtype=float))


def inequality(claim: Claim, frame: pd.DataFrame) -> Held:
    """metric <= constant x bound, training by training."""
    if claim.per_step:
        value, limit = worst(claim, frame), np.ones(len(frame))
        predicted = f"{claim.metric}(k) ≤ {claim.bound}^k {claim.metric}(0)"
    else:
        value = frame[str(claim.metric)].to_numpy(dtype=float)
        limit = (1.0 if claim.constant is None else claim.constant) * claim.bounds(frame)
        factor = "" if claim.constant in (None, 1) else f"{claim.constant:g} "
        predicted = f"{claim.metric} ≤ {factor}{claim.bound_name}"
    short = shortfall(claim, frame)
    verdict = against_bound(claim, value, limit, frame["cell_id"].tolist(), shortfall=short)
    ratio = value / limit
    known = np.isfinite(ratio) if short is None else np.isfinite(ratio) & ~np.isnan(short)
    inside = np.ones(len(frame)) if short is None else (short <= 1).astype(float)
    beyond = known & (inside == 0)
    remark = ""
    if beyond.any():
        holds = int((ratio[beyond] <= 1 + 1e-6).sum())
        remark = f"outside its hypotheses the inequality holds all the same at {holds:,} of {int(beyond.sum()):,} "
        remark += f"trainings (measured / bound: median {np.median(ratio[beyond]):.2g}, most {ratio[beyond].max():.2g})"
    over, rows = frame[claim.over].to_numpy(dtype=float), frame.index.to_numpy()
    cells = Cells(over[known], ratio[known], inside[known], rows[known])
    return Held(claim, verdict, "each training", predicted, cells=cells, remark=remark)


def worst(claim: Claim, frame: pd.DataFrame) -> Array:
    """Per training: the largest metric(k) / (bound^k metric(0)) over the steps k >= 1 of its curve; NaN without one."""
    found, factor = np.full(len(frame), NAN), frame[str(claim.bound)].to_numpy(dtype=float)
    steps, curves = frame["curve_step"].to_numpy(), frame[f"curve_{claim.metric}"].to_numpy()
    sizes, others = (np.array([0 if x is None else len(x) for x in lists], dtype=int) for lists in (curves, steps))
    rows = np.flatnonzero((sizes >= 2) & (sizes == others) & (factor > 0))
    if not rows.size:
        return found
    k, y = (np.concatenate(lists[rows]).astype(float) for lists in (steps, curves))
    ends = np.cumsum(sizes[rows])
    starts = ends - sizes[rows]
    first, log_factor = (np.repeat(part, sizes[rows]) for part in (starts, np.log(factor[rows])))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(np.log(y) - np.log(y[first]) - (k - k[first]) * log_factor)
    ratio[starts] = -np.inf  # k = 0
    found[rows] = np.maximum.reduceat(ratio, starts)
    return found
