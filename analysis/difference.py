"""Two sweeps' laws beside each other: do they differ by more than their intervals allow?

The interval of a difference of two independent estimates follows from their own two intervals, which need not be
symmetric (Zou & Donner 2008, Statistics in Medicine 27, 1693, eq. 2, the method of variance estimates recovery):

    d - sqrt((b - b_low)^2 + (a_high - a)^2)  to  d + sqrt((b_high - b)^2 + (a - a_low)^2),   d = b - a
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from analysis import laws_file
from analysis.titles import titled
from infra.store.storage import UNREADABLE, ResultsError, locate

LARGEST = 2**28  # bytes of a laws.json

KEYS = ("sweep", "family", "critical", "over")  # plans that ask the same


@dataclass(frozen=True)
class Value:
    """An estimate with its 95% interval; an end that is not known is None."""

    value: float
    interval: tuple[float | None, float | None]


@dataclass(frozen=True)
class Difference:
    """One quantity in two results folders: an exponent (b - a) or, in logarithms, a threshold (b / a)."""

    of: str
    a: Value
    b: Value
    between: tuple[float, float]  # 95% of the difference, or of the ratio
    ratio: bool

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out no difference (0, or a ratio of 1)."""
        return not self.between[0] <= float(self.ratio) <= self.between[1]


def apart(of: str, a: Value, b: Value, *, ratio: bool = False) -> Difference:
    """The difference b - a of two independent estimates, or their ratio b / a, with its interval."""
    scale: Callable[[float], float] = math.log if ratio else float
    middle = scale(b.value) - scale(a.value)
    a_low, a_high, b_low, b_high = (
        math.inf if end is None else abs(scale(end) - scale(one.value)) for one in (a, b) for end in one.interval
    )
    low, high = middle - math.hypot(b_low, a_high), middle + math.hypot(b_high, a_low)
    return Difference(of, a, b, (math.exp(low), math.exp(high)) if ratio else (low, high), ratio)


def differences(first: str, second: str) -> Iterator[tuple[str, list[Difference], list[str]]]:
    """For each law that both results folders hold: its title, what differs, and remarks. ResultsError where a folder
    has no laws, or they have none in common."""
    mine, theirs = read(first), read(second)
    pairs = paired(mine, theirs)
    if not pairs:
        asked = "; ".join(sorted({" ".join(str(one[key]) for key in KEYS[:2]) for one in [*mine, *theirs]}))
        raise ResultsError(f"{first} and {second} hold no law of the same sweep and family ({asked})")
    for a, b in pairs:
        one, other, where = laws_of(a), laws_of(b), settings(a, b, [*mine, *theirs])
        for title in [title for title in one if title in other]:
            named = " ".join(filter(None, [a["sweep"], a["family"], ", ".join(filter(None, [where, title]))]))
            yield named, list(of_law(a, one[title], other[title])), remarks(a, b, one[title], other[title])


def paired(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The plans that ask the same. A plan that the other folder has too is held against that alone; else against those
    at the same values of what does not vary, if there are any."""
    asked = [(a, b) for a in mine for b in theirs if all(a[key] == b[key] for key in KEYS)]
    near = [2 * (a.get("plan_id", a) == b.get("plan_id", b)) or int(a.get("fixed") == b.get("fixed")) for a, b in asked]
    best = [max(n for n, pair in zip(near, asked, strict=True) if a is pair[0] or b is pair[1]) for a, b in asked]
    return [pair for pair, n, most in zip(asked, near, best, strict=True) if n == most]


def settings(a: dict[str, Any], b: dict[str, Any], plans: list[dict[str, Any]]) -> str:
    """What does not vary in a plan but differs between plans that ask the same, "d = 16" or "d = 16 | d = 32", or the
    beginning of their addresses where nothing of that kind does."""
    same = [one for one in plans if all(one[key] == a[key] for key in KEYS)]
    fixed = [one.get("fixed", {}) for one in same]
    names = [name for name in a.get("fixed", {}) if len({json.dumps(one.get(name)) for one in fixed}) > 1]
    one, other = (titled({n: v for n, v in plan.get("fixed", {}).items() if n in names}) for plan in (a, b))
    like = {plan.get("plan_id", "") for plan in same if plan.get("fixed") in (a.get("fixed"), b.get("fixed"))}
    if like - {a.get("plan_id", ""), b.get("plan_id", "")}:
        one, other = (
            ", ".join(filter(None, [told, f"plan {plan.get('plan_id', '')[:6]}"]))
            for told, plan in ((one, a), (other, b))
        )
    return one if one == other else f"{one} | {other}"


def laws_of(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The laws of a plan by title: of its thresholds, then of the metrics that its claims name."""
    found = {"" if title == "all" else title: group for title, group in plan["groups"].items()}
    for claim in plan.get("claims", []):
        for title, law in claim.get("laws", {}).items():
            where = "" if title == "all" else f", {title}"
            found[f"{claim['metric']} ({claim['claim']}){where}"] = {"law": law, "thresholds": []}
    return found


def of_law(plan: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """The exponents of two laws, then their thresholds where both have one."""
    x, y = value(one["law"], "exponent"), value(other["law"], "exponent")
    if x and y:
        yield apart("exponent", x, y)
    known = {(point["over"], point["second"]): value(point, "critical") for point in other["thresholds"]}
    for point in one["thresholds"]:
        x, y = value(point, "critical"), known.get((point["over"], point["second"]))
        if x and y and min(x.value, y.value) > 0:
            yield apart(f"{plan['critical']}* at {plan['over']} = {point['over']:g}", x, y, ratio=True)


def remarks(a: dict[str, Any], b: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What a reader must know of two laws beside their numbers."""
    found = []
    if "data_sha256" in one and one["data_sha256"] == other["data_sha256"]:
        found.append("both were fitted to the same rows")
    if a["numerics"] != b["numerics"]:
        found.append(f"numerics {a['numerics']} and {b['numerics']} of the family")
    ranges = [law["law"].get("over_range") for law in (one, other)]
    if ranges[0] != ranges[1] and all(ranges):
        found.append(f"{a['over']} in " + " and in ".join(f"[{low:g}, {high:g}]" for low, high in ranges))
    first, second = (law["law"].get("status", "") for law in (one, other))
    return [*found, f"status: {first}" if first == second else f"status: {first} | {second}"]


def value(told: dict[str, Any], name: str) -> Value | None:
    """An estimate as ``laws.json`` has it; None where there is none."""
    if told.get(name) is None:
        return None
    low, high = told.get("interval") or (None, None)
    return Value(float(told[name]), (low, high))


def read(out: str) -> list[dict[str, Any]]:
    """The plans of a folder's ``laws.json``."""
    filesystem, root = locate(out)
    try:
        if not filesystem.get_file_info(f"{root}/{laws_file.NAME}").is_file:  # a pipe would never answer
            raise ValueError
        with filesystem.open_input_file(f"{root}/{laws_file.NAME}") as file:
            if file.size() > LARGEST:
                raise ValueError
            return list(json.loads(file.read())["plans"])
    except (*UNREADABLE, ValueError, LookupError, TypeError):
        raise ResultsError(
            f"{out} holds no laws; if the path is right, write them with: widthlaw report {out}"
        ) from None


def in_words(title: str, found: list[Difference], said: list[str]) -> str:
    """A table of one law, a line each: both values, their difference or ratio with its interval, and whether 0 or 1 is
    left out."""
    lines = [title, *(f"  {one}" for one in said)]
    for one in found:
        sign = "b / a" if one.ratio else "b - a"
        middle = one.b.value / one.a.value if one.ratio else one.b.value - one.a.value
        verdict = "differs" if one.differs else "no difference seen"
        ends = ", ".join(f"{end:.3g}" for end in one.between)
        lines.append(
            f"  {one.of:<18} {one.a.value:>8.4g} {one.b.value:>8.4g}   {sign} {middle:.3g} [{ends}]  {verdict}"
        )
    return "\n".join(lines)
