"""A fitted law as ``widthlaw fit`` prints it: the law, its envelope, its status, and the points it rests on."""

import numpy as np

from analysis.powerlaws.law import PowerLaw
from analysis.thresholds.law import Interval, Threshold, ThresholdLaw
from analysis.thresholds.plane import PlaneLaw

OPEN = ("curved", "crossover", "broken")  # statuses whose exponent is not to be read without its envelope
UNDECIDED = ("not told apart", "form undecided")


def power_law_in_words(law: PowerLaw, y: str, x: str) -> str:
    """The law y(x), its status, and both parts of a broken one."""
    if not np.isfinite(law.exponent):
        return f"no exponent of {y}({x}) ({law.n_points} points)\n" + status(law)
    floor = f" + {law.offset:.3g}" if law.offset else ""
    (low, high), (start, end) = law.interval, law.over_range
    found = f"{y} = {law.prefactor:.3g} {x}^{law.exponent:.3f}{floor}"
    found += f"  [{low:.3f}, {high:.3f}], {x} in [{start:.4g}, {end:.4g}]"
    return led(found, law, f"{law.n_points} points") + "\n" + status(law)


def threshold_in_words(law: ThresholdLaw | PlaneLaw) -> str:
    """The law m*(n) or m*(n, d), its status, the local exponents, and the thresholds as a table."""
    first, second = law.summary().split("\n", 1)
    count = f" ({law.trainings:,} trainings)"
    single = law.points[0] if len(law.points) == 1 else None
    if single is not None and single.censored is None and isinstance(law, ThresholdLaw):
        first = f"{law.critical_name}* = {single.critical:.4g}  {bracket(single.interval, 4)}"
        first += f" at {law.over_name} = {single.over:g}{'' if law.level == 0.5 else f', success {law.level:g}'}{count}"
    elif np.isfinite(exponent(law)):
        first = led(first.removesuffix(count), law, count.strip(" ()"))
    parts = [first, second]
    local = law.local if isinstance(law, ThresholdLaw) else ()
    if local:
        told = [f"{known(part.exponent, '.2f')} {bracket(part.interval, 2)}" for part in local]
        assert isinstance(law, ThresholdLaw)
        parts.append(f"local exponents from each {law.over_name} to the next: " + ", ".join(told))
    return "\n".join([*parts, *table(law)])


def led(found: str, law: ThresholdLaw | PlaneLaw | PowerLaw, count: str) -> str:
    """The law with its envelope, and that first where the exponent alone would mislead."""
    envelope = bracket(law.envelope, 3)
    told = any(words in note for note in law.notes for words in UNDECIDED)
    if law.status.startswith(OPEN) or told:
        return f"exponent in {envelope} (envelope); {found} ({count})"
    return f"{found}, envelope {envelope} ({count})"


def exponent(law: ThresholdLaw | PlaneLaw) -> float:
    return law.exponents[0] if isinstance(law, PlaneLaw) else law.exponent


def known(value: float, form: str) -> str:
    """A number, or - where the data leave it open."""
    return "-" if np.isnan(value) else f"{value:{form}}"


def bracket(interval: Interval, digits: int) -> str:
    """[low, high]; whole numbers of four digits where ``digits`` is 4, else so many decimals."""
    form = ".4g" if digits == 4 else f".{digits}f"
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"


def status(law: PowerLaw) -> str:
    return "status: " + "; ".join([law.status, *law.notes])


def table(law: ThresholdLaw | PlaneLaw) -> list[str]:
    """Lines of the thresholds: n (and d), m*, its interval, trainings; none without points."""
    if not law.points:
        return []
    m, *axes = law.names if isinstance(law, PlaneLaw) else (law.critical_name, law.over_name)
    rows = [[*axes, f"{m}*", "95%", "trainings"], *(row(point, len(axes)) for point in law.points)]
    ends = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(end) for cell, end in zip(line, ends, strict=True)) for line in rows]


def row(point: Threshold, axes: int) -> list[str]:
    where = [point.over, point.second][:axes]
    told = (f"{at:.4g}" for at in where if at is not None)
    return [*told, known(point.critical, ".4g"), bracket(point.interval, 4), f"{point.trainings:,}"]
