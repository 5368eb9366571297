"""A measured law held against a claim: a kind, and the sentence that one can paste into a paper.

    consistent        the law's exponent lies within the margin of the claim's, with its whole envelope
    loose             the law needs less than the claim allows: by n^x, or a bound by a factor
    exceeds           the law needs more than the claim's exponent, on the range measured. Not "violated": where the
                      constant is unstated, no finite range refutes a claim
    holds             a cell-by-cell bound holds, loose by a factor
    violated          a cell-by-cell bound, or a stated probability, fails at the cells named
    vacuous           the claim's hypotheses are not met, so it says nothing here
    inconclusive      no law, a law whose status is no answer, or an envelope that reaches across the margin

The envelope decides, never the plain interval: a finite-size correction moves an exponent by more than its standard
error. Claims tagged `recalled` get the same sentence with their tag, and `gates` is False.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis import notebook_tables
from analysis.claims.theory import Claim

Kind = Literal["consistent", "loose", "exceeds", "holds", "violated", "vacuous", "inconclusive"]
Interval = tuple[float, float]
NAN = float("nan")
ROUNDING = 1e-9  # a bound below it is no bound, but where float64 says nothing
MARGIN = 0.25  # exponents nearer than this are called equal
ANSWERS = (
    "ok", "separated", "censored", "grid too coarse", "curved: read the envelope",
    "crossover: no single exponent", "broken",  # the law's exponent and range are then those of the largest n (x)
)  # fmt: skip


class Law(Protocol):
    """What a verdict reads of a fitted law; `PowerLaw` and `ThresholdLaw` both have it."""

    @property
    def exponent(self) -> float: ...
    @property
    def envelope(self) -> Interval: ...
    @property
    def status(self) -> str: ...
    @property
    def over_range(self) -> Interval: ...


@dataclass(frozen=True)
class Verdict:
    """kind: see the module. label: the kind in words, with its numbers. law: the measurement in words.

    over_range: of the claim's axis (NaN for cell-by-cell checks). factor: the exponent gap x of "n^x" (loose, exceeds),
    the median bound/measured (holds), the largest measured/bound (violated), the least shortfall (vacuous); else NaN.
    cells: ids where a bound fails. gates: may anything turn on it. sentence: with range, interval, source and tag.
    """

    kind: Kind
    label: str
    claim: Claim
    law: str
    over_range: Interval
    factor: float
    cells: tuple[str, ...]
    gates: bool
    sentence: str

    def _repr_html_(self) -> str:
        """For notebooks: the kind and the sentence."""
        return notebook_tables.block(self.label, [self.sentence])


def against_exponent(law: Law, claim: Claim, *, shortfall: float = 1.0, margin: float = MARGIN) -> Verdict:
    """Hold a law's exponent against the claim's.

    shortfall: by what factor the claim's hypotheses are missed at best on the range; above 1 they are not met.
    ValueError when the claim states no exponent.
    """
    q = claim.exponent
    if q is None:
        raise ValueError(f"claim '{claim.name}' states no exponent")
    x, text, where = claim.over, _law_in_words(law, claim), _where(law, claim)
    kind = _compare(law, q, margin, claim.lower_bound)
    gap = abs(law.exponent - q)
    if shortfall > 1:
        label = f"vacuous here: hypotheses {missed(shortfall)}"
        tail = f"its hypotheses are {missed(shortfall)} at best, over the measured points"
        return verdict("vacuous", label, claim, text, law.over_range, shortfall, (), tail)
    if kind == "loose":
        tail = f"the claimed exponent {q:g} is loose by {_gaps(law, q, x)} on this range"
        return verdict(kind, f"loose by {x}^{gap:.2f}", claim, text, law.over_range, gap, (), tail)
    if kind == "exceeds":
        side = "falls below" if claim.lower_bound else "exceeds"
        tail = f"the law {side} the claimed exponent {q:g} by {_gaps(law, q, x)} on this range"
        tail += "" if claim.constant else "; with its constant unstated, no finite range refutes the claim"
        return verdict(kind, f"exceeds on {where}", claim, text, law.over_range, gap, (), tail)
    if kind == "consistent":
        floor = " above a floor that the claim does not have" if q < 0 and _floor(law) > 0 else ""
        tail = f"consistent with the claimed exponent {q:g} to within {margin:g} on this range{floor}"
        return verdict(kind, f"consistent{floor}", claim, text, law.over_range, NAN, (), tail)
    tail = _why_inconclusive(law, q, margin)
    return verdict(kind, "inconclusive", claim, text, law.over_range, NAN, (), tail)


def against_bound(
    claim: Claim,
    measured: ArrayLike,
    bound: ArrayLike,
    cells: Sequence[str],
    *,
    shortfall: ArrayLike | None = None,
    allowed: float = 0.0,
    rtol: float = 1e-6,
) -> Verdict:
    """Hold measured <= bound, cell by cell: arrays of shape (N,), >= 0, in one unit, and N cell ids.

    shortfall (N,): factor by which each cell misses the claim's hypotheses, <= 1 where it meets them; None when all
    do. Cells that miss them are counted, not judged. allowed: the share of cells that the claim itself lets fail (its
    delta); "violated" then needs the exact one-sided 95% limit of the share above it. rtol: rounding of the rows.
    Cells with a NaN are dropped and counted. ValueError when shapes differ.
    """
    value, limit = np.asarray(measured, dtype=np.float64), np.asarray(bound, dtype=np.float64)
    miss = np.ones(value.shape) if shortfall is None else np.asarray(shortfall, dtype=np.float64)
    if value.ndim != 1 or not value.shape == limit.shape == miss.shape == (len(cells),):
        raise ValueError(f"shapes differ: {value.shape}, {limit.shape}, {miss.shape}, {len(cells)} cells")
    known = ~(np.isnan(value) | np.isnan(limit) | np.isnan(miss))
    judged = known & (miss <= 1)
    fails = judged & (value > limit * (1 + rtol))
    n, k = int(judged.sum()), int(fails.sum())
    law = f"{n} cells judged, {k} above the bound"
    law += _count(int(np.sum(~known)), "dropped as NaN") + _count(
        int(np.sum(known & ~judged)), "outside its hypotheses"
    )
    ids = tuple(str(cells[int(i)]) for i in np.flatnonzero(fails))
    nowhere = (NAN, NAN)
    if not known.any():
        return verdict("inconclusive", "inconclusive", claim, law, nowhere, NAN, (), "no cell to judge")
    if n == 0:
        factor = float(miss[known].min())
        label = f"vacuous here: hypotheses {missed(factor)}"
        return verdict(
            "vacuous",
            label,
            claim,
            law,
            nowhere,
            factor,
            (),
            f"in every cell its hypotheses are {missed(factor)} at best",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(value[judged] > 0, limit[judged] / value[judged], np.inf)
        excess = float(1 / ratio.min())
    if k and stats.binomtest(k, n).proportion_ci(0.90).low >= allowed:
        shown = ", ".join(ids[:5]) + (f" and {k - 5} more" if k > 5 else "")
        label = f"violated at {k} of {n} cells"
        tail = f"the bound is violated at {shown}, by a factor up to {excess:.3g}"
        return verdict("violated", label, claim, law, nowhere, excess, ids, tail)
    factor = float(np.median(ratio))
    slack = f"loose by a factor {factor:.3g}" if factor > 1.005 else "and is attained"
    slack = "to within rounding" if limit[judged].max() < ROUNDING else slack  # such a bound stands for 0
    label = f"bound holds, {slack}"
    share = f" with the {allowed:.2g} of cells that it lets fail" if k else ""
    tail = f"the bound holds{share}, {slack} (median; {ratio.min():.3g} at the tightest cell)"
    return verdict("holds", label, claim, law, nowhere, factor, ids, tail)


def against_probability(
    claim: Claim,
    successes: ArrayLike,
    trials: ArrayLike,
    predicted: ArrayLike,
    cells: Sequence[str],
    *,
    at_least: bool = False,
) -> Verdict:
    """Hold counts at N grid points, shape (N,) each, against stated probabilities (exact, or lower bounds).

    Exact binomial 95% intervals, Bonferroni over the grid points, so that a true claim is called violated in at most
    5% of sweeps. ValueError when shapes differ or 0 <= successes <= trials fails.
    """
    k, n, p = np.asarray(successes), np.asarray(trials), np.asarray(predicted, dtype=np.float64)
    if k.ndim != 1 or not k.shape == n.shape == p.shape == (len(cells),):
        raise ValueError(f"shapes differ: {k.shape}, {n.shape}, {p.shape}, {len(cells)} cells")
    bad = np.flatnonzero((k < 0) | (k > n))
    if bad.size:
        raise ValueError(f"row {bad[0]}: {k[bad[0]]} successes in {n[bad[0]]} trials")
    alpha = 0.05 / max(1, k.size) / (1 if at_least else 2)
    low, high = stats.beta.ppf(alpha, k, n - k + 1), stats.beta.ppf(1 - alpha, k + 1, n - k)
    low, high = np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)
    off = (n > 0) & ((p > high) | ((p < low) & (not at_least)))
    ids = tuple(str(cells[int(i)]) for i in np.flatnonzero(off))
    law = f"{int(n.sum()):,} trainings at {int(np.sum(n > 0)):,} grid points, {len(ids)} off the stated probability"
    kind: Kind = "violated" if ids else "consistent" if n.sum() else "inconclusive"
    label = f"violated at {len(ids)} grid points" if ids else str(kind)
    tail = "exact binomial 95% intervals, Bonferroni over grid points"
    tail += f"; violated at {', '.join(ids[:5])}" + (f" and {len(ids) - 5} more" if len(ids) > 5 else "") if ids else ""
    return verdict(kind, label, claim, law, (NAN, NAN), NAN, ids, tail)


def missed(factor: float) -> str:
    """By what factor hypotheses are missed; infinite where they are of the yes-or-no kind."""
    return f"missed by a factor {factor:.3g}" if np.isfinite(factor) else "not met"


def _compare(law: Law, q: float, margin: float, lower_bound: bool) -> Kind:
    """The envelope against q. A lower bound is loose when the law lies above it."""
    lo, hi = law.envelope
    if not _answers(law):
        return "inconclusive"
    if q - margin <= lo and hi <= q + margin:
        return "consistent"
    below, above = hi < q - margin, lo > q + margin
    if not (below or above):
        return "inconclusive"
    return "loose" if below != lower_bound else "exceeds"


def _answers(law: Law) -> bool:
    return law.status in ANSWERS and bool(np.isfinite([law.exponent, *law.envelope]).all())


def _floor(law: Law) -> float:
    """The offset c of a metric's law; 0 for a law that has none."""
    return float(getattr(law, "offset", 0.0))


def _where(law: Law, claim: Claim) -> str:
    return f"{claim.over} in [{law.over_range[0]:.4g}, {law.over_range[1]:.4g}]"


def _law_in_words(law: Law, claim: Claim) -> str:
    what = f"{claim.critical}*" if claim.critical else claim.metric
    if not np.isfinite(law.exponent):
        return f"no exponent of {what}" + (f" on {_where(law, claim)}" if np.isfinite(law.over_range).all() else "")
    floor = f" + {_floor(law):.3g}" if _floor(law) else ""
    envelope = f"95% envelope of the exponent [{law.envelope[0]:.2f}, {law.envelope[1]:.2f}]"
    return f"{what} ~ {claim.over}^{law.exponent:.2f}{floor} ({envelope}) on {_where(law, claim)}"


def _gaps(law: Law, q: float, x: str) -> str:
    near, far = sorted(abs(end - q) for end in law.envelope)
    return f"{x}^{near:.2f} to {x}^{far:.2f}"


def _why_inconclusive(law: Law, q: float, margin: float) -> str:
    if law.status in ANSWERS and np.isfinite(law.exponent) and not _answers(law):
        return f"inconclusive against the claimed exponent {q:g}: the data do not bound the exponent on both sides"
    if not _answers(law):
        return f"inconclusive against the claimed exponent {q:g}: the status of the fit is '{law.status}'"
    return f"inconclusive: the envelope reaches across the margin {q:g} ± {margin:g} of the claimed exponent"


def _count(n: int, what: str) -> str:
    return f", {n} {what}" if n else ""


def verdict(
    kind: Kind, label: str, claim: Claim, law: str, over: Interval, factor: float, cells: tuple[str, ...], tail: str
) -> Verdict:
    """A verdict with its sentence, which ends in ``tail``."""
    memory = "" if claim.gates else "; quoted from memory: decides nothing"
    sentence = f"{claim.statement} ({claim.source}) [{claim.tag}{memory}]. Measured: {law}; {tail}."
    return Verdict(kind, label, claim, law, over, factor, cells, claim.gates, sentence)
