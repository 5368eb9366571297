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
from infra.store import records
from infra.store.storage import UNREADABLE, ResultsError, locate

LARGEST = 2**28  # bytes of a laws.json

Plan = dict[str, Any]  # as laws.json has it

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
    """For each law that both results folders hold: its title, what differs, and remarks; then, without differences,
    each plan that is held against none. ResultsError where a folder has no laws, or they have none in common."""
    mine, theirs = read(first), read(second)
    pairs = paired(mine, theirs)
    if not pairs:
        asked = "; ".join(sorted({" ".join(str(one[key]) for key in KEYS[:2]) for one in [*mine, *theirs]}))
        raise ResultsError(f"{first} and {second} hold no law of the same sweep and family ({asked})")
    in_common = 0
    for a, b in pairs:
        one, other, where = laws_of(a, b), laws_of(b, a), settings(a, b, [*mine, *theirs])
        old = [out for out, plan in ((first, a), (second, b)) if outdated(out, plan)]
        told = [f"the laws of {out} are older than its rows: widthlaw report {out}" for out in dict.fromkeys(old)]
        for title in [title for title in one if title in other]:
            in_common += 1
            found = list(of_law(a, one[title], other[title]))
            if found or title in of_thresholds(a, b):  # of a metric without a law in either there is nothing to say
                named = " ".join(filter(None, [a["sweep"], a["family"], ", ".join(filter(None, [where, title]))]))
                yield named, found, [*told, *remarks(a, b, one[title], other[title])]
    if not in_common:
        raise ResultsError(
            f"{first} and {second} hold no law at the same setting: {all_settings(mine)} | {all_settings(theirs)}"
        )
    for out, plans, side in ((first, mine, 0), (second, theirs, 1)):
        for plan in plans:
            if not any(pair[side] is plan for pair in pairs):
                title = f"{plan['sweep']} {plan['family']}, plan {plan.get('plan_id', '')[:6]}"
                yield title, [], [f"only in {out}, or held against a nearer one there"]


def paired(mine: list[Plan], theirs: list[Plan]) -> list[tuple[Plan, Plan]]:
    """The plans that ask the same, each with the nearest: the very same plan, else one at the same values of what does
    not vary, else any."""
    asked = [(a, b) for a in mine for b in theirs if all(a[key] == b[key] for key in KEYS)]

    def near(pair: tuple[Plan, Plan]) -> int:
        a, b = pair
        return 2 if a.get("plan_id", a) == b.get("plan_id", b) else int(a.get("fixed") == b.get("fixed"))

    def nearest(pair: tuple[Plan, Plan]) -> int:
        return max(near(one) for one in asked if one[0] is pair[0] or one[1] is pair[1])

    return [pair for pair in asked if near(pair) == nearest(pair)]


def settings(a: Plan, b: Plan, plans: list[Plan]) -> str:
    """What does not vary in a plan but differs between ``plans`` that ask the same, "d = 16" or "d = 16 | d = 32", with
    the beginning of their addresses where that does not tell them from a third."""
    same = [one for one in plans if all(one[key] == a[key] for key in KEYS)]
    names = a.get("fixed", {}).keys() & b.get("fixed", {}).keys()  # a law's own title says the others
    differing = [
        name for name in sorted(names) if len({json.dumps(one.get("fixed", {}).get(name)) for one in same}) > 1
    ]
    known = [plan.get("plan_id", "") for plan in (a, b)]
    rivals = [plan for plan in same if plan.get("plan_id", "") not in known]
    third = any(plan.get("fixed") in (a.get("fixed"), b.get("fixed")) for plan in rivals)
    one, other = (setting(plan, differing, address=third) for plan in (a, b))
    return one if one == other else f"{one} | {other}"


def setting(plan: Plan, names: list[str], *, address: bool) -> str:
    held = titled({name: value for name, value in plan.get("fixed", {}).items() if name in names})
    return ", ".join(filter(None, [held, f"plan {plan.get('plan_id', '')[:6]}" if address else ""]))


def outdated(out: str, plan: Plan) -> bool:
    """Whether the rows are others than those that the laws of a plan were fitted to. A folder without plans, such as an
    exported one, is as it was written."""
    for recipe in records.read_plans(out):
        if recipe["plan_id"] == plan.get("plan_id"):
            return records.digest(records.plan_rows(out, recipe)) != plan.get("data_sha256")
    return False


def all_settings(plans: list[Plan]) -> str:
    """The settings of all laws of thresholds."""
    return ", ".join(dict.fromkeys(title or "one law" for plan in plans for title in of_thresholds(plan, plan)))


def of_thresholds(plan: Plan, other: Plan) -> dict[str, dict[str, Any]]:
    """The laws of a plan's thresholds by title. Where an axis does not vary in it but does in ``other``, its one law is
    that at this value, "d = 8", as there."""
    alone = titled({name: one for name, one in plan.get("fixed", {}).items() if name not in other.get("fixed", {})})
    return {alone if title == "all" else title: group for title, group in plan["groups"].items()}


def laws_of(plan: Plan, other: Plan) -> dict[str, dict[str, Any]]:
    """The same, then those of the metrics that its claims name."""
    found = of_thresholds(plan, other)
    for claim in plan.get("claims", []):
        for title, law in claim.get("laws", {}).items():
            where = "" if title == "all" else f", {title}"
            found[f"{claim['metric']} ({claim['claim']}){where}"] = {"law": law, "thresholds": []}
    return found


def of_law(plan: Plan, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """The exponents of two laws, then their thresholds where both have one."""
    x, y = value(one["law"], "exponent"), value(other["law"], "exponent")
    if x and y:
        yield apart("exponent", x, y)
    known = {(point["over"], point["second"]): value(point, "critical") for point in other["thresholds"]}
    for point in one["thresholds"]:
        x, y = value(point, "critical"), known.get((point["over"], point["second"]))
        if x and y and min(x.value, y.value) > 0:
            yield apart(f"{plan['critical']}* at {plan['over']} = {point['over']:g}", x, y, ratio=True)


def remarks(a: Plan, b: Plan, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
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


def read(out: str) -> list[Plan]:
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
