"""Claims about shares of success, and claims that one setting does better than another, held against the rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.board.held import Held
from analysis.claims.theory import Claim
from analysis.claims.verdict import NAN, Kind, Verdict, against_probability, missed, verdict
from analysis.powerlaws.law import PowerLaw
from analysis.titles import titled

LEVEL = 0.05  # shared by all grid points of a comparison (Bonferroni), so that no sweep is too long for it


def probability(claim: Claim, frame: pd.DataFrame) -> Held:
    """The share of successes at each grid point, or of ``metric``, a column of 0 and 1, against what is stated."""
    name = claim.metric or "success"
    rows = frame.assign(stated=claim.bounds(frame)).dropna(subset=[name, "stated"])
    points = rows.groupby("point_id").agg(k=(name, "sum"), n=(name, "size"), p=("stated", "mean"))
    found = against_probability(
        claim, points["k"], points["n"], points["p"], list(points.index), at_least=claim.at_least
    )
    gap = np.abs(points["k"] / points["n"] - points["p"])
    remark = f"largest gap between share and probability {gap.max():.2g}" if len(gap) else ""
    sign, what = "≥" if claim.at_least else "=", "successes" if claim.metric is None else f"trainings with {name}"
    return Held(claim, found, "each grid point", f"share of {what} {sign} {claim.bound_name}", remark=remark)


def order(claim: Claim, frame: pd.DataFrame, axes: list[str]) -> Held:
    """``metric`` at ``lower`` against ``metric`` at ``higher``, at each value of the other ``axes``.

    Two-sided at level .05 over all grid points: Fisher's exact test for successes, Mann and Whitney's for a metric.
    Equal seeds are not paired, which only costs power.
    """
    assert claim.order is not None
    axis, less, more = claim.order
    metric = claim.metric or "success"
    others = [name for name in axes if name != axis]
    titles: list[str] = []
    tests: list[tuple[float, float]] = []
    groups = frame.dropna(subset=[metric]).groupby(others) if others else [((), frame.dropna(subset=[metric]))]
    for key, rows in groups:
        lower, higher = (rows[rows[axis] == value][metric].to_numpy(dtype=float) for value in (less, more))
        if lower.size and higher.size:
            titles.append(titled(dict(zip(others, key, strict=True))) or "all")
            tests.append(p_values(lower, higher, counts=metric == "success"))
    found, remark = _verdict(claim, titles, tests), ""
    if claim.needed is not None and len(frame):
        missed_by = float((frame[claim.needed] / frame[claim.over]).min())
        remark = f"its hypotheses are {missed(missed_by)} here" if missed_by > 1 else ""
    predicted = f"{metric} at {axis} = {less} below {metric} at {axis} = {more}"
    return Held(claim, found, "each grid point", predicted, remark=remark)


def turned(claim: Claim, law: PowerLaw, found: Verdict) -> Verdict:
    """The verdict of an order between two values of the axis, unless the law that ends there runs the other way."""
    assert claim.order is not None
    axis, less, more = claim.order
    rising = more > less
    low, high = law.envelope
    if found.kind != "consistent" or not (high < 0 if rising else low > 0):
        return found
    does = ("rises", "falls") if rising else ("falls", "rises")
    label = f"{does[0]} from {axis} = {min(less, more):g} to {max(less, more):g}, yet {does[1]} at the end"
    return replace(found, kind="inconclusive", label=label, sentence=f"{found.sentence} But {label}.")


def p_values(lower: Any, higher: Any, *, counts: bool) -> tuple[float, float]:
    """One-sided p-values for "lower is lower" and for the contrary."""
    if counts:
        table = np.array([[lower.sum(), (1 - lower).sum()], [higher.sum(), (1 - higher).sum()]]).astype(int)
        return float(stats.fisher_exact(table, "less")[1]), float(stats.fisher_exact(table, "greater")[1])
    if np.ptp(np.concatenate([lower, higher])) == 0:
        return 1.0, 1.0
    return (
        float(stats.mannwhitneyu(lower, higher, alternative="less").pvalue),
        float(stats.mannwhitneyu(lower, higher, alternative="greater").pvalue),
    )


def _verdict(claim: Claim, titles: list[str], tests: list[tuple[float, float]]) -> Verdict:
    count = len(tests)
    needed = LEVEL / 2 / max(1, count)
    agree = [title for title, (claimed, _) in zip(titles, tests, strict=True) if claimed <= needed]
    against = [title for title, (_, contrary) in zip(titles, tests, strict=True) if contrary <= needed]
    law = f"{count} grid points compared, {len(agree)} as claimed, {len(against)} the other way"
    tail = "exact or rank tests, 95% over all grid points together"
    kind: Kind = "violated" if against else "consistent" if agree else "inconclusive"
    of = f" at {{}} of {count} grid points" if count > 1 else ""
    label = f"consistent{of.format(len(agree))}" if agree else "inconclusive"
    if against:
        label = f"violated{of.format(len(against))}"
        tail += f"; the other way at {'; '.join(against[:5])}" + ("; ..." if len(against) > 5 else "")
    elif agree and len(agree) < count:
        tail += "; no difference shown at the others"
    return verdict(kind, label, claim, law, (NAN, NAN), NAN, tuple(against), tail)
