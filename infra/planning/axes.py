"""An axis from its text: a list ``16,32,64`` or a range ``LO:HI:STEP`` with STEP one of octave, half-octave,
third-octave, quarter-octave, eighth-octave, decade, half-decade (geometric) or ``+S`` (arithmetic).

Integers are rounded, other values to 12 digits, so that 0:0.3:+0.1 and 0,0.1,0.2,0.3 are the same cells.
"""

import math
from collections import Counter
from typing import Any, Literal, get_args, get_origin

STEPS = {
    "octave": 2.0, "half-octave": 2 ** (1 / 2), "third-octave": 2 ** (1 / 3), "quarter-octave": 2 ** (1 / 4),
    "eighth-octave": 2 ** (1 / 8), "decade": 10.0, "half-decade": 10 ** (1 / 2),
}  # fmt: skip
LONGEST_AXIS = 10_000  # values


class PlanError(ValueError):
    """A request that cannot be planned; the message names the option and what to write instead."""


def parse_axis(name: str, text: str, annotation: Any, positive: bool = False) -> list[Any]:
    """The values of one axis from its text; ``positive`` excludes 0. PlanError says what is wrong with it."""
    text = " ".join(text.split())
    if not text:
        raise PlanError(f"--{name}: empty; write a list like 16,32,64 or a range like 4:256:half-octave")
    if words := choices(annotation):
        parts = [part.strip() for part in text.split(",")]
        unknown = [part for part in parts if part not in words]
        if unknown:
            raise PlanError(f"--{name}: '{unknown[0]}' is not one of {', '.join(words)}")
        values = [words[part] for part in parts]
    elif ":" in text:
        values = parse_range(name, text, annotation)
    else:
        values = [number(name, part, annotation) for part in text.split(",")]
    if len(set(values)) < len(values):
        twice = Counter(values).most_common(1)[0][0]
        raise PlanError(f"--{name} {text}: {twice} comes up twice; take a coarser step or a list without repeats")
    if positive and 0 in values:
        raise PlanError(f"--{name} {text}: 0 is too small; it must be above 0")
    return values


def choices(annotation: Any) -> dict[str, Any]:
    """The words of an axis that is not a number, and what they stand for; empty for a number."""
    if annotation is bool:
        return {"false": False, "true": True}
    return {word: word for word in get_args(annotation)} if get_origin(annotation) is Literal else {}


def parse_range(name: str, text: str, annotation: Any) -> list[Any]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3:
        raise PlanError(f"--{name} {text}: a range is LO:HI:STEP, for instance 4:256:half-octave")
    low, high = (number(name, part, annotation) for part in parts[:2])
    if high < low:
        raise PlanError(f"--{name} {text}: the range descends; write the smaller end first")
    arithmetic = parts[2].startswith("+")
    if not arithmetic and parts[2] not in STEPS:
        raise PlanError(f"--{name} {text}: unknown step '{parts[2]}'; use {', '.join(STEPS)} or +S")
    step = number(name, parts[2][1:], annotation) if arithmetic else STEPS[parts[2]]
    if step == 0:
        raise PlanError(f"--{name} {text}: the step must be above 0")
    if not arithmetic and low <= 0:
        raise PlanError(f"--{name} {text}: a geometric range starts above 0")
    steps = (high - low) / step if arithmetic else (math.log(high) - math.log(low)) / math.log(step)
    if steps >= LONGEST_AXIS:
        raise PlanError(f"--{name} {text}: more than {LONGEST_AXIS} values; take a coarser step")
    count = math.floor(steps + 1e-9) + 1
    try:
        grid = [low + i * step if arithmetic else low * step**i for i in range(count)]
    except OverflowError:
        raise PlanError(f"--{name} {text}: the ends are too far apart") from None
    return [round(value) if annotation is int else float(f"{value:.12g}") for value in grid]


def number(name: str, text: str, annotation: Any) -> Any:
    """One finite number of the axis's type: a whole number from 1, any other from 0."""
    text = text.strip()
    whole = annotation is int
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        value = annotation(text)
    except ValueError:
        kind = "whole number, for instance 16" if whole else "number, for instance 0.1"
        raise PlanError(f"--{name}: '{text}' is not a {kind}") from None
    if whole and value >= 2**63:
        raise PlanError(f"--{name}: {text} is too large; a whole number is below 2^63")
    if not math.isfinite(value):
        raise PlanError(f"--{name}: {text} is not finite")
    if value < whole:
        raise PlanError(f"--{name}: {text} is too small; it must be at least {int(whole)}")
    return value + 0  # not -0.0
