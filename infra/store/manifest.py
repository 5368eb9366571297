"""What a plan read back must look like: its values end up in names of files, in pages and in fits."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][\w.+ -]{0,99}", re.ASCII)  # what may be part of a file's name
LONGEST_AXIS, LARGEST_GRID = 10_000, 1_000_000  # values, grid points
REPORTED = (
    "sweep", "family", "numerics", "axes", "seeds", "level", "claim", "criterion", "critical", "over", "meanings",
    "command",
)  # fmt: skip


def named(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None and ".." not in value


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63


def scalar(value: Any) -> bool:
    return number(value) or flag(value) or text(value)


def many(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A list of what ``of`` accepts."""
    return lambda value: isinstance(value, (list, tuple)) and all(map(of, value))


def table(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A mapping from names to what ``of`` accepts."""
    return lambda value: isinstance(value, Mapping) and all(named(name) and of(value[name]) for name in value)


def axis(value: Any) -> bool:
    """Numbers or texts, not both, few enough."""
    fits = many(number)(value) or many(text)(value) or many(flag)(value)
    return fits and 0 < len(value) <= LONGEST_AXIS


def grid(value: Any) -> bool:
    """Axes by name, of few enough grid points."""
    return table(axis)(value) and math.prod(map(len, value.values())) <= LARGEST_GRID


def knob(value: Any) -> bool:
    """What a tuning says of its axis."""
    numbers = ("low", "high", "values", "seeds")
    return isinstance(value, Mapping) and named(value.get("axis")) and all(number(value.get(name)) for name in numbers)


def option(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or of(value)


CLAIM: dict[str, Callable[[Any], bool]] = {
    "name": text, "statement": text, "source": lambda one: many(text)(one) and len(one) == 3, "tag": text,
    "direction": text, "over": text, "critical": option(text), "metric": option(text), "exponent": option(number),
    "bound": option(scalar), "constant": option(number), "hypotheses": many(text), "small": flag,
    "needed": option(text), "met": option(text), "per_step": flag, "at_start": flag, "at_least": flag,
    "order": option(lambda one: many(scalar)(one) and len(one) == 3), "where": table(lambda _: True),
}  # fmt: skip
NEEDED = {"name", "statement", "source", "tag", "direction", "over"}


def claim(value: Any) -> bool:
    """What ``trainables.claim`` makes."""
    if not isinstance(value, Mapping) or not set(CLAIM) >= set(value) >= NEEDED:
        return False
    return all(CLAIM[name](told) for name, told in value.items())


FORM: dict[str, Callable[[Any], bool]] = {
    "plan_id": named, "created": text, "sweep": named, "family": named, "numerics": text, "claim": text,
    "equations": text, "computed": many(named), "criterion": text, "command": text,
    "axes": grid, "seeds": lambda value: number(value) and value >= 1,
    "level": lambda value: number(value) and 0 < value < 1, "adaptive": flag,
    "falling": flag, "critical": option(named), "over": named, "by": option(named), "metrics": many(named),
    "off_default": many(named),
    "curves": many(named), "meanings": table(text), "paper": many(text), "points": many(text),
    "claims": many(claim), "search": lambda one: isinstance(one, Mapping),
    "tuned": option(knob),
}  # fmt: skip


def check_plan(plan: Any) -> None:
    """ValueError where a plan has a value of a form that it never gets. What it lacks is for its readers to say."""
    if not isinstance(plan, dict):
        raise ValueError("it is not an object")
    for name, fits in FORM.items():
        if name in plan and not fits(plan[name]):
            raise ValueError(f"its {name} is not what a plan has there")
    for name in ("critical", "over", "by"):
        if (value := plan.get(name)) is not None and value not in plan.get("axes", {}):
            raise ValueError(f"its {name}, {value}, is none of its axes")
    for value in (plan["critical"], plan.get("over")) if plan.get("critical") else ():
        if value is not None and not many(number)(plan["axes"][value]):
            raise ValueError(f"its threshold is sought along {value}, whose values are no numbers")
