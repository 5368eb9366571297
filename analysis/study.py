"""One plan's rows -> its groups, each with its law. What is fast enough to know at the end of every sweep."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from analysis import notebook_tables
from analysis.claims.theory import Claim, claims
from analysis.claims.verdict import Verdict, against_exponent
from analysis.series import settings
from analysis.thresholds.fitting import Tally, ThresholdLaw, fit_threshold, tally
from analysis.titles import fixed, off_default, short, sweep_title, titled
from infra.store import records
from infra.store.schema import OUTCOMES

SHOWN = ("d", "depth", "init_scale", "noise", "step_size", "tolerance", "budget")  # settings a figure names
USUAL = ("init_scale 1", "noise 0", "step_size 1")  # and those it does not


@dataclass(frozen=True)
class Panel:
    """One phase diagram: outcomes, their law, and the claim whose slope is drawn beside it."""

    title: str
    tally: Tally
    law: ThresholdLaw
    claim: Claim | None = None


@dataclass(frozen=True)
class Group:
    """The trainings of a plan that share every axis but the critical, the over axis and the seed; and their law."""

    title: str
    law: ThresholdLaw
    panel: Panel
    verdicts: tuple[Verdict, ...]
    bound_exponent: float  # how the claim's own bound grows on these data, NaN when the rows carry none
    counts: dict[str, int]
    sha256: str


@dataclass(frozen=True)
class Study:
    """A plan with its rows, their hash, the groups (none without a critical axis) and the count of every outcome, also
    of what was never recorded."""

    plan: Mapping[str, Any]
    rows: pa.Table
    sha256: str
    groups: tuple[Group, ...]
    counts: dict[str, int]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame, empty without rows."""
        return self.rows.to_pandas() if len(self.rows) else pd.DataFrame()

    @property
    def stem(self) -> str:
        """The start of every file name of this plan."""
        return f"{self.plan['sweep']}-{self.plan['plan_id'][:6]}"

    @property
    def title(self) -> str:
        """The sweep, and what is not its own in this plan: "width_vs_n, d = 32"."""
        return sweep_title(self.plan)

    @property
    def stamp(self) -> str:
        """What every figure carries: where its numbers come from."""
        free = (self.plan["over"], self.plan["critical"])
        held = fixed(self.plan)
        names = dict.fromkeys([*SHOWN, *off_default(self.plan)])
        told = [f"{name} {short(held[name])}" for name in names if name in held and name not in free]
        told = [text for text in told if text not in USUAL]
        tuned = [f"{self.plan['tuned']['axis']} tuned"] if self.plan.get("tuned") else []
        settings = ", ".join([self.plan["family"], *told, *tuned])
        return f"{settings}; {len(self.rows):,} rows, sha256 {self.sha256[:12]}"

    @property
    def names(self) -> tuple[str, str]:
        """Labels of the over and the critical axis ("" where there is none)."""
        over, critical = (self.label(name) if name else "" for name in (self.plan["over"], self.plan["critical"]))
        return over, critical

    def _repr_html_(self) -> str:
        """For notebooks: the question, what a training must do, and each group's law with its verdicts."""
        told = [f"a training fits: {self.plan['criterion'].replace('`', '')}", self.stamp]
        rows = [
            (group.title, law, f"[{group.law.envelope[0]:.2f}, {group.law.envelope[1]:.2f}]", group.law.status,
             "; ".join(f"{one.claim.name}: {one.label}" for one in group.verdicts))
            for group in self.groups for law in [group.law.summary().split("\n")[0]]
        ]  # fmt: skip
        laws = notebook_tables.table(("", "law", "95% envelope", "status", "verdicts"), rows)
        outcomes = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count)
        return notebook_tables.block(self.plan["claim"], [*told, f"trainings: {outcomes}"], laws)

    def label(self, axis: str) -> str:
        """An axis as figures name it: its meaning up to the first semicolon, and its name."""
        return f"{self.plan['meanings'].get(axis, axis).split(';')[0]}, {axis}"


def study(out: str, plan: Mapping[str, Any]) -> Study:
    """Read and fit one plan of a results folder."""
    return studied(plan, records.plan_rows(out, plan))


def studied(plan: Mapping[str, Any], rows: pa.Table, sha256: str = "") -> Study:
    """Fit the rows of one plan; ``sha256`` is their digest where it is known."""
    groups = tuple(fitted(plan, setting, part) for setting, part in split(plan, rows)) if plan["critical"] else ()
    counts = tallied(rows) | {"asked for": records.asked(plan, len(rows))}
    counts["not recorded"] = max(0, counts["asked for"] - len(rows))
    return Study(
        plan, rows, sha256 or records.digest(rows), groups, counts | {"recorded twice": records.duplicates(rows)}
    )


def split(plan: Mapping[str, Any], rows: pa.Table) -> list[tuple[dict[str, Any], pa.Table]]:
    """The rows by the axes that vary beside critical and over, with their values, such as {"d": 16}."""
    parts = []
    for setting in settings(plan, plan["critical"]):
        part = rows
        for name, value in setting.items():
            part = part.filter(pc.equal(part[name], value)) if len(part) else part
        parts.append((setting, part))
    return parts


def fitted(plan: Mapping[str, Any], setting: Mapping[str, Any], rows: pa.Table) -> Group:
    """The law of one group of rows, held against the claims about it, and what to draw of it."""
    critical, over = plan["critical"], plan["over"]
    columns = [rows[name].to_numpy() if len(rows) else np.zeros(0) for name in (critical, over, "success")]
    counts = tally(*columns, critical_name=critical, over_name=over)  # equal seeds at other shapes are independent
    law = law_of(counts, plan)
    title, about = titled(setting), [one for one in claims(plan) if answers(one, plan) and speaks(one, setting)]
    slope = min(about, key=lambda claim: not claim.gates, default=None)  # the theorem drawn beside the law
    verdicts = tuple(against_exponent(law, claim) for claim in about)
    panel, growth = Panel(title, counts, law, slope), bound_growth(rows, slope, law)
    return Group(title, law, panel, verdicts, growth, tallied(rows), records.digest(rows))


def law_of(counts: Tally, plan: Mapping[str, Any]) -> ThresholdLaw:
    """The law of the width at which the plan's share of the trainings succeeds; where success ends along the axis, of
    the largest at which that share still does."""
    level = plan["level"]
    if not plan.get("falling"):
        return fit_threshold(counts, level)
    return replace(fit_threshold(counts.turned(), 1 - level), level=level)


def bound_growth(rows: pa.Table, claim: Claim | None, law: ThresholdLaw) -> float:
    """Slope of log bound over log n, medians per n, on the law's range: a claim's exponent holds at fixed lambda0."""
    if claim is None or claim.bound not in rows.column_names:
        return math.nan
    frame = rows.select([claim.over, claim.bound]).to_pandas()
    low, high = law.over_range
    frame = frame[(frame[claim.over] >= low * (1 - 1e-9)) & (frame[claim.over] <= high * (1 + 1e-9))]
    medians = frame.groupby(claim.over)[claim.bound].median()
    medians = medians[medians > 0]
    return float(np.polyfit(np.log(medians.index), np.log(medians), 1)[0]) if len(medians) > 1 else math.nan


def answers(claim: Claim, plan: Mapping[str, Any]) -> bool:
    """Does the law of this plan's critical axis say something about the claim's exponent?"""
    return claim.exponent is not None and claim.critical == plan["critical"] and claim.over == plan["over"]


def speaks(claim: Claim, setting: Mapping[str, Any]) -> bool:
    """Is the claim about trainings at these values of the axes?"""
    return all(setting.get(name, value) == value for name, value in claim.where.items())


def false_stops(plan: Mapping[str, Any], rows: pa.Table) -> str:
    """How often a training that was found out of reach fits, by those that went on to their end, with a 95% interval
    (Clopper, Pearson); "" where none was found so, or no threshold is sought, and so none is stopped."""
    if not plan["critical"] or not len(rows) or "stalled_at" not in rows.column_names:
        return ""
    stopped = tallied(rows)["stalled"]
    checked = rows.filter(pc.and_(pc.is_valid(rows["stalled_at"]), pc.not_equal(rows["outcome"], "stalled")))
    wrong, tried = tallied(checked)["fit"], len(checked)
    told = [f"{stopped:,} trainings stopped early as out of reach (--to-the-end goes on with them)"] if stopped else []
    if tried:
        low, high = stats.binomtest(wrong, tried).proportion_ci(0.95, method="exact")
        told += [f"of {tried:,} found out of reach and trained to the end {wrong:,} fit"]
        told[-1] += f": false stops {wrong / tried:.2g} [{low:.2g}, {high:.2g}]"
    elif stopped:
        told += ["none went on as a check"]
    return "; ".join(told)


def tallied(rows: pa.Table) -> dict[str, int]:
    """How many rows ended how; every outcome is named, also those that did not occur."""
    found = Counter(rows["outcome"].to_pylist() if len(rows) else [])
    return {name: found[name] for name in [*OUTCOMES, *sorted(set(found) - set(OUTCOMES), key=str)]}
